package hunt

import (
	"fmt"
	"path"
	"slices"

	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// A Known bug is recognised and not reported again.
type Known struct {
	Name    string   `json:"name" is:"SCENARIO" doc:"what reports call it"`
	About   string   `json:"about" doc:"what it is"`
	Stacks  []string `json:"stacks" doc:"globs that the stack's name matches"`
	Kernels []string `json:"kernels" doc:"globs that the kernel's release matches"`
	Ways    []string `json:"ways" doc:"read, write, or other operations"`
	Direct  bool     `json:"direct" default:"false" doc:"of O_DIRECT only"`
	Memory  string   `json:"memory" is:"misaligned any" default:"any" doc:"the memory's alignment"`
	Loses   string   `json:"loses,omitempty" doc:"what an operation answers that loses data of those before it; by default it loses none"`
}

// ReadKnown reads a list of known bugs; name is what messages call it.
func ReadKnown(name string, src []byte) ([]Known, error) {
	var list struct {
		Known []Known `json:"known" least:"0" doc:"the bugs"`
	}
	if _, err := language.Read(name, "list of known bugs", src, &list); err != nil {
		return nil, err
	}
	for _, k := range list.Known {
		for _, glob := range slices.Concat(k.Stacks, k.Kernels) {
			if _, err := path.Match(glob, ""); err != nil {
				return nil, fmt.Errorf("%s: known bug %s: %q: %w", name, k.Name, glob, err)
			}
		}
	}
	return list.Known, nil
}

// ShippedKnown are those that ship with blockrig.
func ShippedKnown() ([]Known, error) { return ReadKnown(scenarios.KnownFile, scenarios.Known) }

// of says whether it may show on a kernel, on a stack.
func (k Known) of(release, stack string) bool {
	fits := func(globs []string, s string) bool {
		return slices.ContainsFunc(globs, func(glob string) bool { ok, err := path.Match(glob, s); return ok && err == nil })
	}
	return fits(k.Kernels, release) && fits(k.Stacks, stack)
}

// fits says whether it is what an operation set off.
func (k Known) fits(release string, t Trigger) bool {
	return k.of(release, t.Stack) && slices.Contains(k.Ways, t.Way) && (t.Direct || !k.Direct) && (t.Memory || k.Memory != "misaligned")
}

// recognise gives the known bug that a suspect is, by the operation that did it.
// One whose operation is not told is none, but for data that are lost.
func recognise(all []Known, release string, s Suspect) (string, bool) {
	for _, k := range all {
		if k.Loses != "" && s.Guess == LosesData && k.loses(release, s) {
			return k.Name, true
		}
	}
	triggers := s.triggers()
	if len(triggers) != 1 {
		return "", false
	}
	for _, k := range all {
		if k.Loses == "" && k.fits(release, triggers[0]) && s.Guess != LosesData {
			return k.Name, true
		}
	}
	return "", false
}

// loses says whether an operation of a suspect loses what those before it wrote.
// Wrong data of another cause in the same program is not told from that.
func (k Known) loses(release string, s Suspect) bool {
	wrote := false
	for i, o := range s.Program {
		if i < len(s.Answers) && s.Answers[i] == k.Loses && wrote && (s.At < 0 || i < s.At) && k.fits(release, triggerOf(s.Stack, o)) {
			return true
		}
		wrote = wrote || o.Writes()
	}
	return false
}

// Gone are the known bugs that should show on the hunt's kernel and stacks and
// did not, once all pairs were tried.
func (s *State) Gone(all []Known) (names []string) {
	if s.Next < s.Pairs || slices.ContainsFunc(s.Groups, func(g Group) bool { return g.Next < s.Pairs }) {
		return nil
	}
	for _, k := range all {
		may := slices.ContainsFunc(s.StackNames(), func(stack string) bool { return k.of(s.Release, stack) })
		if may && k.Loses == "" && s.Known[k.Name] == 0 { // the pairs are single operations
			names = append(names, k.Name)
		}
	}
	return names
}
