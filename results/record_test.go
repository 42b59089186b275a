package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

var update = flag.Bool("update", false, "rewrite golden files")

// three are records as a story has them.
func three() []Record {
	pass := Record{
		Scenario: "lvm-mirror-dio-read", Case: "length=4096,memory_offset=32",
		Kernel:  Kernel{Ref: "debian:1.0", Release: "1.0.1-amd64"},
		Verdict: scenarios.Pass, Signature: verdict.Signature{Phase: "done", Step: "pread", Verdict: scenarios.Pass}, Phase: "done", Errno: "EINVAL", Outcome: "EINVAL",
		Legs:  []scenarios.Leg{{Name: "253:1", Disk: "a", Health: "A", OK: true}},
		Accel: "tcg", CPUs: 1, BootID: "b-1", BootMS: 5600, TrialMS: 7912,
		Attempts: []Attempt{{Verdict: scenarios.Pass, Reason: "EINVAL", MS: 7912}},
		Reason:   "EINVAL", Started: time.Date(2026, 6, 14, 18, 8, 32, 0, time.UTC),
	}
	hang := pass
	hang.Kernel = Kernel{Ref: "debian:2.0", Release: "2.0.15-amd64"}
	hang.Verdict, hang.Also = scenarios.Hang, []scenarios.Verdict{scenarios.Bug, scenarios.Degraded}
	hang.Signature = verdict.Signature{Phase: "step", Step: "pread", Verdict: scenarios.Hang, Titles: []string{"BUG in bio_add_page"}}
	hang.Phase, hang.Errno, hang.Outcome, hang.Reason = "step", "", "no answer", "pread can't be killed"
	hang.Findings = []Finding{{console.KindBug, "BUG in bio_add_page", "block/bio.c:1044", 812}, {console.KindIO, "I/O error", "", 900}}
	hang.TrialMS = 11050
	hang.FirstFailed = &trial.Traced{Verdict: scenarios.Hang, Same: true, MS: 11900, Trace: scenarios.Trace{Asked: 2, Failed: []scenarios.Answer{
		{Layer: "a", Device: "sda", Op: "read", Errno: "EINVAL", Sector: 18824}, {Layer: "main", Device: "main-lvol0", Op: "read", Errno: "EIO", Sector: 16776, US: 3829},
	}}}
	bad := pass
	bad.Kernel = Kernel{Ref: "debian:3.0", Release: ""}
	bad.Verdict, bad.Phase, bad.Signature = scenarios.Error, "boot", verdict.Signature{Phase: "boot", Step: "pread", Verdict: scenarios.Error}
	bad.Errno, bad.Outcome, bad.Legs, bad.Reason = "", "", nil, "the kernel did not come up"
	bad.Attempts = []Attempt{{Verdict: scenarios.Error, Reason: "no output", MS: 100}, {Verdict: scenarios.Error, Reason: "no output", MS: 120}, {Verdict: scenarios.Error, Reason: "the kernel did not come up", MS: 110}}
	bad.TrialMS = 110
	return []Record{pass, hang, bad}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
	}
}

func TestRecordHasTheKeysOfTheContract(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, Record{}); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := strings.Fields("scenario case kernel verdict also signature phase errno bytes legs findings accel cpus warm boot_id boot_ms trial_ms attempts run_dir")
	for _, key := range want {
		if _, ok := got[key]; !ok {
			t.Errorf("the key %s is missing", key)
		}
	}
	for key, value := range got {
		if value == nil {
			t.Errorf("%s is null, want an empty list", key)
		}
		if !slices.Contains(append(want, "titles", "reason", "outcome", "started", "task", "guest_ms"), key) {
			t.Errorf("the key %s is not in the contract", key)
		}
	}
}

// Given a title with the "; " in it that joins titles in a signature's text,
// when its record is read again, then it is one title. A record without the
// list of titles has those of its findings.
func TestATitleIsReadWhole(t *testing.T) {
	r := three()[1]
	title := "INFO: task a; b blocked for more than 120 seconds"
	r.Signature.Titles = []string{title}
	r.Findings = []Finding{{Title: title}}
	line, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	old := bytes.Replace(line, []byte(`"titles"`), []byte(`"unknown"`), 1)
	for _, line := range [][]byte{line, old} {
		got, err := decode(line)
		if err != nil || !slices.Equal(got.Signature.Titles, r.Signature.Titles) {
			t.Errorf("%s: read as %q, %v", line, got.Signature.Titles, err)
		}
	}
}

