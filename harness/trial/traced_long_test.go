//go:build vm && long

package trial

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// Given the read of the report that began it all, when it fails, then one more
// trial names the disk that refused it, and the layers above in their order.
func TestTheDiskThatRefusedIsNamed(t *testing.T) {
	v := newSchedule(t, sharedCache(t), oneSector)
	v.Trace = OncePerFailure()

	v.run(t)

	r := v.got[0]
	if r.Verdict != scenarios.EIO || len(r.Attempts) != 1 || r.Traced == nil || !r.Traced.Same || r.Traced.Lost != 0 || r.Traced.Asked < 3 {
		t.Fatalf("%d attempts, traced %+v; want one that failed with EIO, and the same with a trace\n%s", len(r.Attempts), r.Traced, show(r))
	}
	var way []string
	for _, a := range r.Traced.Failed {
		way = append(way, a.Layer+" "+a.Device[:2]+" "+a.Errno)
	}
	// Which disk is sda changes from boot to boot. A kernel has no word for the
	// second leg's but its own.
	first := r.Traced.Failed[0]
	if n := len(way); n < 4 || !strings.HasSuffix(way[0], " EINVAL") || first.Layer != "a" || first.Op != "read" || first.Sector == 0 ||
		way[1] != "main ma EINVAL" || way[n-1] != "main ma EIO" {
		t.Errorf("in order: %q (%s)", way, r.Traced.Text())
	}
	for _, name := range []string{TracedConsole, TracedEvents} {
		if info, err := os.Stat(filepath.Join(r.dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantNothingLeft(t, v.dir)
}
