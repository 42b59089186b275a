package language

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

var (
	// roles of a story's kernels, in the order of history.
	roles      = []string{"before", "with", "after"}
	refPattern = regexp.MustCompile(`^(debian|file|git):[^\s[:cntrl:]]{1,500}$`)
)

func (d *decoder) story(to **scenarios.Story) reader {
	return func(path string, n *yaml.Node) {
		story := &scenarios.Story{}
		*to = story
		d.object(path, n, []field{
			{"kernels", true, func(path string, n *yaml.Node) {
				d.list(path, n, 64, func(path string, n *yaml.Node) {
					var k scenarios.StoryKernel
					d.object(path, n, []field{
						{"role", true, choice(d, &k.Role, roles...)},
						{"ref", true, d.name(&k.Ref, refPattern, "a kernel reference (debian:VERSION, file:PATH or git:REPO@REV)")},
						{"expect", true, d.storyExpects(&k.Expect)},
					})
					story.Kernels = append(story.Kernels, k)
				})
			}},
			{"holds", true, d.text(&story.Holds)},
		})
	}
}

func (d *decoder) storyExpects(to *[]scenarios.StoryExpect) reader {
	return func(path string, n *yaml.Node) {
		d.list(path, n, maxCases, func(path string, n *yaml.Node) {
			var e scenarios.StoryExpect
			d.object(path, n, []field{
				{"when", false, func(path string, n *yaml.Node) { d.when(&e, path, n) }},
				{"verdict", true, choice(d, &e.Verdict, scenarios.Verdicts...)},
				{"also", false, func(path string, n *yaml.Node) {
					d.list(path, n, len(scenarios.Verdicts), func(path string, n *yaml.Node) {
						var v scenarios.Verdict
						choice(d, &v, scenarios.Verdicts[:len(scenarios.Verdicts)-1]...)(path, n)
						e.Also = append(e.Also, v)
					})
				}},
			})
			*to = append(*to, e)
			for i, v := range e.Also {
				// A verdict is the worst that applies.
				if d.err == nil && v.Rank() <= e.Verdict.Rank() {
					d.failAt(fmt.Sprintf("%s.also[%d]", path, i), "%s can't stand beside the verdict %s, which is the worst that applied", v, e.Verdict)
				}
			}
		})
	}
}

func (d *decoder) when(e *scenarios.StoryExpect, path string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		d.fail(n.Line, "%s: a mapping of parameters to values is wanted here, not %s", path, describe(n))
		return
	}
	e.When = map[string]int64{}
	for i := 0; i < len(n.Content) && d.err == nil; i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			d.fail(key.Line, "%s: a parameter's name is wanted here, not %s", path, describe(key))
			return
		}
		if _, twice := e.When[key.Value]; twice {
			d.fail(key.Line, "%s: the key %s is here twice", path, text.Escape(key.Value))
			return
		}
		at := path + "." + key.Value
		d.at[at] = key
		var v int64
		d.integer(&v)(at, n.Content[i+1])
		e.When[key.Value] = v
	}
}

// checkStory refuses a story that is silent about a case, or has something to
// say that no case can hear.
func (d *decoder) checkStory(s *scenarios.Scenario) {
	if s.Story == nil {
		return
	}
	cases, err := Cases(s, nil)
	if err != nil {
		d.fail(1, "%v", err)
		return
	}
	var told []string
	for i, k := range s.Story.Kernels {
		told = append(told, k.Role)
		at := fmt.Sprintf("story.kernels[%d].expect", i)
		d.checkWhen(s, at, k)
		used := make([]bool, len(k.Expect))
		for _, c := range cases {
			e := k.Match(c)
			if e < 0 {
				d.failAt(at, "nothing is expected of the case %s; add an entry for it, or one without when", label(c))
				return
			}
			used[e] = true
		}
		for e, hit := range used {
			if !hit {
				d.failAt(fmt.Sprintf("%s[%d]", at, e), "no case gets here; the entries before it match all that this one would")
			}
		}
	}
	for _, role := range s.Story.Roles() {
		if !slices.Contains(told, role) {
			d.failAt("story.holds", "%s is no role of the story's kernels; it has: %s", quote(role), keyList(told))
		}
	}
}

func (d *decoder) checkWhen(s *scenarios.Scenario, at string, k scenarios.StoryKernel) {
	for e, expect := range k.Expect {
		for _, name := range slices.Sorted(maps.Keys(expect.When)) {
			path := fmt.Sprintf("%s[%d].when.%s", at, e, name)
			p := slices.IndexFunc(s.Matrix, func(p scenarios.Param) bool { return p.Name == name })
			if p < 0 {
				d.failAt(path, "the parameter is not declared in matrix")
			} else if !slices.Contains(s.Matrix[p].Values, expect.When[name]) {
				d.failAt(path, "%d is none of the values that the matrix has", expect.When[name])
			}
		}
	}
}
