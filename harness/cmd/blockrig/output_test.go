package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// Given an --output that can't be written, then that is said before anything is
// done, as a wrong request.
func TestOutputThatCantBeWritten(t *testing.T) {
	nowhere(t)
	dir := t.TempDir()
	for _, args := range [][]string{
		{"results", "report"},
		{"results", "bundle", "last/1"},
		{"minimise", "last/1"},
		{"bisect", "resume"},
		{"bisect", "versions", "--good", "debian:6.17", "--bad", "debian:6.18", "plain-dio-read"},
		{"try-patch", "--repo", dir, "--base", "HEAD", "x.patch", "plain-dio-read"},
	} {
		for output, want := range map[string]string{
			filepath.Join(dir, "no", "x"): "there is no folder " + filepath.Join(dir, "no"),
			dir:                           "want a file, and this is a folder",
		} {
			s := say(t, append(args, "--output", output, "--results", dir)...)
			if s.status != 2 || !strings.Contains(s.errors, "--output "+output) || !strings.Contains(s.errors, want) || strings.Count(s.errors, "\n") != 1 {
				t.Errorf("%v --output %s: %+v", args, output, s)
			}
		}
	}
}

// Given words that name no trial, then one line says what is wrong with them.
func TestWordsThatNameNoTrial(t *testing.T) {
	nowhere(t)
	dir := t.TempDir()
	for word, want := range map[string]string{
		"/tmp": `no such run: "/tmp"; want RUN/NUMBER`, "last/1": "no such run: there are none in ",
	} {
		if s := say(t, "replay", word, "--results", dir); s.status != 2 || !strings.Contains(s.errors, want) || strings.Count(s.errors, "\n") != 1 {
			t.Errorf("%s: %+v", word, s)
		}
	}
	if s := say(t, "results", "list", "--results", filepath.Join(dir, "no")); s.status != 0 || !strings.Contains(s.errors, "there are no runs in "+filepath.Join(dir, "no")) {
		t.Errorf("%+v", s)
	}
	if s := say(t, "results", "serve", "--listen", "nowhere", "--results", dir); s.status != 2 || !strings.Contains(s.errors, `can't listen on "nowhere": want ADDRESS:PORT`) {
		t.Errorf("%+v", s)
	}
	if s := say(t, "results", "compare", "last", "last", "--results", dir); s.status != 2 || strings.Contains(s.errors, `scenario ""`) {
		t.Errorf("%+v", s)
	}
}
