package report

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/blockrig/blockrig/results/store"
)

// ErrSelect says that what a report is to be of was not said as it can be.
var ErrSelect = errors.New("what to report")

// Select gives the trials that words stand for: runs, nights, kernels or
// commits, as store.Reader.Select takes them, from a date on ("" for none).
// Without either it is the last night. The error wraps ErrSelect or
// store.ErrNone where the words are wrong.
func Select(ctx context.Context, s store.Reader, words []string, since string) (store.Filter, error) {
	var f store.Filter
	for _, word := range words {
		one, err := s.Select(ctx, word)
		if err != nil {
			return f, err
		}
		f.Runs, f.Nights, f.Kernels = append(f.Runs, one.Runs...), append(f.Nights, one.Nights...), append(f.Kernels, one.Kernels...)
	}
	var err error
	if f, err = runsOfNights(ctx, s, f); err != nil {
		return f, err
	}
	switch {
	case since != "":
		if f.Since, err = time.Parse(time.DateOnly, since); err != nil {
			return f, fmt.Errorf("%w: since %q: want a date such as 2026-11-25", ErrSelect, since)
		}
	case len(words) == 0:
		nights, err := s.Nights(ctx)
		if err != nil {
			return f, err
		}
		if len(nights) == 0 {
			return f, fmt.Errorf("%w: %w: there are no runs", ErrSelect, store.ErrNone)
		}
		f.Nights = nights[len(nights)-1:]
	}
	return f, nil
}

// runsOfNights makes nights runs where there are both: a filter's parts must
// all fit.
func runsOfNights(ctx context.Context, s store.Reader, f store.Filter) (store.Filter, error) {
	if len(f.Runs) == 0 || len(f.Nights) == 0 {
		return f, nil
	}
	runs, err := s.Runs(ctx, store.Filter{})
	if err != nil {
		return f, err
	}
	for _, r := range runs {
		if slices.Contains(f.Nights, r.Night) && !slices.Contains(f.Runs, r.ID) {
			f.Runs = append(f.Runs, r.ID)
		}
	}
	f.Nights = nil
	return f, nil
}
