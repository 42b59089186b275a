//go:build vm && long

package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestReproAll tells every story that ships. One that does not hold, or whose
// kernels Debian no longer has, is to be looked at.
func TestReproAll(t *testing.T) {
	h := newHost(t)
	stories, err := storyScenarios(nil, true)
	if err != nil {
		t.Fatal(err)
	}
	o := h.run("repro", "--all")
	if want := fmt.Sprintf("%d of %d bugs shown\n", len(stories), len(stories)); o.status != 0 || !strings.HasSuffix(o.stdout, want) {
		t.Error(o)
	}
	h.wantRuns(len(stories))
	h.wantNothingLeft()
}
