package results

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

// repeats are trials of four cases, over several boots.
func repeats() []Record {
	var out []Record
	add := func(c, release, boot string, v scenarios.Verdict, signature, outcome, dir string, titles ...string) {
		s, err := verdict.ParseSignature(signature)
		if err != nil {
			panic(err)
		}
		if _, titles, ok := strings.Cut(signature, ": "); ok {
			s.Titles = strings.Split(titles, "; ")
		}
		r := Record{Scenario: "lvm-mirror-dio-read", Case: c, Kernel: Kernel{Ref: "debian:2", Release: release}, BootID: boot, Verdict: v, Signature: s, Outcome: outcome, RunDir: dir}
		for _, t := range titles {
			r.Findings = append(r.Findings, Finding{Title: t})
		}
		out = append(out, r)
	}
	defer func() { out[len(out)-1].Reason = "the kernel did not come up" }()
	for i := range 20 {
		boot := fmt.Sprint("b-", i%5)
		dir := ""
		if i == 0 {
			dir = "/runs/x/0001-first"
		}
		add("length=512", "2.0.15", boot, scenarios.Pass, "done/pread/pass", "512 bytes", dir)
		switch {
		case i%5 == 2:
			add("length=4096", "2.0.15", boot, scenarios.Pass, "done/pread/pass", "4096 bytes", "")
		case i < 10:
			add("length=4096", "2.0.15", boot, scenarios.Hang, "step/pread/hang: BUG in x; Mirror read failed", "no answer", dir, "BUG in x", "Mirror read failed", "BUG in x")
		default:
			add("length=4096", "2.0.15", boot, scenarios.Hang, "step/pread/hang: \x1b[31mMirror read failed", "no answer", "", "\x1b[31mMirror read failed")
		}
		add("length=8192", "2.0.15", "", scenarios.EIO, "step/pread/eio", "EIO", "")
	}
	add("length=8192", "", "", scenarios.Error, "boot/pread/error", "", "")
	return out
}

func TestSummaryTable(t *testing.T) {
	trust := Trust{Rate: .1, Confidence: .95}
	all := Summarize(repeats(), trust)
	var b bytes.Buffer
	if err := SummaryTable(&b, all, trust, Style{}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Error("control codes")
	}
	b.WriteString("\n")
	all[1].Scenario = "other"
	if err := SummaryTable(&b, all[1:3], trust, Style{Color: true}); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n")
	if err := SummaryTable(&b, nil, trust, Style{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/summary.golden", b.String())
}

func TestPercent(t *testing.T) {
	for rate, want := range map[float64]string{0: "0%", 1: "100%", .5: "50%", .0349: "3%", .004: "0.4%", .00012: "0.012%", .996: "99.6%", .99999: "99.9%"} {
		if got := Percent(rate); got != want {
			t.Errorf("%g: %s, want %s", rate, got, want)
		}
	}
}

func TestSummariesAsJSON(t *testing.T) {
	var b bytes.Buffer
	if err := WriteSummaries(&b, Summarize(repeats(), Trust{.1, .95})...); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n != 4 || strings.Contains(b.String(), "null,\"") && !strings.Contains(b.String(), `"between_boots":null`) {
		t.Errorf("%d lines:\n%s", n, b.String())
	}
	if strings.ContainsAny(b.String(), "\x1b\x7f") {
		t.Error("control codes")
	}
}
