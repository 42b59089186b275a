package store

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const runColumns = "r.id, r.command, r.verb, r.started, r.finished, r.night, r.asked, r.digest, r.problem, r.problems, r.trials, r.failures, r.errors"

func (s *Store) runs(ctx context.Context, condition string, args ...any) ([]Run, error) {
	var out []Run
	var r Run
	var command string
	var started, finished int64
	err := s.each(ctx, "SELECT "+runColumns+" FROM runs r"+condition, args,
		[]any{&r.ID, &command, &r.Verb, &started, &finished, &r.Night, &r.Asked, &r.Digest, &r.Problem, &r.Problems, &r.Trials, &r.Failures, &r.Errors}, func() error {
			one := r
			one.Started, one.Finished = timeOf(started), timeOf(finished)
			var err error
			if one.Command, err = listOf[string](command); err != nil {
				return err
			}
			out = append(out, one)
			return nil
		})
	return out, err
}

// Runs are those that have trials which fit the filter, oldest first; all runs
// with the zero filter, those without a trial included.
func (s *Store) Runs(ctx context.Context, f Filter) ([]Run, error) {
	if f.all() {
		return s.runs(ctx, " ORDER BY r.id")
	}
	w := f.where()
	condition, args := " WHERE EXISTS (SELECT 1 FROM trials t WHERE t.run = r.no AND "+w.String()[len(" WHERE "):]+")", w.args
	if f.Limit > 0 { // the last ones
		out, err := s.runs(ctx, condition+" ORDER BY r.id DESC LIMIT ?", append(args, f.Limit)...)
		slices.Reverse(out)
		return out, err
	}
	return s.runs(ctx, condition+" ORDER BY r.id", args...)
}

// Run is one, by its ID. The error wraps ErrNone.
func (s *Store) Run(ctx context.Context, id string) (Run, error) {
	found, err := s.runs(ctx, " WHERE r.id = ?", id)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("run %q: %w", id, ErrNone)
	}
	if err != nil {
		return Run{}, err
	}
	return found[0], nil
}

// Nights are those in which runs began, oldest first.
func (s *Store) Nights(ctx context.Context) ([]string, error) {
	var out []string
	var night string
	err := s.each(ctx, "SELECT DISTINCT night FROM runs ORDER BY night", nil, []any{&night}, func() error {
		out = append(out, night)
		return nil
	})
	return out, err
}

// Kernels are those on which trials that fit ran, in the order of their first
// trials.
func (s *Store) Kernels(ctx context.Context, f Filter) ([]KernelUse, error) {
	w := f.where()
	var out []KernelUse
	var k KernelUse
	var first, last int64
	err := s.each(ctx, `
SELECT k.ref, k.exact, k."release", k.digest, k.commit_hash, count(*), sum(t.failed), sum(t.outcome IN (SELECT no FROM outcomes WHERE verdict = 'error')), min(t.started), max(t.started)
FROM trials t JOIN kernels k ON k.no = t.kernel`+w.String()+` GROUP BY t.kernel ORDER BY min(t.started), k.ref, k.no`, w.args,
		[]any{&k.Ref, &k.Exact, &k.Release, &k.Digest, &k.Commit, &k.Trials, &k.Failures, &k.Errors, &first, &last}, func() error {
			one := k
			one.First, one.Last = timeOf(first), timeOf(last)
			out = append(out, one)
			return nil
		})
	return out, err
}

// Workers are those that made trials that fit, by name.
func (s *Store) Workers(ctx context.Context, f Filter) ([]WorkerUse, error) {
	w := f.where()
	w.add("t.worker > 0")
	var out []WorkerUse
	var u WorkerUse
	var first, last int64
	err := s.each(ctx, `
SELECT u.name, u.cpu, count(*), sum(t.failed), sum(t.outcome IN (SELECT no FROM outcomes WHERE verdict = 'error')), min(t.started), max(t.started + t.took_ms),
	sum(t.took_ms), sum(t.wait_ms), max(t.wait_ms), sum(t.attempts > 1)
FROM trials t JOIN workers u ON u.no = t.worker`+w.String()+` GROUP BY t.worker ORDER BY u.name, u.cpu`, w.args,
		[]any{&u.Name, &u.CPU, &u.Trials, &u.Failures, &u.Errors, &first, &last, &u.TookMS, &u.WaitMS, &u.MostWait, &u.Again}, func() error {
			one := u
			one.First, one.Last = timeOf(first), timeOf(last)
			out = append(out, one)
			return nil
		})
	return out, err
}

// Bisections are all, oldest first.
func (s *Store) Bisections(ctx context.Context) ([]Bisection, error) {
	var out []Bisection
	var b Bisection
	var started int64
	var command string
	err := s.each(ctx, `SELECT name, started, command, scenario, "case", what, old, new, state, first, subject, grade, confidence, trials FROM bisections ORDER BY started, name`, nil,
		[]any{&b.Name, &started, &command, &b.Scenario, &b.Case, &b.Of, &b.Old, &b.New, &b.State, &b.First, &b.Subject, &b.Grade, &b.Confidence, &b.Trials}, func() error {
			one := b
			one.Started = timeOf(started)
			var err error
			one.Command, err = listOf[string](command)
			out = append(out, one)
			return err
		})
	return out, err
}

// Asked are the cases that runs were to do, each with each kernel that they
// were to do it on, whether or not it came to a trial. Of the filter, only
// Runs, Nights, Kernels and Scenario count.
func (s *Store) Asked(ctx context.Context, f Filter) ([]Asked, error) {
	w := &where{}
	anyOf(w, "r.id", f.Runs, "")
	anyOf(w, "r.night", f.Nights, "")
	var refs []string
	for _, k := range f.Kernels {
		refs = append(refs, k.Ref)
	}
	anyOf(w, "k.ref", refs, "")
	if f.Scenario != "" {
		w.add("c.scenario = ?", f.Scenario)
	}
	var out []Asked
	var a Asked
	err := s.each(ctx, `
SELECT DISTINCT c.scenario, c.name, k.ref
FROM runs r JOIN asked_kernels k ON k.run = r.no JOIN asked_cases a ON a.run = r.no JOIN cases c ON c.no = a."case"`+w.String()+` ORDER BY 1, 2, 3`,
		w.args, []any{&a.Scenario, &a.Case, &a.Ref}, func() error {
			out = append(out, a)
			return nil
		})
	return out, err
}

// NightOf is the night of a run that began then.
func NightOf(started time.Time) string { return started.UTC().Format(time.DateOnly) }
