package store

import (
	"context"
	"iter"
)

// Reader is what can be asked of a store: the methods of [Store] that change
// nothing. It is for those who build on the store and test without one.
type Reader interface {
	// Runs are those that have trials which fit the filter, oldest first; all
	// runs with the zero filter, those without a trial included.
	Runs(ctx context.Context, f Filter) ([]Run, error)
	// Run is one, by its ID. The error wraps ErrNone.
	Run(ctx context.Context, id string) (Run, error)
	// Trials gives trials one by one, without their findings.
	Trials(ctx context.Context, f Filter) iter.Seq2[Trial, error]
	// Trial is one, with its findings, by what Trial.Name gives. The error
	// wraps ErrNone.
	Trial(ctx context.Context, name string) (Trial, error)
	// Histories count trials, case by case, in the order of scenario and case.
	Histories(ctx context.Context, f Filter, by By) ([]History, error)
	// Nights are those in which runs began, oldest first.
	Nights(ctx context.Context) ([]string, error)
	// Kernels are those on which trials that fit ran, in the order of their
	// first trials.
	Kernels(ctx context.Context, f Filter) ([]KernelUse, error)
	// Workers are those, of a hub's, that made trials that fit, by name.
	Workers(ctx context.Context, f Filter) ([]WorkerUse, error)
	// Bisections are all, oldest first.
	Bisections(ctx context.Context) ([]Bisection, error)
	// Asked are the cases that runs were to do, each with each kernel that they
	// were to do it on, whether or not it came to a trial. Of the filter, only
	// Runs, Nights, Kernels and Scenario count.
	Asked(ctx context.Context, f Filter) ([]Asked, error)
	// Select gives the filter that a word of the user's stands for: a run (its
	// ID, the beginning of it, "last"), a night ("2026-11-25"), a kernel (its
	// reference or release), a commit (at least 7 digits of its hash). The
	// error wraps ErrNone, and says what there is.
	Select(ctx context.Context, word string) (Filter, error)
}

var _ Reader = (*Store)(nil)
