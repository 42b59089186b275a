//go:build vm && long

package main

import (
	"regexp"
	"testing"
)

// TestStackCompare reads over every stack on a kernel that answers a misaligned
// read of a mirror otherwise than that of a plain disk, and looks at the table
// that says so.
func TestStackCompare(t *testing.T) {
	h := newHost(t)
	o := h.run("run", "stack-compare", "-k", "debian:6.18")
	if o.status != 1 {
		t.Fatal(o)
	}
	for _, row := range []string{
		`STACK OF stack-compare +6\.18\.`, `plain +EINVAL`, `lvm-linear +EINVAL`, `lvm-mirror +hang,`, `md-raid0 +EINVAL`,
	} {
		if !regexp.MustCompile(`(?m)^` + row).MatchString(o.stdout) {
			t.Errorf("no row %s", row)
		}
	}
	// A read that no disk was asked for would prove nothing.
	if regexp.MustCompile(`(?m)^[a-z0-9-]+ +error`).MatchString(o.stdout) || t.Failed() {
		t.Error(o)
	}
	h.wantRuns(1)
	h.wantNothingLeft()
}
