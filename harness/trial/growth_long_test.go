//go:build vm && long

package trial

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/scenarios"
)

// Bounds of what blockrig may hold more after 500 warm trials than after the
// first few.
const (
	manyTrials  = 500
	heapBound   = 4 << 20  // bytes of live heap
	memoryBound = 48 << 20 // bytes of resident memory: the collector lets the heap grow
	threadBound = 8        // of the Go runtime
)

// A holding is what a process holds of the host.
type holding struct {
	heap, resident, threads, descriptors, goroutines int
}

func held(t *testing.T) holding {
	t.Helper()
	runtime.GC()
	runtime.GC() // what finalizers let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	h := holding{heap: int(m.HeapAlloc), goroutines: runtime.NumGoroutine()}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(status) {
		_, _ = fmt.Sscanf(string(line), "Threads: %d", &h.threads) // of one line
		if n, _ := fmt.Sscanf(string(line), "VmRSS: %d kB", &h.resident); n == 1 {
			h.resident <<= 10
		}
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	h.descriptors = len(fds)
	return h
}

// filesIn are the files of a folder and their sizes.
func filesIn(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		out[path] = info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestManyWarmTrialsInARowLeaveNothing(t *testing.T) {
	cache := sharedCache(t)
	var ids []string
	for n := range manyTrials {
		switch {
		case n%25 == 24:
			ids = append(ids, oneBlock) // hangs with an oops
		case n%10 == 9:
			ids = append(ids, oneSector) // fails the mirror
		default:
			ids = append(ids, aligned)
		}
	}
	v := newSchedule(t, cache, ids...)
	files := filesIn(t, cache)
	var first holding
	var trials time.Duration
	done := 0
	v.Done = func(i int, r Outcome) error {
		trials += r.Wall
		want := map[string]scenarios.Verdict{oneBlock: scenarios.Hang, oneSector: scenarios.EIO, aligned: scenarios.Pass}[ids[i]]
		if r.Verdict != want || !r.Warm {
			t.Errorf("trial %d, %s: warm %t, want %s\n%s", i, ids[i], r.Warm, want, show(ran{r, v.folder(i)}))
		}
		if ids[i] == aligned {
			for _, f := range r.Findings {
				if !f.Baseline {
					t.Errorf("aligned read %d, after %v of trials: %s", i, trials, f.Title)
				}
			}
		}
		wantNothingLeft(t, v.dir)
		// The records are the caller's, and go.
		entries, err := os.ReadDir(v.dir)
		for _, e := range entries {
			err = errors.Join(err, os.RemoveAll(filepath.Join(v.dir, e.Name())))
		}
		if done++; done == 20 {
			first = held(t)
		}
		return err
	}

	if err := v.Run(t.Context(), v.jobs); err != nil {
		t.Fatal(err)
	}

	if done != manyTrials || trials < time.Minute {
		t.Errorf("%d trials in %v; want %d, and a minute at least", done, trials, manyTrials)
	}
	// What has ended may not be gone yet.
	last := held(t)
	for ctx := testContext(t); (last.goroutines > first.goroutines || last.descriptors > first.descriptors) && ctx.Err() == nil; last = held(t) {
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("held after 20 trials: %+v; after %d: %+v", first, done, last)
	for _, c := range []struct {
		what             string
		first, last, may int
	}{
		{"heap", first.heap, last.heap, heapBound},
		{"resident memory", first.resident, last.resident, memoryBound},
		{"threads", first.threads, last.threads, threadBound},
		{"descriptors", first.descriptors, last.descriptors, 0},
		{"goroutines", first.goroutines, last.goroutines, 0},
	} {
		if c.last > c.first+c.may {
			t.Errorf("%s: %d after 20 trials, %d after %d; want at most %d more", c.what, c.first, c.last, done, c.may)
		}
	}
	if diff := cmp.Diff(files, filesIn(t, cache)); diff != "" {
		t.Errorf("files of the saved machine (-before +after):\n%s", diff)
	}
}
