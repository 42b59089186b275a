package results

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/blockrig/blockrig/results/store"
	"github.com/blockrig/blockrig/scenarios"
)

func TestPruneKeepsTheFirstTheLastAndEverySignature(t *testing.T) {
	root := t.TempDir()
	// Given runs of the same case, and one that goes on.
	var runs []*Run
	for _, verdicts := range [][]scenarios.Verdict{
		{scenarios.Pass},                 // the first
		{scenarios.Pass, scenarios.Pass}, // nothing of their own
		{scenarios.Hang, scenarios.Pass}, // a signature
		{scenarios.Hang},                 // nothing of its own
		{scenarios.Pass},                 // the last
	} {
		runs = append(runs, closed(t, recordRun(t, root, verdicts...)))
		time.Sleep(2 * time.Millisecond) // trials are told apart by when they began
	}
	s, _ := indexAt(t, root)
	prune := func(before time.Time, dry bool) string {
		t.Helper()
		pruned, busy, err := Prune(t.Context(), root, s, before, dry)
		if err != nil || len(busy) > 0 {
			t.Fatalf("busy %v, %v", busy, err)
		}
		var names []string
		for _, p := range pruned {
			for i, r := range runs {
				p.Trial = strings.Replace(p.Trial, r.ID(), string(rune('0'+i)), 1)
			}
			names = append(names, p.Trial)
		}
		return strings.Join(names, " ")
	}
	const want = "1/1 1/2 2/2 3/1"
	if got := prune(time.Now(), true); got != want {
		t.Errorf("would prune %s, want %s", got, want)
	}
	if got := prune(time.Now().Add(-time.Hour), false); got != "" {
		t.Errorf("of the trials of an hour ago: %s", got)
	}
	if got := prune(time.Now(), false); got != want {
		t.Errorf("pruned %s, want %s", got, want)
	}
	if got := prune(time.Now(), false); got != "" {
		t.Errorf("and again %s", got)
	}
	// Then all trials are still recorded, and no run is damaged.
	for i, n := range []int{1, 2, 2, 1, 1} {
		stored, err := Show(root, runs[i].ID())
		if err != nil || len(stored.Records) != n || len(stored.Problems()) > 0 {
			t.Errorf("run %d: %d trials, %v %v", i, len(stored.Records), stored.Problems(), err)
		}
	}
	kept := 0
	for tr := range s.Trials(t.Context(), store.Filter{Kept: true}) {
		if _, err := os.Stat(filepath.Join(root, tr.Run, tr.Dir, ResultFile)); err != nil {
			t.Error(err)
		}
		kept++
	}
	if kept != 3 {
		t.Errorf("%d folders are kept, want 3", kept)
	}
	for _, r := range runs {
		for _, name := range tree(t, r.Dir()) {
			if strings.HasPrefix(filepath.Base(name), ".") {
				t.Errorf("left: %s", name)
			}
		}
	}
}

func TestPruneLeavesARunAloneThatIsUnderWay(t *testing.T) {
	root := t.TempDir()
	closed(t, recordRun(t, root, scenarios.Pass))
	going := recordRun(t, root, scenarios.Pass, scenarios.Pass)
	closed(t, recordRun(t, root, scenarios.Pass))
	s, _ := indexAt(t, root)
	pruned, busy, err := Prune(t.Context(), root, s, time.Now(), false)
	if err != nil || len(pruned) > 0 || len(busy) != 1 || busy[0] != going.ID() {
		t.Errorf("%v, busy %v, %v", pruned, busy, err)
	}
	closed(t, going)
}
