package nightly

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/hunt"
	"github.com/blockrig/blockrig/harness/text"
)

// Hunted is the hunt of a night. What it found is what no night before has said.
type Hunted struct {
	Hunt     string         `json:"hunt"`             // its name
	Folder   string         `json:"folder,omitempty"` // of the hunts
	Ref      string         `json:"ref"`
	Release  string         `json:"release,omitempty"`
	Done     bool           `json:"done,omitempty"`
	Findings []hunt.Finding `json:"findings,omitempty"`
	Fixed    []hunt.Finding `json:"fixed,omitempty"`   // of nights before
	Covered  string         `json:"covered,omitempty"` // in words
	LeftOut  []hunt.LeftOut `json:"left_out,omitempty"`
	Doubtful int            `json:"doubtful,omitempty"` // suspects that no trial showed
}

// huntedOn is the kernel of a night's hunt; "" without one.
func (w *Worker) huntedOn(n *Night) string {
	switch {
	case w.Config.Hunt == nil:
		return ""
	case w.Config.Hunt.Kernel != "":
		return w.Config.Hunt.Kernel
	case len(n.Kernels) > 0:
		return n.Kernels[0].Ref
	}
	return ""
}

// hunt does the night's hunt, or goes on with it, as long as there is time. One
// that can't be done is trouble of its own, and no reason to end the night.
func (j *session) hunt(ctx context.Context) error {
	of, n := j.Config.Hunt, j.night
	ref := j.huntedOn(n)
	if ref == "" || n.Hunt != nil && n.Hunt.Done || j.left(1) <= 0 {
		return nil
	}
	budget, err := time.ParseDuration(of.Budget)
	if err != nil { // it was checked
		return err
	}
	if n.Hunt == nil {
		n.Hunt = &Hunted{Ref: ref}
	}
	r := Hunt{
		Request: hunt.Request{
			Kernel: ref, Stacks: of.Stacks, Since: of.Since, Seed: uint64(n.Number), Budget: min(budget, j.left(1)), Faults: of.Faults, PowerCut: of.PowerCut,
		},
		Resume: n.Hunt.Hunt, Earlier: j.archive.hunted(),
		Machine: trials.Machine{Accel: j.Config.Accel, CPUs: j.Config.CPUs, Tools: j.Config.Tools},
		Begun: func(name string) error {
			n.Hunt.Hunt, n.Hunt.Folder = name, hunt.Root(j.Root)
			return j.keep()
		},
	}
	j.say("hunting on %s: %s", ref, strings.Join(of.Stacks, ","))
	state, err := j.Exec.Hunt(ctx, r)
	if state != nil {
		n.Hunt.take(state)
	}
	if err != nil && (ctx.Err() != nil || stops(err)) {
		return err
	}
	if err != nil {
		j.trouble("hunt on %s: %v", ref, err)
	}
	n.Hunt.Done = true
	return j.keep()
}

func (h *Hunted) take(s *hunt.State) {
	h.Release, h.Findings, h.LeftOut, h.Doubtful = s.Release, s.Findings, s.LeftOut, len(s.Doubtful)
	h.Fixed = s.Fixed()
	h.Covered = fmt.Sprintf("%s, %d operations", s.Coverage(), s.Operations())
}

// hunted are the findings of all nights before that were there when they were
// tried last.
func (b *archive) hunted() (all []hunt.Finding) {
	for _, n := range b.nights {
		if n.Hunt == nil {
			continue
		}
		all = slices.DeleteFunc(all, func(f hunt.Finding) bool {
			return slices.ContainsFunc(n.Hunt.Fixed, func(g hunt.Finding) bool { return g.Scenario == f.Scenario && g.Kernel == f.Kernel })
		})
		all = append(all, n.Hunt.Findings...)
	}
	return all
}

func (h *Hunted) write(b *strings.Builder) {
	if h == nil {
		return
	}
	fmt.Fprintf(b, "\nHUNTED ON %s\n", text.Escape(cmp.Or(h.Release, h.Ref)))
	line := linesBelow(b)
	for _, f := range h.Findings {
		fmt.Fprintf(b, "  %s %s: %s\n", text.Escape(f.Stack), text.Escape(string(f.Class)), text.Escape(f.Says))
		line("%s; on the plain disk: %s", cmp.Or(f.Outcome, "no answer"), cmp.Or(f.Plain, "not tried"))
		if f.Since != "" {
			line("%s", f.Since)
		}
		for _, said := range f.Bisection.Lines("the bisection is not over, and goes on with") {
			line("%s", said)
		}
		line("again: blockrig run %s -k %s", filepath.Join(cmp.Or(h.Folder, hunt.Folders), h.Hunt, f.ID+".yaml"), f.Kernel)
	}
	if len(h.Findings) == 0 {
		b.WriteString("  nothing that no night has said before\n")
	}
	for _, f := range h.Fixed {
		fmt.Fprintf(b, "  fixed: %s %s: %s\n", text.Escape(f.Stack), text.Escape(string(f.Class)), text.Escape(f.Says))
	}
	if h.Covered != "" {
		line("%s", h.Covered)
	}
	if h.Doubtful > 0 {
		line("%d suspects that no trial showed", h.Doubtful)
	}
	for _, l := range h.LeftOut {
		if !strings.Contains(l.Stack, "+") {
			line("left out: %s: %s", l.Stack, l.Why)
		}
	}
}
