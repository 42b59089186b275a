package scenarios

import (
	"regexp"
	"slices"
	"strings"
)

// A Story says what a scenario shows on which kernels; `blockrig repro` tells
// it.
type Story struct {
	Kernels []StoryKernel `json:"kernels" doc:"the kernels that it speaks of"`
	// Holds is the sentence when it holds; ${before}, ${with} and ${after}
	// stand for the releases of the kernels in that role.
	Holds string `json:"holds" doc:"the sentence when it holds; ${before}, ${with} and ${after} are the releases of the kernels in that role"`
}

// StoryKernel is one kernel of a story and what is expected of it.
type StoryKernel struct {
	Role   string        `json:"role" is:"before with after" doc:"before the bug, with it, or after it"`
	Ref    string        `json:"ref" is:"KERNEL" doc:"the kernel"`
	Expect []StoryExpect `json:"expect" doc:"what is expected of the cases on it; the first entry that fits holds"`
}

// StoryExpect is the verdict that the cases matching When have in the story.
type StoryExpect struct {
	When    map[string]string `json:"when,omitempty" doc:"values of parameters; every case that no earlier entry fits where it is left out"`
	Verdict Verdict           `json:"verdict" is:"corrupt hang bug warn eio degraded errno pass" doc:"the verdict"`
	Also    []Verdict         `json:"also,omitempty" is:"corrupt hang bug warn eio degraded errno" doc:"at least one of these applies too; nothing is asked where it is left out"`
}

// Match gives the place of the entry that says what to expect of a case: the
// first that fits, -1 where none does, as for a case outside the matrix.
func (k StoryKernel) Match(c Case) int {
	return slices.IndexFunc(k.Expect, func(e StoryExpect) bool {
		for name, want := range e.When {
			if !slices.Contains(c.Params, Setting{Name: name, Value: want}) {
				return false
			}
		}
		return true
	})
}

// Expects gives what the story expects of a case on the kernel.
func (k StoryKernel) Expects(c Case) (StoryExpect, bool) {
	if i := k.Match(c); i >= 0 {
		return k.Expect[i], true
	}
	return StoryExpect{}, false
}

// Met tells whether a trial's verdict and what else applied are as expected.
func (e StoryExpect) Met(v Verdict, also []Verdict) bool {
	if v != e.Verdict {
		return false
	}
	return len(e.Also) == 0 || slices.ContainsFunc(e.Also, func(v Verdict) bool { return slices.Contains(also, v) })
}

var rolePattern = regexp.MustCompile(`\$\{([^{}]*)\}`)

// Roles are those of which the sentence speaks.
func (st *Story) Roles() []string {
	var roles []string
	for _, m := range rolePattern.FindAllStringSubmatch(st.Holds, -1) {
		roles = append(roles, m[1])
	}
	return roles
}

// Sentence is what the story says when it holds, with ${role} replaced by the
// releases of the kernels that had the role. releases has one for each of
// st.Kernels.
func (st *Story) Sentence(releases []string) string {
	byRole := map[string][]string{}
	for i, k := range st.Kernels {
		if i < len(releases) {
			byRole[k.Role] = append(byRole[k.Role], releases[i])
		}
	}
	return rolePattern.ReplaceAllStringFunc(st.Holds, func(m string) string {
		return strings.Join(byRole[m[2:len(m)-1]], ", ")
	})
}
