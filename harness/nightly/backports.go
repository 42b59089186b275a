package nightly

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/kernels/debian"
	"github.com/blockrig/blockrig/scenarios"
)

// A Backport says which kernels of tonight lack an upstream fix, of those that
// a story's scenario was tried on, and where it arrived.
type Backport struct {
	CaseName
	Fix     string    `json:"fix,omitempty"` // subject of the commit, where the story says it
	Lacking []Release `json:"lacking"`
	Have    []Release `json:"have"`
	Arrived []Release `json:"arrived,omitempty"` // of each series, the first release seen with it after one without
}

// A Release is one that was tried.
type Release struct {
	Stream  string `json:"stream"`
	Ref     string `json:"ref"`
	Release string `json:"release"`
}

var fixedBy = regexp.MustCompile(`[Ff]ixed by "([^"]+)"`)

// backports are those of all cases that tell of a fix, by what each kernel
// that tonight looks at showed last.
func (b *archive) backports(tonight Night, cases []scenarios.Case) []Backport {
	var out []Backport
	for _, c := range cases {
		with, ok := withoutFix(c)
		if !ok {
			continue
		}
		bp := Backport{CaseName: nameOf(c)}
		if m := fixedBy.FindStringSubmatch(strings.Join(strings.Fields(c.Scenario.About+" "+c.Scenario.Story.Holds), " ")); m != nil {
			bp.Fix = m[1]
		}
		has := map[Release]bool{}
		var seen []Release
		for _, n := range append(slices.Clone(b.nights), tonight) {
			for _, t := range n.Tallies {
				if t.CaseName != bp.CaseName || t.Release == "" {
					continue
				}
				if fixed, known := t.fixed(with); known {
					r := Release{t.Stream, t.Ref, t.Release}
					has[r] = fixed
					seen = append(slices.DeleteFunc(seen, func(o Release) bool { return o == r }), r)
				}
			}
		}
		for _, k := range tonight.Kernels {
			for _, r := range seen {
				if r.Stream != k.Stream || r.Ref != k.Ref {
					continue
				}
				if has[r] {
					bp.Have = append(bp.Have, r)
				} else {
					bp.Lacking = append(bp.Lacking, r)
				}
			}
		}
		bp.Arrived = arrived(seen, has)
		if len(bp.Lacking)+len(bp.Arrived) > 0 {
			out = append(out, bp)
		}
	}
	return out
}

// withoutFix is what a case's story expects of kernels that lack the fix; ok is
// false where it tells of none.
func withoutFix(c scenarios.Case) (e scenarios.StoryExpect, ok bool) {
	if c.Scenario.Story == nil {
		return e, false
	}
	after := false
	for _, k := range c.Scenario.Story.Kernels {
		expect, says := k.Expects(c)
		switch {
		case !says:
		case k.Role == "with" && expect.Verdict.Failure():
			e, ok = expect, true
		case k.Role == "after" && !expect.Verdict.Failure():
			after = true
		}
	}
	return e, ok && after
}

// fixed tells whether a kernel has the fix; known is false where its trials
// don't say.
func (t Tally) fixed(without scenarios.StoryExpect) (fixed, known bool) {
	for _, f := range t.Shown {
		if without.Met(f.Verdict, f.Also) {
			return false, true
		}
	}
	failures, trials := t.trials()
	return true, trials > 0 && failures == 0
}

// arrived gives the releases that were the first of their series with a fix,
// where an earlier one lacked it.
func arrived(seen []Release, has map[Release]bool) []Release {
	seen = slices.Clone(seen)
	slices.SortStableFunc(seen, func(a, b Release) int {
		return cmp.Or(debian.CompareVersions(strings.TrimPrefix(a.Release, "v"), strings.TrimPrefix(b.Release, "v")))
	})
	lacked := map[string]bool{}
	var out []Release
	for _, r := range seen {
		series := seriesName(strings.TrimPrefix(r.Release, "v"))
		switch {
		case !has[r]:
			lacked[series] = true
		case lacked[series]:
			out = append(out, r)
			lacked[series] = false
		}
	}
	return out
}
