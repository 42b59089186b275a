package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/bisect"
)

// everything is sources that every edit fits.
func everything() map[string]string {
	files := map[string]string{}
	add := func(c change) { files[c.file] += "\n/* … */\n" + c.old + "\n" }
	for _, e := range append(slices.Clone(neutral), countAsError, asMediaError, noMask, noBuild, noBoot, warns, breaks, warnOfDIO, noMemory) {
		for _, c := range e.changes {
			add(c)
		}
	}
	return files
}

func orderOf(t *testing.T, p plan) []edit {
	t.Helper()
	files := everything()
	edits, err := p.order(func(e edit) bool { return e.apply(maps.Clone(files)) == nil })
	if err != nil {
		t.Fatal(err)
	}
	return edits
}

// Given any seed, when a history of 24 commits is made, then it is what the
// demo promises.
func TestHistoryIsAsPromised(t *testing.T) {
	for seed := range uint64(300) {
		p := plan{commits: 24, seed: seed}
		edits := orderOf(t, p)
		count := map[role]int{}
		place := map[role]int{}
		files := everything()
		for i, e := range edits {
			count[e.role]++
			place[e.role] = i
			before := maps.Clone(files)
			if err := e.apply(files); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if maps.Equal(before, files) {
				t.Errorf("seed %d: %q changes nothing", seed, e.title)
			}
			if e.role == roleRevert && edits[i-1].role != roleBuild && edits[i-1].role != roleBoot {
				t.Errorf("seed %d: %q reverts nothing", seed, e.title)
			}
		}
		if len(edits) != 24 || count[roleOwn] != 6 || count[roleOwn]+count[roleOther] != 15 {
			t.Errorf("seed %d: %d commits, %v", seed, len(edits), count)
		}
		for _, r := range []role{roleFirst, roleSecond, roleCulprit, roleBuild, roleBoot, roleWarn, roleBreaks} {
			if count[r] != 1 {
				t.Errorf("seed %d: %d commits are %s", seed, count[r], r)
			}
		}
		if !(place[roleFirst] > 0 && place[roleFirst]+1 < place[roleSecond] && place[roleSecond]+1 < place[roleCulprit] && place[roleCulprit] < 23) {
			t.Errorf("seed %d: the three are at %d, %d and %d", seed, place[roleFirst], place[roleSecond], place[roleCulprit])
		}
	}
}

// Given the history whose failing end shows several things, then ENOMEM comes
// and goes between the warning and the short read, and each commit applies.
func TestHistoryOfSeveralThings(t *testing.T) {
	files := everything()
	var roles []role
	for _, e := range orderOf(t, plan{several: true}) {
		if err := e.apply(files); err != nil {
			t.Fatal(err)
		}
		if e.role != roleOwn && e.role != roleOther {
			roles = append(roles, e.role)
		}
	}
	if want := []role{roleWarnDIO, roleNoMem, roleRevert, roleCulprit}; !slices.Equal(roles, want) {
		t.Errorf("%v, want %v", roles, want)
	}
	if text := files[ext4File]; strings.Contains(text, "ENOMEM") || !strings.Contains(text, "iov_iter_truncate") {
		t.Error(text)
	}
}

// Given the history whose culprit can't be reverted, then a line of it is another
// one at the end, and the rest of it is there.
func TestHistoryOfAConflict(t *testing.T) {
	files := everything()
	var roles []role
	for _, e := range orderOf(t, plan{conflict: true}) {
		if err := e.apply(files); err != nil {
			t.Fatal(err)
		}
		if e.role != roleOwn && e.role != roleOther {
			roles = append(roles, e.role)
		}
	}
	if want := []role{roleCulprit, roleRewrite}; !slices.Equal(roles, want) {
		t.Errorf("%v, want %v", roles, want)
	}
	if err := revert(shortAndMore).apply(files); err == nil {
		t.Error("the culprit can be reverted")
	}
	if text := files[ext4File]; !strings.Contains(text, "PAGE_SIZE") || !strings.Contains(text, "nr_dio_pages") {
		t.Error(text)
	}
}

// Given the smallest history, then the three and one that does not build are
// in it, and there are commits before the culprit and after.
func TestSmallestHistory(t *testing.T) {
	for seed := range uint64(100) {
		edits := orderOf(t, plan{commits: smallest, seed: seed})
		roles := map[role]int{}
		for i, e := range edits {
			roles[e.role] = i
		}
		if len(edits) != smallest || roles[roleCulprit] == smallest-1 || roles[roleFirst] == 0 {
			t.Errorf("seed %d: %v", seed, roles)
		}
		if _, ok := roles[roleBuild]; !ok {
			t.Errorf("seed %d: every commit builds", seed)
		}
	}
}

// Given the default seed, when the history is halved as git does, then the
// commit that does not build and the one that does not boot are met.
func TestDefaultSeedMeetsTrouble(t *testing.T) {
	for _, p := range []plan{{commits: 24, seed: defaultSeed}, {commits: smallest, seed: defaultSeed}} {
		met := meets(t, p)
		if !met[roleBuild] || p.commits > smallest && !met[roleBoot] {
			for seed := range uint64(5000) {
				if m, n := meets(t, plan{commits: 24, seed: seed}), meets(t, plan{commits: smallest, seed: seed}); m[roleBuild] && m[roleBoot] && n[roleBuild] {
					t.Logf("seed %d does", seed)
					break
				}
			}
			t.Errorf("%+v: the bisection meets only %v", p, met)
		}
	}
}

func meets(t *testing.T, p plan) map[role]bool {
	t.Helper()
	edits := orderOf(t, p)
	g := bisect.NewGraph()
	name := func(i int) string { return fmt.Sprintf("c%d", i) }
	if err := g.Add("base"); err != nil {
		t.Fatal(err)
	}
	culprit := 0
	at := map[string]int{}
	for i, e := range edits {
		parent := "base"
		if i > 0 {
			parent = name(i - 1)
		}
		if err := g.Add(name(i), parent); err != nil {
			t.Fatal(err)
		}
		at[name(i)] = i
		if e.role == roleCulprit {
			culprit = i
		}
	}
	met := map[role]bool{}
	next, err := g.Replay(context.Background(), name(len(edits)-1), []string{"base"}, nil)
	for err == nil && next.Commit != "" {
		i := at[next.Commit]
		met[edits[i].role] = true
		m := bisect.Old
		switch {
		case edits[i].role == roleBuild || edits[i].role == roleBoot:
			m = bisect.Skip
		case i >= culprit:
			m = bisect.New
		}
		next, err = g.Mark(context.Background(), bisect.Marked{Commit: next.Commit, Mark: m})
	}
	if err != nil {
		t.Fatal(err)
	}
	if next.First != name(culprit) {
		t.Errorf("%+v: the first is %q, want %q", p, next.First, name(culprit))
	}
	return met
}
