package trials

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// originTime is how long it may take to find out where others have a commit:
// the report is of use without it.
const originTime = 2 * time.Minute

var (
	releaseTag     = regexp.MustCompile(`^v[0-9]+\.[0-9]+(\.[0-9]+)*(-rc[0-9]+)?$`)
	upstreamCommit = regexp.MustCompile(`(?im)^\s*(?:\[\s*upstream commit ([0-9a-f]{12,64})\s*\]|commit ([0-9a-f]{12,64}) upstream\.?|\(cherry[- ]picked from commit ([0-9a-f]{12,64})\))\s*$`)
	signedOff      = regexp.MustCompile(`(?im)^\s*signed-off-by:(.*)$`)
	revertsCommit  = regexp.MustCompile(`(?i)this\s+reverts\s+commit\s+([0-9a-f]{7,64})`)
	wrappedTitle   = regexp.MustCompile(`^(Revert|Reapply) "(.*)"$`)
)

// A source asks a repository about a commit, for a report. What it can't find
// out it leaves out.
type source struct {
	repo *gitcmd.Repo
}

func (s source) git(ctx context.Context, args ...string) string {
	out, err := s.repo.Run(ctx, args...)
	if err != nil {
		return ""
	}
	return strings.TrimRight(out, "\n")
}

// originOf says where others find a commit, and what became of its change
// between the ends of the search.
func (s source) originOf(ctx context.Context, c bisect.Commit, old []string, new string) bisect.Origin {
	ctx, cancel := context.WithTimeout(ctx, originTime)
	defer cancel()
	var o bisect.Origin
	message := s.message(ctx, c.Hash)
	if m := upstreamCommit.FindStringSubmatch(message); m != nil {
		o.Upstream = strings.ToLower(m[1] + m[2] + m[3])
		if full := s.git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", o.Upstream+"^{commit}"); gitcmd.IsHash(full) {
			o.Upstream = full
		}
	}
	if o.In = s.releaseWith(ctx, c.Hash); o.In == "" {
		o.Near = s.git(ctx, "describe", "--tags", "--match=v[0-9]*", "--abbrev=12", c.Hash)
		if o.Upstream == "" {
			o.Upstream = s.sameChange(ctx, c)
			o.Same = o.Upstream != ""
		}
	}
	o.Story = s.story(ctx, c, old, new)
	return o
}

func (s source) message(ctx context.Context, commit string) string {
	return s.git(ctx, "show", "-s", "--no-show-signature", "--format=%B", "--end-of-options", commit)
}

// releaseWith is the first release tag with a commit: a candidate before the
// release of the same second.
func (s source) releaseWith(ctx context.Context, commit string) string {
	list := s.git(ctx, "for-each-ref", "--contains="+commit, "--sort=-version:refname", "--sort=creatordate", "--format=%(refname:lstrip=2)", "refs/tags/v*")
	i := slices.IndexFunc(strings.Fields(list), releaseTag.MatchString)
	if i < 0 {
		return ""
	}
	return strings.Fields(list)[i]
}

// sameChange is the commit in a release that makes the same change.
func (s source) sameChange(ctx context.Context, c bisect.Commit) string {
	id := s.patchID(ctx, c.Hash, false)
	if id == "" || c.Title == "" {
		return ""
	}
	// A commit is never older than its change.
	since := "--since=" + c.Date.Add(-24*time.Hour).Format(time.RFC3339)
	out := s.git(ctx, "log", "--tags=v[0-9]*", "--no-merges", "--no-show-signature", since, "--max-count=20", "--fixed-strings", "--grep="+c.Title, "--format=%H %s")
	for line := range strings.Lines(out) {
		hash, title, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		if hash != c.Hash && title == c.Title && s.patchID(ctx, hash, false) == id && s.releaseWith(ctx, hash) != "" {
			return hash
		}
	}
	return ""
}

