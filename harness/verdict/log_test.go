package verdict

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// saved is a log as a trial leaves it: what the console said, and the
// trailer, which names its log as those of older versions did not.
func saved(t *testing.T, text string, r Report) string {
	t.Helper()
	var sum protocol.LogSum
	_, _ = sum.Write([]byte(text))
	line, err := Trailer(r, sum.Sum())
	if err != nil {
		t.Fatal(err)
	}
	return text + line
}

// older is the trailer of a version that did not name its log.
func older(t *testing.T, r Report) string {
	t.Helper()
	line, err := Trailer(r, "")
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// judged is what classify says of a text.
func judged(t *testing.T, text string) (Judgement, error) {
	t.Helper()
	var sum protocol.LogSum
	log, err := console.ReadAll(strings.NewReader(text), &sum)
	if err != nil && len(log.Marks) == 0 {
		t.Fatal(err)
	}
	sum.Close()
	return JudgeLog(Log{Findings: log.Findings, Marks: log.Marks, KernelLines: log.KernelLines, Trailers: sum.Trailers()})
}

const (
	bootText = "[    0.000000] Linux version 6.18.15 (debian)\r\n" +
		"[    1.000000] blockrig: guest: hello from PID 1 on Linux 6.18.15\r\n" +
		"[    2.000000] blockrig: guest: ready\r\n" +
		"[    3.000000] blockrig: guest: phase step\r\n"
	passText = bootText + "[    3.100000] blockrig: guest: pread returned 4096\r\n[    3.200000] blockrig: guest: end of trial 7\r\n"
	hangText = bootText + "[    5.000000] blockrig: guest: pread: pid 52 is not reaped 2000 ms after SIGKILL, state D, wchan 0\r\n"
	warnText = "[    3.050000] WARNING: CPU: 0 PID: 52 at block/bio.c:1044 bio_add_page+0x18b/0x250\r\n"
)

var (
	passed = done(nil)
	hung   = Report{
		Phase: "step", Step: "pread", Asked: 4096, Expect: []string{"data"},
		Observation: scenarios.Observation{Killed: "a flood of I/O errors"}, Stuck: &Stuck{What: "pread", State: "D", Where: "__iomap_dio_rw", MS: 2000},
	}
)

// Given a log without the host's report, then it shows what the guest could tell
// by itself, and a clean one is said to lack what only the host knows.
func TestWhatTheGuestTellsByItself(t *testing.T) {
	shows := "[    3.150000] blockrig: guest: shows %s\r\n"
	for _, tt := range []struct {
		text    string
		verdict scenarios.Verdict
		reason  string
	}{
		{passText, scenarios.Clean, "nothing found; whether the steps ended as they should is not in it"},
		{"[    0.000000] Linux version 6.18.15 (debian)\r\n", scenarios.Clean, "nothing found"},
		{bootText + fmt.Sprintf(shows, "corrupt: pread: byte 0 of the data is wrong: stale"), scenarios.Corrupt, "pread: byte 0 of the data is wrong: stale"},
		{bootText + warnText + fmt.Sprintf(shows, "hang: pread: it can't be killed"), scenarios.Hang, "pread: it can't be killed"},
		{bootText + fmt.Sprintf(shows, "pass: all is well"), scenarios.Clean, "nothing found"},
		{saved(t, bootText+fmt.Sprintf(shows, "corrupt: the host knows better"), passed), scenarios.Pass, "4096 bytes"},
	} {
		j, err := judged(t, tt.text)
		if err != nil || j.Verdict != tt.verdict || j.Reason != tt.reason {
			t.Errorf("%q: %s, %q, %v; want %s, %q", tt.text, j.Verdict, j.Reason, err, tt.verdict, tt.reason)
		}
	}
}

// The saved log alone gives the trial's verdict, whatever it was.
func TestTrailerCarriesTheVerdict(t *testing.T) {
	for _, tt := range []struct {
		text string
		r    Report
	}{
		{passText, passed},
		{strings.Replace(passText, "4096", "-1 (EIO)", 1), done(func(r *Report) { r.Bytes, r.Errno = 0, "EIO" })},
		{passText, done(func(r *Report) { r.Mismatch = at(7) })},
		{hangText, hung},
		{bootText, Report{Phase: "stack", Setup: "mount: \"quoted\"\nand broken"}},
		{bootText, Report{Phase: "step", Host: "no space left on device"}},
		{"[    0.0] Linux version 6.18.15 (debian)\r\n[    0.1] half a li\n", Report{Phase: "boot", Setup: "no word from it in 120 s"}},
		{"\n", Report{Phase: "infra", Setup: "no space left on device"}},
	} {
		want := Judge(nil, tt.r, PhaseOf(nil))
		got, err := judged(t, saved(t, tt.text, tt.r))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v: judged again (-want +got):\n%s", tt.r, diff)
		}
		if got, err := judged(t, tt.text+older(t, tt.r)); err != nil || got.Verdict != want.Verdict {
			t.Errorf("%+v: of an older version: %s, %v; want %s", tt.r, got.Verdict, err, want.Verdict)
		}
		mailed := strings.ReplaceAll(strings.ReplaceAll(saved(t, tt.text, tt.r), "\r", ""), "\n", "\n\n")
		if got, err := judged(t, mailed); err != nil || got.Verdict != want.Verdict {
			t.Errorf("%+v: with other line ends: %s, %v; want %s", tt.r, got.Verdict, err, want.Verdict)
		}
	}
}

