package main

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/blockrig/blockrig/results"
)

// report prints what was not printed as it came. It gives the error to end
// with, nil when all that was asked for was done.
func (a *app) report(ctx context.Context, b *begun, h how, err error) error {
	records := b.done()
	if len(records) == 0 && ctx.Err() == nil {
		return err
	}
	if len(records) == 0 {
		for _, e := range besides(errors.Join(besides(err, context.Canceled)...), context.Cause(ctx)) {
			a.say("blockrig: %s", e)
		}
		a.say("interrupted: 0 of %d trials are done, and nothing is recorded", len(b.tasks))
		return status(exitError)
	}
	interrupted := ctx.Err() != nil && len(records) < len(b.tasks)
	if perr := a.printRecords(records, b.req); perr != nil {
		return errors.Join(perr, err)
	}
	if h.timing {
		a.sayOwn()
	}
	a.say("records: %s", b.run.Dir())
	if ctx.Err() != nil && !interrupted {
		err = errors.Join(besides(err, context.Canceled)...) // it came too late
	}
	code := results.ExitStatusOf(records)
	if !interrupted {
		if err != nil && code == exitFailure {
			// A failure was seen, whatever else happened.
			a.say("blockrig: %s", err)
			return status(code)
		}
		return err
	}
	for _, e := range besides(err, context.Canceled) {
		a.say("blockrig: %s", e)
	}
	a.say("interrupted: %d of %d trials are done; the rest: blockrig run --resume %s", len(records), len(b.tasks), b.run.ID())
	if code == exitPass {
		code = exitError
	}
	return status(code)
}

// printRecords prints the table or, since json was printed as it came, what
// there is to say about all of it.
func (a *app) printRecords(records []results.Record, req results.Request) error {
	var out io.Writer = a.stdout
	style := results.Style{Color: a.outTerm, Width: a.width}
	if a.format == "json" {
		out, style = a.stderr, results.Style{Color: a.errTerm, Width: a.width}
	}
	if req.Repeat > 1 {
		trust := results.Trust{Rate: req.Trust, Confidence: confidence}
		return errors.Join(results.SummaryTable(out, results.Summarize(records, trust), trust, style), results.StackTable(out, records, style))
	}
	if a.format == "json" {
		return nil
	}
	return errors.Join(results.Table(out, records, style), results.StackTable(out, records, style))
}

// besides gives the errors in err that are not of the kind is.
func besides(err, is error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, besides(e, is)...)
		}
		return out
	}
	if errors.Is(err, is) {
		return nil
	}
	return []error{err}
}

// sayOwn says what blockrig itself took beside the machines (getrusage(2)).
func (a *app) sayOwn() {
	var own, others syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &own) != nil || syscall.Getrusage(syscall.RUSAGE_CHILDREN, &others) != nil {
		return // only for information
	}
	cpu := func(r syscall.Rusage) time.Duration {
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	mine, theirs := cpu(own), cpu(others)
	share := 0.
	if all := mine + theirs; all > 0 {
		share = 100 * mine.Seconds() / all.Seconds()
	}
	a.say("blockrig itself: %.2f s of CPU time, %.1f%% of %.2f s in all; %d MiB of memory at most",
		mine.Seconds(), share, (mine + theirs).Seconds(), own.Maxrss>>10)
}
