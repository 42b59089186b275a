package bisect

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Release is a released kernel that is available.
type Release struct {
	Version string // 6.18, 6.18.15, 7.3-rc7
	Ref     string // the kernel reference that gives it
}

// Releases is a history of released kernels. Stable series are branches: a
// series begins on the mainline, and 6.17.13 is no ancestor of 6.18. The first
// release of each series is compared first, then, in the series where it
// changed, the others.
type Releases struct {
	*Graph
	versions map[string]version
}

// version is a release's number: 6.18.15, 6.18 (patch 0), 7.3-rc7.
type version struct {
	major, minor, patch int
	rc                  int // 0: a release
}

var versionSyntax = regexp.MustCompile(`^([0-9]{1,4})\.([0-9]{1,4})(?:\.([0-9]{1,6}))?(?:-rc([0-9]{1,3}))?$`)

func parseVersion(s string) (version, error) {
	m := versionSyntax.FindStringSubmatch(s)
	if m == nil || m[3] != "" && m[4] != "" {
		return version{}, fmt.Errorf("%q is no kernel release, such as 6.18.15 or 7.3-rc7", s)
	}
	var v version
	for i, into := range []*int{&v.major, &v.minor, &v.patch, &v.rc} {
		if m[i+1] == "" {
			continue
		}
		n, err := strconv.Atoi(m[i+1])
		if err != nil {
			return version{}, fmt.Errorf("release %q: %w", s, err)
		}
		*into = n
	}
	if m[4] != "" && v.rc == 0 {
		return version{}, fmt.Errorf("%q is no kernel release: there is no -rc0", s)
	}
	return v, nil
}

func (v version) series() version { return version{major: v.major, minor: v.minor} }

func (v version) compare(o version) int {
	rc := func(v version) int { // a candidate comes before its release
		if v.rc == 0 {
			return 1 << 20
		}
		return v.rc
	}
	return cmp.Or(cmp.Compare(v.major, o.major), cmp.Compare(v.minor, o.minor), cmp.Compare(v.patch, o.patch), cmp.Compare(rc(v), rc(o)))
}

func (v version) tag() string {
	s := fmt.Sprintf("v%d.%d", v.major, v.minor)
	if v.patch > 0 {
		s += "." + strconv.Itoa(v.patch)
	}
	if v.rc > 0 {
		s += "-rc" + strconv.Itoa(v.rc)
	}
	return s
}

// NewReleases makes a history of releases, given in any order. Only those that
// are available belong in it.
func NewReleases(list []Release) (*Releases, error) {
	h := &Releases{Graph: NewGraph(), versions: make(map[string]version)}
	for _, r := range list {
		v, err := parseVersion(r.Version)
		if err != nil {
			return nil, err
		}
		if _, ok := h.versions[r.Version]; ok {
			return nil, fmt.Errorf("release %s is there twice", r.Version)
		}
		h.versions[r.Version] = v
	}
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b Release) int {
		return h.versions[a.Version].compare(h.versions[b.Version])
	})
	h.first = make(map[int]bool)
	var before, first string
	for i, r := range sorted {
		v := h.versions[r.Version]
		var parents []string
		switch {
		case i == 0 || v.series() != h.versions[before].series():
			if first != "" {
				parents = []string{first}
			}
			first = r.Version
			h.first[i] = true
		case v.rc > 0 || v.patch == 0 && h.versions[before].rc > 0:
			// Still the mainline: a series begins with its release, not
			// with a candidate for it.
			parents = []string{before}
			first = r.Version
		default:
			parents = []string{before}
		}
		if err := h.Add(r.Version, parents...); err != nil {
			return nil, err
		}
		before = r.Version
	}
	return h, nil
}

// Replay implements History.
func (h *Releases) Replay(ctx context.Context, new string, old []string, marks []Marked) (Next, error) {
	for _, o := range old {
		n, okNew := h.versions[new]
		v, okOld := h.versions[o]
		if okNew && okOld && n.compare(v) < 0 {
			return Next{}, fmt.Errorf("%s is older than %s: the new end must come after the old one", new, o)
		}
	}
	return h.Graph.Replay(ctx, new, old, marks)
}

// Describe implements History.
func (h *Releases) Describe(ctx context.Context, commit string) (Commit, error) {
	v, ok := h.versions[commit]
	if !ok {
		return Commit{}, fmt.Errorf("no release %q", commit)
	}
	return Commit{Hash: commit, Title: "Linux " + strings.TrimPrefix(v.tag(), "v"), Tags: []string{v.tag()}}, nil
}

// A Range is where a change came in, between two tags.
type Range struct {
	From, To string // tags of Linus's tree, or of the stable tree; To has the change
	Mainline bool   // the range is Linus's: v6.17..v6.18
	First    string // tag of the first available release with the change, To or a later one
	// Note says what the range leaves open: a first available release that
	// isn't the series' first may have got the change from stable.
	Note string
}

func (r Range) String() string { return r.From + ".." + r.To }

// Range turns the first release with a change into the range of commits that
// brought it. What breaks comes with the mainline as a rule; what fixes comes
// to a stable series by itself just as often.
func (h *Releases) Range(first string, d Direction) (Range, error) {
	v, ok := h.versions[first]
	if !ok {
		return Range{}, fmt.Errorf("no release %q", first)
	}
	parents, err := h.Parents(context.Background(), first)
	if err != nil {
		return Range{}, err
	}
	if len(parents) == 0 {
		return Range{}, fmt.Errorf("%s is the oldest release there is", first)
	}
	p := h.versions[parents[0]]
	if p.series() == v.series() {
		return Range{From: p.tag(), To: v.tag(), First: v.tag(), Mainline: v.patch == 0}, nil
	}
	r := Range{From: p.tag(), To: v.tag(), First: v.tag(), Mainline: true}
	if p.rc == 0 {
		r.From = p.series().tag()
	}
	series := v.series().tag()
	switch {
	case v.patch == 0:
	case d == Fix:
		r.Mainline = false
		r.Note = fmt.Sprintf("%s is the first available %s: the change came with %s, or with a stable release from %s.1 on", v.tag(), series, series, series)
	default:
		r.To = series
		r.Note = fmt.Sprintf("%s is the first available %s: a stable release from %s.1 to it may have brought the change as well", v.tag(), series, series)
	}
	return r, nil
}