// What was put behind a log from another one does not count.
func TestATrailerBelongsToItsLog(t *testing.T) {
	trailerOf := func(log string) string { return log[strings.LastIndex(log, "blockrig: host: "):] }
	pass, hang := saved(t, passText, passed), saved(t, hangText, hung)
	infra := saved(t, "\n", Report{Phase: "infra", Setup: "no space left on device"})
	dmesg := "[    0.000000] Linux version 6.18.15 (debian)\n[   60.000000] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [x:1]\n"
	for _, tt := range []struct {
		name, text string
		want       scenarios.Verdict
	}{
		{"a hang", hang, scenarios.Hang},
		{"a hang with a pass behind it", hang + trailerOf(pass), scenarios.Hang},
		{"a hang with an older pass behind it", hang + older(t, passed), scenarios.Hang},
		{"a hang with a pass before it", trailerOf(pass) + hang, scenarios.Hang},
		{"a hang with its trailer twice", hang + trailerOf(hang), scenarios.Hang},
		{"a hang with two of them", hang + trailerOf(pass) + trailerOf(infra), scenarios.Hang},
		{"an older hang with a pass behind it", hangText + older(t, hung) + trailerOf(pass), scenarios.Hang},
		{"an older hang with an older pass behind it", hangText + older(t, hung) + older(t, passed), scenarios.Hang},
		{"a pass with a hang behind it", pass + trailerOf(hang), scenarios.Pass},
		{"an older pass with an older hang behind it", passText + older(t, passed) + older(t, hung), scenarios.Pass},
		{"a kernel log with a pass behind it", dmesg + trailerOf(pass), scenarios.Hang},
		{"a kernel log with an older pass behind it", dmesg + older(t, passed), scenarios.Hang},
		{"a kernel log with an older error behind it", dmesg + older(t, Report{Phase: "infra", Setup: "x"}), scenarios.Hang},
		{"a log without a trailer, with another's", hangText + warnText + trailerOf(pass), scenarios.Warn},
		{"a pass with more of a kernel behind it", pass + warnText, scenarios.Warn},
		{"two logs, one behind the other", pass + warnText + hang, scenarios.Warn},
		{"a trailer in the midst", bootText + trailerOf(pass) + warnText, scenarios.Warn},
		{"a trailer of the guest's", bootText + "[    3.1] " + trailerOf(pass) + warnText, scenarios.Warn},
	} {
		if got, err := judged(t, tt.text); err != nil || got.Verdict != tt.want {
			t.Errorf("%s: %s (%s), %v; want %s", tt.name, got.Verdict, got.Reason, err, tt.want)
		}
	}
}

func TestATrailerThatIsCutOffIsAnError(t *testing.T) {
	if got, err := judged(t, bootText+"blockrig: host: {\n"); err == nil {
		t.Errorf("judged as %s", got.Verdict)
	}
}

func TestJudgeLogWithoutReport(t *testing.T) {
	for _, tt := range []struct {
		name string
		log  Log
		want scenarios.Verdict
	}{
		{"nothing found", Log{KernelLines: 3}, scenarios.Clean},
		{"I/O errors", Log{KernelLines: 3, Findings: []console.Finding{ioError}}, scenarios.EIO},
		{"a warning, then I/O errors", Log{KernelLines: 3, Findings: []console.Finding{warning, ioError}}, scenarios.Warn},
		{"no root", Log{KernelLines: 3, Findings: []console.Finding{{Kind: console.KindBoot, Title: "unable to mount root fs"}}}, scenarios.Error},
	} {
		got, err := JudgeLog(tt.log)
		if err != nil || got.Verdict != tt.want {
			t.Errorf("%s: got %s, %v; want %s", tt.name, got.Verdict, err, tt.want)
		}
	}
	if _, err := JudgeLog(Log{}); err != ErrNoKernel {
		t.Errorf("an empty log: got %v, want ErrNoKernel", err)
	}
}
