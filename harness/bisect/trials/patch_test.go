package trials

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/bisect"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// caseResult is what a patch does to a case of which so many of 12 trials
// failed without it and with it.
func caseResult(id string, without, with int) CaseResult {
	outcomes := func(fails int) []bisect.Outcome {
		out := make([]bisect.Outcome, 12)
		for i := range out {
			out[i] = bisect.Outcome{Kind: bisect.KindVerdict, Verdict: "pass", Phase: "done", Step: "pread", Boot: string(rune('a' + i/3))}
			if i < fails {
				out[i].Verdict, out[i].Phase = "eio", "step"
			}
		}
		return out
	}
	return CaseResult{"lvm-mirror-dio-read", id, bisect.Compare(outcomes(without), outcomes(with), .99)}
}

// Given what a patch does to each case, then the text says what is bad first,
// and has a Tested-by only when nothing is.
func TestPatchText(t *testing.T) {
	appeared := caseResult("length=512", 12, 0)
	appeared.Appeared = []bisect.Signature{{Verdict: "warn", Phase: "step", Step: "pread"}}
	unbooted := caseResult("length=512", 12, 0)
	unbooted.Patched.BootFailures = 1
	for _, tc := range []struct {
		name     string
		cases    []CaseResult
		sentence string
		why      string // there is no Tested-by; "": there is
	}{
		{"tested-by", []CaseResult{caseResult("length=512", 12, 0)}, "helps", ""},
		{"two helped", []CaseResult{caseResult("length=512", 12, 0), caseResult("length=4096", 12, 0)}, "helps 2 of 2 cases", ""},
		{"one helped, one passes", []CaseResult{caseResult("length=512", 0, 0), caseResult("length=4096", 12, 0)}, "helps 1 of 2 cases", ""},
		{"partly", []CaseResult{caseResult("length=512", 12, 0), caseResult("length=4096", 12, 12), caseResult("length=8192", 0, 0)}, "helps 1 of 3 cases; 1 still fails with it", "the scenario still fails with the patch (length=4096)"},
		{"harms", []CaseResult{caseResult("length=512", 12, 0), caseResult("length=4096", 12, 12), caseResult("length=8192", 0, 12)}, "harms 1 of 3 cases, helps 1 of 3 cases; 1 still fails with it", "the patch harms (length=8192)"},
		{"less often", []CaseResult{caseResult("", 12, 2)}, "helps; it still fails with it", "the scenario still fails with the patch"},
		{"still fails", []CaseResult{caseResult("length=512", 12, 12)}, "changes nothing; it still fails with it", "the scenario still fails with the patch"},
		{"two still fail", []CaseResult{caseResult("a", 12, 12), caseResult("b", 12, 12)}, "changes nothing; 2 still fail with it", "the scenario still fails with the patch (a)"},
		{"nothing fails", []CaseResult{caseResult("length=512", 0, 0)}, "changes nothing", "nothing failed without the patch"},
		{"another failure", []CaseResult{appeared}, "helps", "with the patch another failure shows"},
		{"a boot that failed", []CaseResult{unbooted}, "helps", "not every trial with the patch had a verdict"},
		{"not clear", []CaseResult{caseResult("a", 3, 0), caseResult("b", 12, 0)}, "may help or not (not clear after so many trials) in 1 of 2 cases, helps 1 of 2 cases", "it is not clear what the patch does (a)"},
	} {
		a := PatchAnswer{Effect: overall(tc.cases), Cases: tc.cases}
		if got := a.Sentence(); got != tc.sentence {
			t.Errorf("%s: the patch %q, want %q", tc.name, got, tc.sentence)
		}
		text := a.Text("A Tester <tester@example.org>", bisect.Context{
			Release: "6.18.0, 7eac33186957", Machine: "QEMU 7.2.22, q35, TCG, 1 CPU",
			Command: folded("blockrig try-patch", [][]string{{"--repo", "linux"}, {"--base", "7eac331869571234567890123456789012345678"}, nil, {"--set", "length=512"}, {"it's.patch", "lvm-mirror-dio-read"}}),
		})
		if why := "\nNo Tested-by: " + tc.why + ".\n"; strings.Contains(text, "\nTested-by: A Tester <tester@example.org>\n") != (tc.why == "") || strings.Contains(text, why) != (tc.why != "") {
			t.Errorf("%s, want no Tested-by for %q:\n%s", tc.name, tc.why, text)
		}
		switch tc.name {
		case "tested-by", "partly", "harms":
			golden(t, "patch-"+tc.name+".txt", text)
		}
	}
}
