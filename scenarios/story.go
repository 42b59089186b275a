package scenarios

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

var (
	// roles of a story's kernels, in the order of history.
	roles = []string{"before", "with", "after"}
	// verdicts, worst first; error is none.
	verdicts = []string{"corrupt", "hang", "bug", "warn", "eio", "degraded", "errno", "pass"}

	refPattern  = regexp.MustCompile(`^(debian|file|git):[^\s[:cntrl:]]{1,500}$`)
	rolePattern = regexp.MustCompile(`\$\{([^{}]*)\}`)
)

func (d *decoder) story(to **Story) func(string, *yaml.Node) {
	return func(path string, n *yaml.Node) {
		story := &Story{}
		*to = story
		d.object(path, n, []field{
			{"kernels", true, func(path string, n *yaml.Node) {
				d.list(path, n, 64, func(path string, n *yaml.Node) {
					var k StoryKernel
					d.object(path, n, []field{
						{"role", true, d.choice(&k.Role, roles...)},
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

func (d *decoder) storyExpects(to *[]StoryExpect) func(string, *yaml.Node) {
	return func(path string, n *yaml.Node) {
		d.list(path, n, maxCases, func(path string, n *yaml.Node) {
			var e StoryExpect
			d.object(path, n, []field{
				{"when", false, func(path string, n *yaml.Node) { d.when(&e, path, n) }},
				{"verdict", true, d.choice(&e.Verdict, verdicts...)},
				{"also", false, func(path string, n *yaml.Node) {
					d.list(path, n, len(verdicts), func(path string, n *yaml.Node) {
						var v string
						d.choice(&v, verdicts[:len(verdicts)-1]...)(path, n)
						e.Also = append(e.Also, v)
					})
				}},
			})
			*to = append(*to, e)
			for i, v := range e.Also {
				// A verdict is the worst that applies.
				if d.err == nil && slices.Index(verdicts, v) <= slices.Index(verdicts, e.Verdict) {
					d.failAt(fmt.Sprintf("%s.also[%d]", path, i), "%s can't stand beside the verdict %s, which is the worst that applied", v, e.Verdict)
				}
			}
		})
	}
}

func (d *decoder) when(e *StoryExpect, path string, n *yaml.Node) {
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
			d.fail(key.Line, "%s: the key %s is here twice", path, quoteBare(key.Value))
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
func (d *decoder) checkStory(s *Scenario) {
	if s.Story == nil {
		return
	}
	cases, err := s.Cases(nil)
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
			e := k.match(c)
			if e < 0 {
				d.failAt(at, "nothing is expected of the case %s; add an entry for it, or one without when", c.label())
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
	for _, m := range rolePattern.FindAllStringSubmatch(s.Story.Holds, -1) {
		if !slices.Contains(told, m[1]) {
			d.failAt("story.holds", "%s is no role of the story's kernels; it has: %s", quote(m[1]), keyList(told))
		}
	}
}

func (d *decoder) checkWhen(s *Scenario, at string, k StoryKernel) {
	for e, expect := range k.Expect {
		for _, name := range slices.Sorted(maps.Keys(expect.When)) {
			path := fmt.Sprintf("%s[%d].when.%s", at, e, name)
			p := slices.IndexFunc(s.Matrix, func(p Param) bool { return p.Name == name })
			if p < 0 {
				d.failAt(path, "the parameter is not declared in matrix")
			} else if !slices.Contains(s.Matrix[p].Values, expect.When[name]) {
				d.failAt(path, "%d is none of the values that the matrix has", expect.When[name])
			}
		}
	}
}

func (k StoryKernel) match(c Case) int {
	return slices.IndexFunc(k.Expect, func(e StoryExpect) bool {
		for name, want := range e.When {
			if !slices.Contains(c.Params, Setting{Name: name, Value: want}) {
				return false
			}
		}
		return true
	})
}

// Expects gives what the story expects of a case on the kernel: the first
// entry that matches. There is none for a case outside the matrix.
func (k StoryKernel) Expects(c Case) (StoryExpect, bool) {
	if i := k.match(c); i >= 0 {
		return k.Expect[i], true
	}
	return StoryExpect{}, false
}

// Met tells whether a trial's verdict and what else applied are as expected.
func (e StoryExpect) Met(verdict string, also []string) bool {
	if verdict != e.Verdict {
		return false
	}
	return len(e.Also) == 0 || slices.ContainsFunc(e.Also, func(v string) bool { return slices.Contains(also, v) })
}

// Sentence is what the story says when it holds, with ${role} replaced by the
// releases of the kernels that had the role. releases has one for each of
// s.Kernels.
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
