//go:build vm && long

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestReproAll tells every story that ships. One that does not hold, or whose
// kernels Debian no longer has, is to be looked at.
func TestReproAll(t *testing.T) {
	h := newHost(t)
	stories, err := storyScenarios(nil, true)
	if err != nil {
		t.Fatal(err)
	}
	h.limit = 40 * time.Minute
	o := h.run("repro", "--all")
	if want := fmt.Sprintf("%d of %d bugs shown\n", len(stories), len(stories)); o.status != 0 || !strings.HasSuffix(o.stdout, want) {
		t.Error(o)
	}
	h.wantRuns(len(stories))
	h.wantNothingLeft()
}

// TestReproSwapped has a kernel of one's own play a part in the story, in
// which it does not do what the part asks for.
func TestReproSwapped(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	k := h.kernel("debian:newest")
	o := h.run("repro", h.write("story.yaml", story), "--kernel", "with=file:"+k.Image+",modules="+k.Modules)
	if o.status != 1 || !strings.Contains(o.stderr, "The story does not hold:") || !strings.Contains(o.stderr, "pass, and the story has eio with degraded") {
		t.Error(o)
	}
	if strings.Contains(o.stderr, "It fails on") {
		t.Error("the story is told all the same")
	}
	h.wantNothingLeft()
}

// TestReproSeveral tells two stories of the museum that are told in seconds.
func TestReproSeveral(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	o := h.run("repro", "museum-dm-message-lost-error", "museum-dm-snapshot-merge-oops")
	if o.status != 0 || !strings.HasSuffix(o.stdout, "2 of 2 bugs shown\n") {
		t.Error(o)
	}
	h.wantRuns(2)
	h.wantNothingLeft()
}
