package hunt

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/scenarios"
)

// What a kernel says to a finding of another hunt; see Finding.Now.
const (
	Still    = "still there"
	Fixed    = "fixed"
	NotKnown = "not known"
)

// fixedAfter is how many trials in a row must pass before a finding is fixed: many
// a bug does not show in each.
const fixedAfter = 3

// retry tries the findings of earlier hunts.
func (h *Hunt) retry(ctx context.Context) error {
	for i := range h.state.Earlier {
		f := &h.state.Earlier[i]
		if f.Now != "" || h.left() <= 0 {
			continue
		}
		c, err := parse(f.ID, f.Scenario)
		if err != nil {
			return err
		}
		h.status("confirm", "a finding of an earlier hunt: "+f.Stack+": "+f.Says)
		if f.Now, err = h.now(ctx, f, c); err != nil {
			return err
		}
		if err := h.keep(); err != nil {
			return err
		}
	}
	return nil
}

// now tells what the hunt's kernel says to a finding of an earlier hunt.
func (h *Hunt) now(ctx context.Context, f *Finding, c scenarios.Case) (string, error) {
	r := h.state.Request
	for range fixedAfter {
		rec, err := h.try(ctx, kernelRef{r.Kernel, r.Exact}, c, how{})
		switch {
		case trial.WrongRequest(err) && ctx.Err() == nil: // it is not known to have all that the stack takes
			return NotKnown, nil
		case err != nil:
			return "", err
		case classOf(rec) == f.Class:
			return Still, nil
		case rec.Verdict != scenarios.Pass:
			return NotKnown, nil
		}
	}
	return Fixed, nil
}

// FoundOn are the findings of all hunts below root on a kernel, by the reference
// that they were asked for with.
func FoundOn(root, kernel string) (all []Finding, err error) {
	list, err := names(root)
	if err != nil {
		return nil, err
	}
	for _, name := range list {
		s, err := read(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		for _, f := range s.Findings {
			same := func(g Finding) bool { return g.Class == f.Class && g.Stack == f.Stack && g.Says == f.Says }
			if f.Kernel == kernel && !slices.ContainsFunc(all, same) {
				all = append(all, f)
			}
		}
	}
	return all, nil
}