// Given kernels of one release in a table, then each row says which it is.
func TestKernelsOfOneReleaseAreToldApart(t *testing.T) {
	hash := strings.Repeat("0123456789", 4)
	kernels := map[Kernel]string{
		{Ref: "git:/src/linux@v7.3.4", Release: "7.3.4"}:                 "7.3.4 v7.3.4",
		{Ref: "git:/src/linux@" + hash, Release: "7.3.4"}:                "7.3.4 012345678901",
		{Ref: "git:/src/linux@" + hash + " without x", Release: "7.3.4"}: "7.3.4 012345678901 without x",
		{Ref: "file:/boot/a", Release: "6.1"}:                            "6.1 file:/boot/a",
		{Ref: "file:/boot/b", Release: "6.1"}:                            "6.1 file:/boot/b",
		{Ref: "git:/a@HEAD", Release: "6.2"}:                             "6.2 git:/a@HEAD",
		{Ref: "git:/b@HEAD", Release: "6.2"}:                             "6.2 git:/b@HEAD",
		{Ref: "git:/a@old", Release: "6.3"}:                              "6.3",
		{Ref: "debian:6.9", Release: ""}:                                 "debian:6.9",
		{Ref: "debian:6.8", Release: ""}:                                 "debian:6.8",
	}
	var records []Record
	for k := range kernels {
		records = append(records, Record{Scenario: "s", Kernel: k, Verdict: scenarios.Pass}, Record{Scenario: "s", Kernel: k, Verdict: scenarios.Hang})
	}
	name := kernelNames(records, func(r Record) Kernel { return r.Kernel })
	for k, want := range kernels {
		if got := name(k); got != want {
			t.Errorf("%+v is %q, want %q", k, got, want)
		}
	}
	var table, sums bytes.Buffer
	if err := errors.Join(Table(&table, records, Style{}), SummaryTable(&sums, Summarize(records, Trust{.1, .95}), Trust{.1, .95}, Style{})); err != nil {
		t.Fatal(err)
	}
	for _, want := range kernels {
		if strings.Count(table.String(), want+" ") < 2 || !strings.Contains(sums.String(), want+" ") || !strings.Contains(sums.String(), "\n"+want+":\n") {
			t.Errorf("%q is not in\n%s\n%s", want, table.String(), sums.String())
		}
	}
}

func TestJSONLines(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, three()...); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/three.jsonl", b.String())
	for i, line := range bytes.Split(bytes.TrimSuffix(b.Bytes(), []byte("\n")), []byte("\n")) {
		got, err := decode(line)
		if err != nil {
			t.Fatal(err)
		}
		want := three()[i]
		want.Also, want.Legs = OrEmpty(want.Also), OrEmpty(want.Legs)
		want.Findings, want.Attempts = OrEmpty(want.Findings), OrEmpty(want.Attempts)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("record %d read again (-want +got):\n%s", i, diff)
		}
	}
}

func TestTableFitsTheTerminal(t *testing.T) {
	records := three()
	records[1].Findings[0].Title = "BUG: unable to handle kernel paging request\tin bio_add_page"
	for _, tc := range []struct {
		width int
		want  string
	}{
		{0, `  BUG: unable to handle kernel paging request\tin bio_add_page     11.1`},
		{200, `  BUG: unable to handle kernel paging request\tin bio_add_page     11.1`},
		{110, "  BUG: unable to handle …     11.1"},
		{40, "  BUG: unable to …     11.1"},
	} {
		var b bytes.Buffer
		if err := Table(&b, records, Style{Width: tc.width}); err != nil {
			t.Fatal(err)
		}
		line := strings.Split(b.String(), "\n")[2]
		if !strings.HasSuffix(line, tc.want) || tc.width == 110 && len([]rune(line)) != 110 {
			t.Errorf("width %d: %q (%d), want %q", tc.width, line, len([]rune(line)), tc.want)
		}
	}
}

