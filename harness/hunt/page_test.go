package hunt

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// pageSample is a hunt with findings of which some hold markup.
func pageSample() *State {
	s := NewState(Request{Kernel: "debian:6.18", Stacks: []string{"lvm-mirror", "md-raid1"}, Seed: 7, PowerCut: true})
	s.Release, s.Next, s.Pairs, s.SpentMS, s.SweptMS, s.RanMS, s.Machines = "6.18.15+deb13-amd64", 359, 359, 600_000, 500_000, 300_000, 12
	s.Twisted["power cut"] = 31
	s.Tallies = map[string]*Tally{
		Plain:        {Programs: 359, Singles: 12_500, Same: 359},
		"lvm-mirror": {Programs: 301, Singles: 10_200, Same: 280, Limits: 18, Wrong: 3, Skipped: 58},
		"md-raid1":   {Programs: 359, Singles: 12_400, Same: 350, Limits: 9},
	}
	read := Program{{Op: "pread", Direct: true, Length: 8192, MemoryOffset: 32}}
	s.Findings = []Finding{
		{
			ID: "hunt-1-lvm-mirror-read-hangs", Class: Hangs, Stack: "lvm-mirror", Hunted: "crypt+lvm-mirror", Program: read, Says: read.String(), Number: 12,
			Kernel: "debian:6.18", Release: s.Release, Verdict: scenarios.Hang, Reason: "the task can't be killed, in __iomap_dio_rw", Plain: "pass, EINVAL", Since: "new since debian:6.17",
			First: "lvm (dm-1) answered first", Titles: []string{"WARN: scsi_alloc_sgtables", `<script>alert(1)</script>`}, SpentMS: 61_000, Trials: 9, Cold: true,
			Scenario: "name: hunt-1\nabout: |\n  </pre><script>alert(2)</script>\n",
		},
		{
			ID: "hunt-2-md-raid1-write-loses-data", Class: LosesData, Stack: "md-raid1", Hunted: "md-raid1", Program: read, Says: "pwrite direct 512@0", Twist: &Twist{At: 1, Cut: &scenarios.PowerCut{At: "any", Seed: 4}},
			Outcome: "stale", Reason: "data are wrong", Plain: "pass, data", Scenario: "name: hunt-2\n",
		},
	}
	s.Groups = []Group{{Stacks: s.Request.Stacks, Next: 359}}
	s.LeftOut = []LeftOut{{Stack: "dm-dust", Why: "no <b>CONFIG_DM_DUST</b>"}}
	s.Earlier = []Finding{{Stack: "lvm-raid1", Class: BlamesDisk, Says: "pread direct 512@0", Now: Fixed}}
	s.Doubtful = []Suspect{{Stack: "plain", Program: read, Seen: []string{`<img src=x onerror="alert(3)">`}}}
	return s
}

// A page shows all findings, the worst first, and nothing of what it holds is
// markup.
func TestThePageOfAHunt(t *testing.T) {
	var b bytes.Buffer
	known := []Known{{Name: "a-bug", About: "it is <b>known</b>", Stacks: []string{"md-*"}, Kernels: []string{"6.18.*"}}}
	if err := pageSample().HTML(&b, "20261126T000000.000Z-aaaa", known); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	for _, want := range []string{"loses data", "new since debian:6.17", "a-bug does not show any more", "31 with a power cut", "dm-dust: no &lt;b&gt;CONFIG_DM_DUST", "fixed: lvm-raid1 blames a disk", "&lt;script&gt;alert(2)", "default-src &#39;none&#39;"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Index(got, "hunt-2-") > strings.Index(got, "hunt-1-") {
		t.Error("lost data do not come first")
	}
	for _, not := range []string{"<script", "<img", "<b>", "http://", "https://"} {
		if strings.Contains(got, not) {
			t.Errorf("the page has %q", not)
		}
	}
	if dir := os.Getenv("BLOCKRIG_TEST_PAGE"); dir != "" { // to be looked at
		if err := os.WriteFile(dir, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// An empty hunt has a page, too.
func TestThePageOfAHuntThatFoundNothing(t *testing.T) {
	var b bytes.Buffer
	if err := NewState(Request{Kernel: "debian:newest"}).HTML(&b, "x", nil); err != nil || !strings.Contains(b.String(), "Nothing was found.") {
		t.Errorf("%v\n%s", err, b.String())
	}
}