// patchID is git's ID of a commit's change, or of the reverse of it; "" of a
// merge.
func (s source) patchID(ctx context.Context, commit string, reverse bool) string {
	args := []string{"diff-tree", "-p", "--no-ext-diff", "--no-textconv", "--no-prefix"} // -R would change places of prefixes
	if reverse {
		args = append(args, "-R")
	}
	diff := s.git(ctx, append(args, "--end-of-options", commit)...)
	if diff == "" {
		return ""
	}
	out, err := s.repo.RunInput(ctx, strings.NewReader(diff+"\n"), "patch-id", "--stable")
	if err != nil {
		return ""
	}
	id, _, _ := strings.Cut(out, " ")
	return id
}

// chapter is a commit that may apply the change of another, or take it back.
type chapter struct {
	hash, title string
	reverts     []string // hashes, or their beginnings, that its message names
	member      bool
	flipped     bool // it undoes what the culprit does
}

// title without what git puts around it for a revert or, of that, another.
func plainTitle(title string) string {
	for {
		m := wrappedTitle.FindStringSubmatch(title)
		if m == nil {
			return title
		}
		title = m[2]
	}
}

// story is the culprit with the commits of the search's range that apply its
// change, too, or take it back, oldest first.
func (s source) story(ctx context.Context, c bisect.Commit, old []string, new string) []bisect.Chapter {
	plain := plainTitle(c.Title)
	if plain == "" {
		return nil
	}
	args := []string{"log", "--topo-order", "--reverse", "--no-show-signature", "--fixed-strings", "--grep=This reverts commit", "--grep=" + plain, "--format=%H%x00%s%x00%b%x01", new}
	for _, o := range old {
		args = append(args, "^"+o)
	}
	var all []*chapter
	for _, record := range strings.Split(s.git(ctx, args...), "\x01") {
		f := strings.SplitN(strings.TrimLeft(record, "\n"), "\x00", 3)
		if len(f) != 3 || !gitcmd.IsHash(f[0]) {
			continue
		}
		ch := &chapter{hash: f[0], title: f[1], member: f[0] == c.Hash}
		for _, m := range revertsCommit.FindAllStringSubmatch(f[2], -1) {
			ch.reverts = append(ch.reverts, strings.ToLower(m[1]))
		}
		all = append(all, ch)
	}
	id := s.patchID(ctx, c.Hash, false)
	for changed := true; changed; {
		changed = false
		for _, x := range all {
			if x.member {
				continue
			}
			for _, m := range all {
				if m.member && (x.undoes(m) || m.undoes(x)) {
					x.member, x.flipped = true, !m.flipped
				}
			}
			if !x.member && id != "" && plainTitle(x.title) == plain && len(x.reverts) == 0 {
				switch id {
				case s.patchID(ctx, x.hash, false):
					x.member = true
				case s.patchID(ctx, x.hash, true):
					x.member, x.flipped = true, true
				}
			}
			changed = changed || x.member
		}
	}
	var out []bisect.Chapter
	for _, x := range all {
		// What comes before the first is what a revert reverts.
		if x.member && (!x.flipped || len(out) > 0) {
			out = append(out, bisect.Chapter{Commit: bisect.Commit{Hash: x.hash, Title: x.title}, Reverts: x.flipped})
		}
	}
	if len(out) < 2 {
		return nil
	}
	return out
}

// undoes tells whether a commit says that it reverts another.
func (c *chapter) undoes(o *chapter) bool {
	return slices.ContainsFunc(c.reverts, func(h string) bool { return strings.HasPrefix(o.hash, h) })
}

// people are those to write to about a commit.
func (s source) people(ctx context.Context, c bisect.Commit, files []string) bisect.People {
	ctx, cancel := context.WithTimeout(ctx, originTime)
	defer cancel()
	name, maintainers := c.Hash+":MAINTAINERS", ""
	if size, err := strconv.Atoi(s.git(ctx, "cat-file", "-s", name)); err == nil && size <= maxMaintainers {
		maintainers = s.git(ctx, "cat-file", "blob", name)
	}
	p := peopleOf(maintainers, files)
	p.Author = mailbox(c.Author)
	for _, m := range signedOff.FindAllStringSubmatch(s.message(ctx, c.Hash), -1) {
		if who := mailbox(m[1]); who != "" {
			p.Others = append(p.Others, who)
		}
	}
	return p
}
