package report

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/hunt"
	"github.com/blockrig/blockrig/harness/nightly"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results/store"
)

// mostNights bounds the nights that are read of each config: the last ones.
const mostNights = 60

// readNights reads what nights recorded: which stream a kernel is of and, of
// the last night whose runs are in the report, what it said of failures.
func (l *loader) readNights(context.Context, store.Filter) error {
	if l.files == nil {
		return nil
	}
	runs := map[string]bool{}
	for _, r := range l.r.Runs {
		runs[r.ID] = true
	}
	for _, config := range names(l.files, nightly.Folder) {
		dir := path.Join(nightly.Folder, config)
		files := slices.DeleteFunc(names(l.files, dir), func(name string) bool { return path.Ext(name) != ".json" || strings.HasPrefix(name, ".") })
		var last *nightly.Night
		for _, name := range files[max(0, len(files)-mostNights):] {
			n, err := readNight(l.files, path.Join(dir, name))
			if err != nil {
				l.r.Problems = append(l.r.Problems, fmt.Sprintf("read the night %s: %s", text.Escape(path.Join(dir, name)), err))
				continue
			}
			for _, k := range n.Kernels {
				l.streams[k.Ref] = k.Stream
			}
			for _, t := range n.Tallies {
				if t.Stream != "" {
					l.streams[t.Ref] = t.Stream
				}
			}
			if slices.ContainsFunc(n.Plan, func(b nightly.Batch) bool { return runs[b.Run] }) {
				last = &n
			}
		}
		if last != nil {
			l.nights = append(l.nights, *last)
			l.r.Hunted = append(l.r.Hunted, huntedIn(*last)...)
		}
	}
	return nil
}

// huntedIn is what the hunt of a night found.
func huntedIn(n nightly.Night) (all []Hunted) {
	if n.Hunt == nil {
		return nil
	}
	for _, f := range hunt.Worst(n.Hunt.Findings) {
		all = append(all, Hunted{
			Kernel: cmp.Or(f.Release, n.Hunt.Ref), Class: string(f.Class), Stack: f.Stack, Program: f.Says, Answer: cmp.Or(f.Outcome, "no answer"),
			Scenario: path.Join(hunt.Folders, n.Hunt.Hunt, f.ID+".yaml"), Bisected: append([]string{}, f.Bisection.Lines("not over, and goes on with")...),
		})
	}
	return all
}

func readNight(files fs.FS, name string) (nightly.Night, error) {
	var n nightly.Night
	src, err := readFile(files, name, nightly.MaxRecord)
	if err == nil {
		err = json.Unmarshal(src, &n)
	}
	return n, err
}

// names are those in a folder, sorted; none where there is no such folder.
func names(files fs.FS, dir string) []string {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil // what can't be listed is missed where it matters
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
