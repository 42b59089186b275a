package store

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/text"
)

var hash = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

// Select gives the filter that a word of the user's stands for: a run (its ID,
// the beginning of it, "last"), a night ("2026-11-25"), a kernel (its reference
// or release), a commit (at least 7 digits of its hash). The error wraps
// ErrNone, and says what there is.
func (s *Store) Select(ctx context.Context, word string) (Filter, error) {
	runs, err := s.Runs(ctx, Filter{})
	if err != nil {
		return Filter{}, err
	}
	if len(runs) == 0 {
		return Filter{}, fmt.Errorf("%q: %w: there are no runs", word, ErrNone)
	}
	if word == "last" {
		return Filter{Runs: []string{runs[len(runs)-1].ID}}, nil
	}
	if _, err := time.Parse(time.DateOnly, word); err == nil {
		if !slices.ContainsFunc(runs, func(r Run) bool { return r.Night == word }) {
			return Filter{}, fmt.Errorf("night %s: %w; the last night is %s", word, ErrNone, runs[len(runs)-1].Night)
		}
		return Filter{Nights: []string{word}}, nil
	}
	kernels, err := s.tried(ctx)
	if err != nil {
		return Filter{}, err
	}
	var f Filter
	for _, k := range kernels {
		if k.named(word) {
			f.Kernels = append(f.Kernels, k)
		}
	}
	if len(f.Kernels) > 0 {
		return f, oneCommit(word, f.Kernels)
	}
	for _, r := range runs {
		if word != "" && strings.HasPrefix(r.ID, word) {
			f.Runs = append(f.Runs, r.ID)
		}
	}
	switch len(f.Runs) {
	case 0:
		var names []string
		for _, k := range kernels {
			names = append(names, k.Name(), k.Ref)
		}
		return Filter{}, fmt.Errorf("%q: %w: it is no run, night, kernel or commit that has trials%s; the last run is %s",
			word, ErrNone, text.DidYouMean(word, names), runs[len(runs)-1].ID)
	case 1:
		return f, nil
	default:
		return Filter{}, fmt.Errorf("%q: %w: it is the beginning of %d runs; the last of them is %s", word, ErrNone, len(f.Runs), f.Runs[len(f.Runs)-1])
	}
}

// tried are the kernels that have trials. (Kernels counts those, which takes a
// while.)
func (s *Store) tried(ctx context.Context) (out []Kernel, err error) {
	var k Kernel
	err = s.each(ctx, `SELECT ref, exact, "release", digest, commit_hash FROM kernels WHERE EXISTS (SELECT 1 FROM trials WHERE kernel = kernels.no) ORDER BY no`, nil,
		[]any{&k.Ref, &k.Exact, &k.Release, &k.Digest, &k.Commit}, func() error {
			out = append(out, k)
			return nil
		})
	return out, err
}

// named tells whether a user may call the kernel so.
func (k Kernel) named(word string) bool {
	return word != "" && (word == k.Ref || word == k.Exact || word == k.Release || hash.MatchString(word) && strings.HasPrefix(k.Commit, word))
}

// oneCommit is an error where the beginning of a hash is that of several.
func oneCommit(word string, kernels []Kernel) error {
	commits := map[string]bool{}
	for _, k := range kernels {
		if hash.MatchString(word) && strings.HasPrefix(k.Commit, word) {
			commits[k.Commit] = true
		}
	}
	if len(commits) > 1 {
		return fmt.Errorf("%q: %w: it is the beginning of %d commits", word, ErrNone, len(commits))
	}
	return nil
}
