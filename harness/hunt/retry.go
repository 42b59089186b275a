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

// retry tries the findings of earlier hunts, each once.
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
		r := h.state.Request
		rec, err := h.try(ctx, kernelRef{r.Kernel, r.Exact}, c, how{})
		switch {
		case trial.WrongRequest(err) && ctx.Err() == nil: // it has not all that the stack takes
			f.Now = NotKnown
		case err != nil:
			return err
		case rec.Verdict == scenarios.Pass:
			f.Now = Fixed
		case rec.Verdict.Failure():
			f.Now = Still
		default:
			f.Now = NotKnown
		}
		if err := h.keep(); err != nil {
			return err
		}
	}
	return nil
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
