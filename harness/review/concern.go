package review

import (
	"cmp"
	"context"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
	"github.com/blockrig/blockrig/scenarios"
)

// core is what all I/O goes through: changes there concern every scenario.
var core = []string{
	"block/", "fs/iomap/", "fs/direct-io.c", "mm/filemap.c", "lib/iov_iter.c",
	"include/linux/bio.h", "include/linux/bvec.h", "include/linux/blk", "include/linux/uio.h", "include/linux/iomap.h",
	"drivers/scsi/", "drivers/ata/", "drivers/nvme/host/", "drivers/block/",
}

// A tree reads files of a commit.
type tree struct {
	repo      *gitcmd.Repo
	commit    string
	makefiles map[string]*makefile
}

// options are the options of the kernel's configuration that decide whether a
// file is built, by the tree's own Makefiles; of a header, all of its folder.
func (t *tree) options(ctx context.Context, file string) ([]string, error) {
	dir, base := path.Split(path.Clean(file))
	dir = strings.TrimSuffix(dir, "/")
	m, err := t.makefile(ctx, dir)
	if err != nil || m == nil {
		return nil, err
	}
	if !strings.HasSuffix(base, ".c") && !strings.HasSuffix(base, ".S") {
		return m.all(), nil
	}
	found := m.gates(strings.TrimSuffix(base, path.Ext(base))+".o", map[string]bool{})
	// What is always built in a folder depends on the folder.
	for len(found) == 0 && strings.Contains(dir, "/") {
		up, name := path.Split(dir)
		dir = strings.TrimSuffix(up, "/")
		if m, err = t.makefile(ctx, dir); err != nil || m == nil {
			return nil, err
		}
		found = m.gates(name+"/", map[string]bool{})
	}
	return found, nil
}

// makefile reads that of a folder; it is nil where there is none.
func (t *tree) makefile(ctx context.Context, dir string) (*makefile, error) {
	if m, ok := t.makefiles[dir]; ok {
		return m, nil
	}
	if t.makefiles == nil {
		t.makefiles = map[string]*makefile{}
	}
	text, err := t.repo.Run(ctx, "show", t.commit+":"+path.Join(dir, "Makefile"))
	if _, refused := gitcmd.Status(err); refused {
		t.makefiles[dir] = nil
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	t.makefiles[dir] = readMakefile(text)
	return t.makefiles[dir], nil
}

// A makefile is what kbuild's lists of objects say (Documentation/kbuild/
// makefiles.rst).
type makefile struct {
	lists []objectList
}

// An objectList is one of its lines: "obj-$(CONFIG_DM_MIRROR) += dm-mirror.o",
// "dm-mirror-y += dm-raid1.o".
type objectList struct {
	of     string // "obj", or the object that is made of them: "dm-mirror"
	option string // "" of what is always built
	names  []string
}

var objectLine = regexp.MustCompile(`^([A-Za-z0-9_.-]+?)-(?:y|m|objs|\$\((CONFIG_[A-Z0-9_]+)\))\s*[:+]?=\s*(.*)$`)

func readMakefile(text string) *makefile {
	m := &makefile{}
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		line, _, _ = strings.Cut(line, "#")
		if f := objectLine.FindStringSubmatch(strings.TrimSpace(line)); f != nil {
			m.lists = append(m.lists, objectList{f[1], f[2], strings.Fields(f[3])})
		}
	}
	return m
}

// gates are the options that an object is built by: its own, or those of what
// it is a part of.
func (m *makefile) gates(object string, seen map[string]bool) []string {
	if seen[object] {
		return nil
	}
	seen[object] = true
	var out []string
	for _, l := range m.lists {
		if !slices.Contains(l.names, object) {
			continue
		}
		if l.option != "" {
			out = append(out, l.option)
		}
		if l.of != "obj" {
			out = append(out, m.gates(l.of+".o", seen)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (m *makefile) all() []string {
	var out []string
	for _, l := range m.lists {
		if l.option != "" {
			out = append(out, l.option)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Concerned are the cases that a series concerns, those first that need what
// few others need: at most so many, of as many scenarios as possible. Paths
// that no scenario goes through concern none.
func Concerned(ctx context.Context, repo *gitcmd.Repo, s *Series, all []scenarios.Case, most int) ([]scenarios.Case, error) {
	t := &tree{repo: repo, commit: s.Base}
	options := map[string]bool{}
	everything := false
	for _, p := range s.Paths {
		everything = everything || slices.ContainsFunc(core, func(c string) bool { return strings.HasPrefix(p, c) })
		found, err := t.options(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			options[o] = true
		}
	}
	return choose(all, options, everything, most), nil
}

// choose takes cases in turns from the scenarios that are concerned most.
func choose(all []scenarios.Case, options map[string]bool, everything bool, most int) []scenarios.Case {
	users := map[string]int{} // cases that need an option
	for _, c := range all {
		for _, n := range c.Needs() {
			users[n.Option]++
		}
	}
	type group struct {
		cases []scenarios.Case
		score float64
	}
	var groups []*group
	byName := map[string]*group{}
	for _, c := range all {
		score := 0.
		for _, n := range c.Needs() {
			if options[n.Option] {
				score += 1 / float64(users[n.Option])
			}
		}
		if score == 0 && !everything {
			continue
		}
		g := byName[c.Scenario.Name]
		if g == nil {
			g = &group{}
			byName[c.Scenario.Name] = g
			groups = append(groups, g)
		}
		g.cases = append(g.cases, c)
		g.score = max(g.score, score)
	}
	slices.SortStableFunc(groups, func(a, b *group) int { return cmp.Compare(b.score, a.score) })
	var out []scenarios.Case
	for turn := 0; len(out) < most; turn++ {
		took := false
		for _, g := range groups {
			if turn < len(g.cases) && len(out) < most {
				out = append(out, g.cases[turn])
				took = true
			}
		}
		if !took {
			break
		}
	}
	return out
}