func TestTable(t *testing.T) {
	records := three()
	var b bytes.Buffer
	if err := Table(&b, records, Style{}); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n")
	if err := Table(&b, records, Style{Color: true}); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n")
	records[2].Scenario, records[2].Case = "plain-dio-read", ""
	if err := Table(&b, records, Style{}); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n")
	if err := Table(&b, nil, Style{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/table.golden", b.String())
}

// Given a guest that puts control codes into everything it can, then neither
// the table nor the JSON hands any to the terminal.
func TestNothingOfTheGuestReachesTheTerminal(t *testing.T) {
	const evil = "\x1b]0;owned\x07\r\n\x7f\u009b31m\u202e\xff\U000e0041é"
	r := three()[1]
	r.Kernel.Release, r.Errno, r.Outcome, r.Reason, r.BootID = evil, evil, evil, evil, evil
	r.Signature.Titles = []string{evil}
	r.Findings = []Finding{{console.Kind(evil), evil, evil, 1}}
	r.Legs = []scenarios.Leg{{Name: evil, Health: evil}}
	r.FirstFailed = &trial.Traced{Trace: scenarios.Trace{
		Failed: []scenarios.Answer{{Layer: evil, Device: evil, Errno: evil, Op: evil}}, Unseen: []string{evil},
	}}

	var table, lines bytes.Buffer
	if err := Table(&table, []Record{r}, Style{}); err != nil {
		t.Fatal(err)
	}
	if err := WriteJSON(&lines, r); err != nil {
		t.Fatal(err)
	}
	for name, out := range map[string]string{"table": table.String(), "json": lines.String()} {
		if n := strings.Count(out, "\n"); name == "json" && n != 1 || name == "table" && n != 4 {
			t.Errorf("%s: %d lines in %q", name, n, out)
		}
		for _, c := range out {
			if c != '\n' && !text.Printable(c) {
				t.Errorf("%s holds %U: %q", name, c, out)
			}
		}
		if !strings.Contains(out, "é") {
			t.Errorf("%s: é, which does no harm, is gone: %q", name, out)
		}
	}
	var again Record
	if err := json.Unmarshal(lines.Bytes(), &again); err != nil {
		t.Fatal(err)
	}
	if want := strings.ToValidUTF8(evil, "\ufffd"); again.Outcome != want {
		t.Errorf("read again: %q, want %q", again.Outcome, want)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("no space left on device")

func TestAWriterThatFailsIsReported(t *testing.T) {
	if err := Table(fullDisk{}, three(), Style{}); !errors.Is(err, errFull) {
		t.Errorf("Table: %v", err)
	}
	if err := WriteJSON(fullDisk{}, three()...); !errors.Is(err, errFull) {
		t.Errorf("WriteJSON: %v", err)
	}
}

func TestFindingsLeaveOutTheBoot(t *testing.T) {
	got := Findings([]console.Finding{
		{Kind: console.KindWarn, Title: "WARNING in early_init", Line: 3, Baseline: true},
		{Kind: console.KindBug, Title: "BUG in bio_add_page", Place: "block/bio.c:1044", Line: 812, Count: 2},
	})
	want := []Finding{{console.KindBug, "BUG in bio_add_page", "block/bio.c:1044", 812}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := Findings(nil); got == nil {
		t.Error("no findings: got nil, want an empty list")
	}
}

func TestExitStatus(t *testing.T) {
	for _, tc := range []struct {
		verdicts string
		want     int
	}{
		{"pass", ExitOK},
		{"pass pass", ExitOK},
		{"clean", ExitOK},
		{"pass hang", ExitFailure},
		{"degraded", ExitFailure},
		{"errno error", ExitFailure},
		{"error bug pass", ExitFailure},
		{"pass error", ExitError},
		{"error pass", ExitError},
		{"nonsense", ExitError},
		{"", ExitError},
	} {
		var verdicts []scenarios.Verdict
		var records []Record
		for _, v := range strings.Fields(tc.verdicts) {
			verdicts = append(verdicts, scenarios.Verdict(v))
			records = append(records, Record{Verdict: scenarios.Verdict(v)})
		}
		if got := ExitStatus(verdicts...); got != tc.want {
			t.Errorf("%q: got %d, want %d", tc.verdicts, got, tc.want)
		}
		if got := ExitStatusOf(records); got != tc.want {
			t.Errorf("records %q: got %d, want %d", tc.verdicts, got, tc.want)
		}
	}
}

func TestSummarize(t *testing.T) {
	rec := func(boot string, v scenarios.Verdict, errno string, titles ...string) Record {
		r := Record{Scenario: "s", Case: "c", Kernel: Kernel{Ref: "debian:1", Release: "1.0"}, BootID: boot, Verdict: v, Errno: errno, Phase: "step"}
		r.Signature = verdict.Signature{Phase: "step", Step: "pread", Verdict: v, Titles: titles}
		for _, title := range titles {
			r.Findings = append(r.Findings, Finding{Title: title})
		}
		return r
	}
	trust := Trust{Rate: .1, Confidence: .95}

	t.Run("a flaky case", func(t *testing.T) {
		got := Summarize([]Record{
			rec("a", scenarios.Hang, "", "WARNING in x", "WARNING in x"), rec("a", scenarios.Hang, "", "BUG in y"), rec("a", scenarios.Hang, ""), rec("a", scenarios.Pass, ""),
			rec("b", scenarios.Pass, ""), rec("b", scenarios.Pass, ""), rec("b", scenarios.Hang, "", "BUG in y"), rec("b", scenarios.Pass, ""),
			rec("", scenarios.Error, ""),
		}, trust)
		if len(got) != 1 {
			t.Fatalf("%d summaries, want 1", len(got))
		}
		s := got[0]
		if !s.Flaky || s.Failures != 4 || s.Trials != 8 || s.Boots != 2 || s.Rate != .5 {
			t.Errorf("got %+v", s)
		}
		if diff := cmp.Diff(map[scenarios.Verdict]int{"hang": 4, "pass": 4, "error": 1}, s.Verdicts); diff != "" {
			t.Errorf("verdicts (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]int{"WARNING in x": 1, "BUG in y": 2}, s.Titles); diff != "" {
			t.Errorf("titles (-want +got):\n%s", diff)
		}
		if s.Between == nil || math.Abs(*s.Between-.2) > 1e-9 {
			t.Errorf("between boots: %v, want 0.2", s.Between)
		}
	})
	t.Run("drifting titles of one bug are not flaky", func(t *testing.T) {
		got := Summarize([]Record{rec("a", scenarios.Hang, "", "WARNING in x"), rec("b", scenarios.Hang, "", "BUG in y")}, trust)
		if got[0].Flaky {
			t.Errorf("got %+v", got[0])
		}
	})
	t.Run("two ways to fail are", func(t *testing.T) {
		got := Summarize([]Record{rec("a", scenarios.Hang, ""), rec("b", scenarios.EIO, "EIO")}, trust)
		if !got[0].Flaky || got[0].Rate != 1 {
			t.Errorf("got %+v", got[0])
		}
	})
	t.Run("two ways to pass are", func(t *testing.T) {
		got := Summarize([]Record{rec("a", scenarios.Pass, ""), rec("b", scenarios.Pass, "EINVAL")}, trust)
		if !got[0].Flaky || got[0].Rate != 0 {
			t.Errorf("got %+v", got[0])
		}
	})
	t.Run("passes of cold boots", func(t *testing.T) {
		var records []Record
		for range 10 {
			records = append(records, rec("", scenarios.Pass, ""))
		}
		s := Summarize(records, trust)[0]
		if s.Boots != 10 || s.Interval != stats.Wilson(0, 10) || s.Between != nil || s.RunsToTrust != 29 {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("passes of one boot", func(t *testing.T) {
		var records []Record
		for range 10 {
			records = append(records, rec("a", scenarios.Pass, ""))
		}
		s := Summarize(records, trust)[0]
		if s.Boots != 1 || s.Interval != stats.Wilson(0, 1) || s.BootsToTrust != 29 || s.RunsToTrust != 290 {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("only errors", func(t *testing.T) {
		s := Summarize([]Record{rec("", scenarios.Error, "")}, trust)[0]
		if s.Trials != 0 || s.Interval != (stats.Interval{Low: 0, High: 1}) || s.Flaky {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("cases and kernels apart, in order", func(t *testing.T) {
		other := rec("a", scenarios.Pass, "")
		other.Kernel.Release = "2.0"
		got := Summarize([]Record{other, rec("a", scenarios.Pass, ""), other}, trust)
		if len(got) != 2 || got[0].Kernel.Release != "2.0" || got[0].Trials != 2 || got[1].Trials != 1 {
			t.Errorf("got %+v", got)
		}
	})
}
