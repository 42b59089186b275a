package main

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

func TestWhatIsBesidesAnInterruption(t *testing.T) {
	interrupted, other, more := errors.New("interrupted"), errors.New("other"), errors.New("more")
	err := errors.Join(fmt.Errorf("wait: %w", interrupted), errors.Join(other, nil), errors.Join(interrupted, more))
	if got := besides(err, interrupted); !slices.Equal(got, []error{other, more}) {
		t.Errorf("got %v", got)
	}
	if got := besides(nil, interrupted); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

func TestSaidOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "accel")
	log := slog.New(slog.DiscardHandler)
	var got []bool
	for _, text := range []string{"no device", "no device", "it aborts", "it aborts"} {
		got = append(got, firstTime(dir, text, log))
	}
	if !slices.Equal(got, []bool{true, false, true, false}) {
		t.Errorf("first time: %v", got)
	}
	// Where nothing can be remembered, it is said again.
	for range 2 {
		if !firstTime("/dev/null/x", "no device", log) {
			t.Error("not said, though nobody can know")
		}
	}
}

func TestTheStoryThatIsTold(t *testing.T) {
	one, err := storyScenarios(nil, false)
	if err != nil || len(one) != 1 || one[0].Name != "lvm-mirror-dio-read" {
		t.Fatalf("without a name: %v, %v", one, err)
	}
	sc := one[0]
	all, err := storyScenarios(nil, true)
	if err != nil || len(all) < 3 || slices.ContainsFunc(all, func(s *scenarios.Scenario) bool { return s.Story == nil }) {
		t.Errorf("all: %d, %v", len(all), err)
	}
	if _, err := storyScenarios([]string{sc.Name}, true); err == nil {
		t.Error("all, and one by name: no error")
	}
	if _, err := storyScenarios([]string{sc.Name, "plain-dio-read"}, false); err == nil || !strings.Contains(err.Error(), "no story") {
		t.Errorf("one without a story: %v", err)
	}
	refs, err := storyKernels(sc, []string{"with=file:mine"})
	want := []string{sc.Story.Kernels[0].Ref, "file:mine", sc.Story.Kernels[2].Ref}
	if err != nil || !slices.Equal(refs, want) {
		t.Errorf("kernels %q, %v; want %q", refs, err, want)
	}
	for _, swap := range []string{"with", "with=", "=file:mine", "other=file:mine"} {
		if _, err := storyKernels(sc, []string{swap}); err == nil || !strings.Contains(err.Error(), "before, with, after") {
			t.Errorf("--kernel %s: %v", swap, err)
		}
	}
}
