package language

import (
	"fmt"
	"maps"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/blockrig/blockrig/scenarios"
)

// checkStory refuses a story that is silent about a case, or has something to
// say that no case can hear.
func (s *source) checkStory(cases []scenarios.Case) {
	story := s.scenario.Story
	if story == nil {
		return
	}
	var told []string
	for i, k := range story.Kernels {
		told = append(told, k.Role)
		at := fmt.Sprintf("story.kernels[%d].expect", i)
		for e, expect := range k.Expect {
			s.checkExpect(fmt.Sprintf("%s[%d]", at, e), expect)
		}
		used := make([]bool, len(k.Expect))
		for _, c := range cases {
			e := k.Match(c)
			if e < 0 {
				s.failAt(at, "nothing is expected of the case %s; add an entry for it, or one without when", label(c))
				return
			}
			used[e] = true
		}
		for e, hit := range used {
			if !hit {
				s.failAt(fmt.Sprintf("%s[%d]", at, e), "no case gets here; the entries before it match all that this one would")
			}
		}
	}
	for _, role := range story.Roles() {
		if !slices.Contains(told, role) {
			s.failAt("story.holds", "%s is no role of the story's kernels; it has: %s", quote(role), keyList(told))
		}
	}
}

func (s *source) checkExpect(at string, e scenarios.StoryExpect) {
	for i, v := range e.Also {
		// A verdict is the worst that applies.
		if v.Rank() <= e.Verdict.Rank() {
			s.failAt(fmt.Sprintf("%s.also[%d]", at, i), "%s can't stand beside the verdict %s, which is the worst that applied", v, e.Verdict)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.When)) {
		value := s.at[at+".when."+name]
		s.inMatrix(at+".when", &yaml.Node{Kind: yaml.ScalarNode, Value: name, Line: value.Line}, value)
	}
}
