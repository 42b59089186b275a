package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// A plan says which history to make.
type plan struct {
	commits int // on top of the sources
	seed    uint64
	// grow turns the order of the three around so that the symptom grows: with
	// the second of them a leg is failed, with the last the read fails too.
	grow bool
	// several is a short history of another kind: its failing end warns of each
	// direct read and gives too few bytes, two commits of it; a third one, that
	// was taken back between them, had the same reads answer ENOMEM.
	several bool
	// conflict is a short history in which a later commit has changed a line of
	// the culprit's.
	conflict bool
	// mutant makes a history of this commit alone.
	mutant *edit
}

// severalThings is a history whose failing end shows several things.
func severalThings(fits func(edit) bool) ([]edit, error) {
	n, err := some(5, fits)
	if err != nil {
		return nil, err
	}
	return []edit{n[0], warnOfDIO, n[1], noMemory, n[2], revert(noMemory), n[3], short, n[4]}, nil
}

// conflicting is a history whose culprit can't be reverted.
func conflicting(fits func(edit) bool) ([]edit, error) {
	n, err := some(4, fits)
	if err != nil {
		return nil, err
	}
	return []edit{n[0], n[1], shortAndMore, n[2], rewritten, n[3]}, nil
}

// some gives so many neutral changes in other files than the culprit's.
func some(n int, fits func(edit) bool) (out []edit, err error) {
	for _, e := range neutral {
		if len(out) < n && e.changes[0].file != ext4File && fits(e) {
			out = append(out, e)
		}
	}
	if len(out) < n {
		return nil, fmt.Errorf("the sources have room for %d changes, the history needs %d", len(out), n)
	}
	return out, nil
}

// smallest is a history with the three, one that does not build, its revert,
// and room before and after.
const smallest = 8

// order gives the edits of a history in the plan's order.
func (p plan) order(fits func(edit) bool) ([]edit, error) {
	if p.several {
		return severalThings(fits)
	}
	if p.conflict {
		return conflicting(fits)
	}
	if p.mutant != nil {
		return []edit{*p.mutant}, nil
	}
	if p.commits < smallest || p.commits > 200 {
		return nil, fmt.Errorf("%d commits: want %d to 200", p.commits, smallest)
	}
	r := rand.New(rand.NewPCG(p.seed, 24))
	three := []edit{countAsError, asMediaError, noMask}
	if p.grow {
		three = []edit{asMediaError, noMask, countAsError}
	}
	for i, role := range []role{roleFirst, roleSecond, roleCulprit} {
		three[i].role = role
	}
	// What stands in the way, as far as there is room; those that nothing
	// works after are reverted in the next commit.
	units := [][]edit{{noBuild, revert(noBuild)}}
	if p.commits >= 16 {
		units = append(units, []edit{noBoot, revert(noBoot)}, []edit{warns}, []edit{breaks})
	}
	left := p.commits - len(three)
	for _, u := range units {
		left -= len(u)
	}
	var own, other []edit
	for _, e := range neutral {
		if !fits(e) {
			continue
		}
		if e.role == roleOwn {
			own = append(own, e)
		} else {
			other = append(other, e)
		}
	}
	r.Shuffle(len(own), func(i, j int) { own[i], own[j] = own[j], own[i] })
	r.Shuffle(len(other), func(i, j int) { other[i], other[j] = other[j], other[i] })
	n := min(6, left/2)
	if len(own) < n || len(own)+len(other) < left {
		return nil, fmt.Errorf("the sources have room for %d and %d changes, a history of %d commits needs %d and %d", len(own), len(other), p.commits, n, left-n)
	}
	take := append(slices.Clone(own[:n]), append(other, own[n:]...)[:left-n]...)
	for _, e := range take {
		units = append(units, []edit{e})
	}
	r.Shuffle(len(units), func(i, j int) { units[i], units[j] = units[j], units[i] })
	// The three, apart from each other: in the first, the second and the last
	// third, with something before and after.
	at := func(low, high float64) int {
		from, to := int(low*float64(len(units))), int(high*float64(len(units)))
		return from + r.IntN(max(1, to-from))
	}
	places := []int{max(1, at(.1, .3)), at(.4, .55), min(len(units)-1, at(.65, .9))}
	for i := 2; i >= 0; i-- {
		units = slices.Insert(units, places[i], []edit{three[i]})
	}
	return slices.Concat(units...), nil
}

// A history is one that was made.
type history struct {
	repo    *gitcmd.Repo
	commits []commit // parents first, without the sources' own
	base    string
}

type commit struct {
	hash, title string
	role        role
}

func (h *history) tip() string { return h.commits[len(h.commits)-1].hash }

// with gives the commit with a role.
func (h *history) with(r role) commit {
	i := slices.IndexFunc(h.commits, func(c commit) bool { return c.role == r })
	if i < 0 {
		return commit{}
	}
	return h.commits[i]
}

// make writes the plan's history into the repository of the sources. The same
// plan gives the same hashes.
func (p plan) make(ctx context.Context, s *source) (*history, error) {
	files := map[string]string{}
	all := append(slices.Clone(neutral), countAsError, asMediaError, noMask, noBuild, noBoot, warns, breaks, warnOfDIO, noMemory, short, shortAndMore, offByOne, slowReads)
	for _, e := range all {
		for _, c := range e.changes {
			if _, ok := files[c.file]; ok {
				continue
			}
			text, err := s.repo.Run(ctx, "cat-file", "blob", s.base+":"+c.file)
			if err != nil {
				return nil, fmt.Errorf("read %s of the sources: %w", c.file, err)
			}
			files[c.file] = text
		}
	}
	edits, err := p.order(func(e edit) bool { return e.apply(maps.Clone(files)) == nil })
	if err != nil {
		return nil, err
	}
	branch := fmt.Sprintf("refs/heads/seed-%d-%d", p.seed, p.commits)
	if p.grow {
		branch += "-grow"
	}
	if p.several {
		branch = "refs/heads/several"
	}
	if p.conflict {
		branch = "refs/heads/conflict"
	}
	if p.mutant != nil {
		branch = "refs/heads/mutant-" + string(p.mutant.role)
	}
	err = fastImport(ctx, s.repo, func(w *bufio.Writer) error {
		from := s.base
		for i, e := range edits {
			if err := e.apply(files); err != nil {
				return fmt.Errorf("%w; these sources are not the ones the demo was made for", err)
			}
			writeCommit(w, branch, e.title, i+1)
			if i == 0 {
				fmt.Fprintf(w, "from %s\n", from)
			}
			seen := map[string]bool{}
			for _, c := range e.changes {
				if !seen[c.file] {
					seen[c.file] = true
					fmt.Fprintf(w, "M 100644 inline %s\ndata %d\n%s\n", c.file, len(files[c.file]), files[c.file])
				}
			}
			fmt.Fprintln(w)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p.read(ctx, s, branch, edits)
}

func (p plan) read(ctx context.Context, s *source, branch string, edits []edit) (*history, error) {
	out, err := s.repo.Run(ctx, "rev-list", "--reverse", s.base+".."+branch)
	if err != nil {
		return nil, err
	}
	h := &history{repo: s.repo, base: s.base}
	for i, hash := range strings.Fields(out) {
		h.commits = append(h.commits, commit{hash, edits[i].title, edits[i].role})
	}
	return h, nil
}
