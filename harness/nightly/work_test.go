package nightly

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// from gives a world's fails: everything fails so from a release on, until
// another.
func from(first, until string, v scenarios.Verdict) func(string, string, string, int) scenarios.Verdict {
	return func(release, _, _ string, _ int) scenarios.Verdict {
		if release >= first && (until == "" || release < until) {
			return v
		}
		return scenarios.Pass
	}
}

// Given a kernel that breaks what the one before it did, then it is new once,
// confirmed and bisected, silent while it lasts, and fixed once.
func TestFailureIsReportedOnce(t *testing.T) {
	w := newWorld(t, "6.17.13")
	w.fails = from("6.18", "6.19", scenarios.EIO)
	k := w.worker(newestOfPlain)
	if n := w.night(k); kindsOf(n) != "" || n.Status() != results.ExitOK || !strings.Contains(textOf(t, n), "nothing new") {
		t.Errorf("the first night: %s", textOf(t, n))
	}
	w.release("6.18.15")
	n := w.night(k)
	if kindsOf(n) != "new" || n.Status() != results.ExitFailure {
		t.Fatalf("the second night: %s", textOf(t, n))
	}
	f := n.Findings[0]
	if f.BeforeRelease != "6.17.13-amd64" || f.Confirmed[FreshBoots].Failures != 8 || f.Confirmed[PowerOn].Failures != 8 || f.Change.Up < stats.Confirmed {
		t.Errorf("not confirmed: %+v %+v", f.Confirmed, f.Change)
	}
	if len(w.searches) != 1 || w.searches[0].Good != "debian:6.17.13-1" || w.searches[0].Bad != "debian:6.18.15-1" || !strings.Contains(textOf(t, n), "came with 6.18.1: likely") {
		t.Errorf("not bisected: %+v\n%s", w.searches, textOf(t, n))
	}
	cold, fresh := false, 0
	for _, r := range w.requests {
		cold = cold || r.Cold
		fresh = max(fresh, r.Boots)
	}
	if !cold || fresh != 8 {
		t.Errorf("cold %v, boots %d", cold, fresh)
	}
	for range 2 {
		if n := w.night(k); kindsOf(n) != "still" || n.Status() != results.ExitOK || len(w.searches) != 1 {
			t.Errorf("a later night: %s", textOf(t, n))
		}
	}
	w.goneAndBack(k, "6.19.2", "fixed")
}

// Given a case that fails now and then, when one night has more failures than
// others, then trials are made until it is clear that nothing changed; where
// none has a verdict, the night goes on.
func TestAFlakeIsLookedAtUntilItIsClear(t *testing.T) {
	w := newWorld(t, "6.17.13")
	k := w.worker(newestOfPlain)
	for range 20 {
		w.night(k)
	}
	w.fails = func(_, _, _ string, n int) scenarios.Verdict {
		if n == 0 && len(w.requests) == 21 { // one trial of the night's own
			return scenarios.EIO
		}
		return scenarios.Pass
	}
	n := w.night(k)
	if kindsOf(n) == "new" || len(n.Findings) != 1 {
		t.Fatalf("%s", textOf(t, n))
	}
	f := n.Findings[0]
	if made := f.confirmations(); made < 16 || f.Change.ToConfirm(made) {
		t.Errorf("after %d trials: %+v", made, f.Change)
	}

	w.fails = func(_, _, _ string, n int) scenarios.Verdict {
		if len(w.made) > 0 && w.requests[len(w.requests)-1].Boots == 8 {
			return scenarios.Error
		}
		return scenarios.EIO
	}
	if n := w.night(k); n.Findings[0].confirmations() != 0 {
		t.Errorf("confirmed by trials without a verdict: %s", textOf(t, n))
	}
}

// Given a kernel that is built, when a failure of it is new, then it is built and
// tried in other ways, too.
func TestAFailureOfABuiltKernelIsTriedWithOtherConfigs(t *testing.T) {
	w := newWorld(t)
	k := w.worker(`kernels: [kernel: git:/src/linux@master]
scenarios:
  - {scenario: lvm-mirror-dio-read, cases: ["length=512,memory_offset=32"]}
configs: [[debug], [kasan, debug]]
`)
	for range 3 {
		w.night(k)
	}
	w.fails = func(string, string, string, int) scenarios.Verdict {
		if slices.Contains(w.requests[len(w.requests)-1].Build.Fragments, "kasan") {
			return scenarios.Pass
		}
		return scenarios.EIO
	}
	n := w.night(k)
	if kindsOf(n) != "new" {
		t.Fatalf("%s", textOf(t, n))
	}
	var got []string
	for _, e := range n.Findings[0].Elsewhere {
		got = append(got, fmt.Sprintf("%v %v", e.Config, e.Same))
	}
	if want := []string{"[debug] true", "[kasan debug] false"}; !slices.Equal(got, want) {
		t.Errorf("elsewhere: %q, want %q", got, want)
	}
	if text := textOf(t, n); !strings.Contains(text, " with kasan and debug passes") {
		t.Error(text)
	}
	if n := w.night(k); kindsOf(n) != "still" {
		t.Errorf("trials with other configs count as those of the night: %s", textOf(t, n))
	}
}

// goneAndBack goes on with a failure that a release mends: that is said once,
// and it comes back with 6.20.
func (w *world) goneAndBack(k *Worker, release, gone string) {
	w.t.Helper()
	w.release(release)
	if n := w.night(k); kindsOf(n) != gone || n.Status() != results.ExitOK {
		w.t.Errorf("when it is gone: %s", textOf(w.t, n))
	}
	if n := w.night(k); kindsOf(n) != "" {
		w.t.Errorf("after that: %s", textOf(w.t, n))
	}
	w.release("6.20")
	w.fails = from("6.20", "", scenarios.EIO)
	if n := w.night(k); kindsOf(n) != "back" || n.Status() != results.ExitFailure {
		w.t.Errorf("when it is back: %s", textOf(w.t, n))
	}
}

// Given a failure that is there from the first night on, then it is no news;
// another signature of the same case is.
func TestAnotherFailureIsNew(t *testing.T) {
	w := newWorld(t, "6.17")
	w.fails = from("6.18", "", scenarios.Hang)
	inner := w.fails
	w.fails = func(r, s, id string, n int) scenarios.Verdict {
		if v := inner(r, s, id, n); v.Failure() {
			return v
		}
		return scenarios.EIO
	}
	k := w.worker(newestOfPlain)
	if n := w.night(k); kindsOf(n) != "begins" || n.Status() != results.ExitOK {
		t.Errorf("the first night: %s", textOf(t, n))
	}
	w.release("6.18")
	if n := w.night(k); kindsOf(n) != "new fixed" || !strings.Contains(textOf(t, n), "failed before, in another way") {
		t.Errorf("the second night: %s", textOf(t, n))
	}
}

// Given a known failure, then it is tried and shown as that, expires when it is
// fixed, and is back when it comes again; taken from the list while it is
// there, it is loud.
func TestKnownFailures(t *testing.T) {
	known := newestOfPlain + "known:\n  - {scenario: lvm-mirror-dio-read, signature: step/pread/eio, link: 'https://example.org/1'}\n"
	w := newWorld(t, "6.17", "6.18")
	w.fails = from("6.18", "6.19", scenarios.EIO)
	k := w.worker(known)
	for range 2 {
		if n := w.night(k); kindsOf(n) != "known" || n.Status() != results.ExitOK || !strings.Contains(textOf(t, n), "https://example.org/1") {
			t.Errorf("while it is there: %s", textOf(t, n))
		}
	}
	loud := w.worker(newestOfPlain)
	loud.Root = k.Root
	if n := w.night(loud); kindsOf(n) != "new" || n.Status() != results.ExitFailure || !strings.Contains(textOf(t, n), "no longer among the known") {
		t.Errorf("no longer known: %s", textOf(t, n))
	}

	w = newWorld(t, "6.18")
	w.fails = from("6.18", "6.19", scenarios.EIO)
	k = w.worker(known)
	w.night(k)
	w.goneAndBack(k, "6.19", "expired")
}

// Given one trial in a hundred that fails and has for long, then no night says
// that it is new.
func TestFlakeIsNotNew(t *testing.T) {
	w := newWorld(t, "6.17")
	trials := 0
	w.fails = func(string, string, string, int) scenarios.Verdict {
		if trials++; trials%23 == 5 {
			return scenarios.EIO
		}
		return scenarios.Pass
	}
	k := w.worker(newestOfPlain + "repeat: 10\n")
	for i := range 20 {
		if n := w.night(k); n.Status() != results.ExitOK {
			t.Errorf("night %d: %s", i+1, textOf(t, n))
		}
	}
}

// Given a night that is interrupted at any trial, then the next start does the
// rest, and says the same as one that was not.
func TestInterruptedNightIsResumed(t *testing.T) {
	for _, at := range []int{1, 3, 5, 9, 14, 19} {
		w := newWorld(t, "6.17")
		w.fails = from("6.18", "", scenarios.EIO)
		k := w.worker(newestOfPlain)
		w.night(k)
		w.release("6.18")
		ctx, cancel := context.WithCancel(t.Context())
		done := w.trials
		w.breaks = func(trial int) error {
			if trial == done+at {
				cancel()
				return context.Canceled
			}
			return nil
		}
		n, err := k.Run(ctx)
		if !errors.Is(err, context.Canceled) || n == nil || !n.Finished.IsZero() || n.Status() == results.ExitOK {
			t.Fatalf("interrupted at trial %d: %v", at, err)
		}
		w.breaks = nil
		again := w.night(k)
		if again.Number != 2 || kindsOf(again) != "new" || len(w.searches) != 1 {
			t.Errorf("interrupted at trial %d: %s", at, textOf(t, again))
		}
		if again.Seconds < w.trialFor.Seconds()*20 {
			t.Errorf("interrupted at trial %d: the night took %.0f s, and what was worked before counts", at, again.Seconds)
		}
	}
}

// Given a full disk, then the night ends with what it has, and goes on when
// there is room.
func TestFullDisk(t *testing.T) {
	w := newWorld(t, "6.17")
	k := w.worker(newestOfPlain)
	w.breaks = func(trial int) error {
		if trial == 3 {
			return errFull
		}
		return nil
	}
	n, err := k.Run(t.Context())
	if !errors.Is(err, errFull) || !n.Finished.IsZero() {
		t.Fatalf("got %v", err)
	}
	w.breaks = nil
	if n := w.night(k); n.Number != 1 || n.Status() != results.ExitOK || w.trials != 5 {
		t.Errorf("after that: %d trials, %s", w.trials, textOf(t, n))
	}
}

// Given a mirror that is down, then the kernels of the night before are tried,
// and that is said.
func TestMirrorIsDown(t *testing.T) {
	w := newWorld(t, "6.17")
	k := w.worker("kernels:\n  - packages: sid\n  - series: debian\n  - kernel: debian:newest\nscenarios: [plain-dio-read]\n")
	w.night(k)
	w.down = errDown
	n := w.night(k)
	if len(n.Kernels) != 3 || n.Status() != results.ExitError || !strings.Contains(textOf(t, n), "connection refused; what the last night had is tried again") {
		t.Errorf("%s", textOf(t, n))
	}
	for _, b := range n.Plan {
		if !b.Done {
			t.Errorf("%+v was not tried", b)
		}
	}
	fresh := w.worker(newestOfPlain)
	if n := w.night(fresh); len(n.Kernels) != 0 || n.Status() != results.ExitError {
		t.Errorf("with nothing before: %s", textOf(t, n))
	}
}

// Given a kernel that can't be had, then the others are tried all the same.
func TestKernelThatCantBeHad(t *testing.T) {
	w := newWorld(t, "6.17", "6.18")
	k := w.worker("kernels:\n  - kernel: debian:6.17\n  - kernel: debian:6.18\nscenarios: [plain-dio-read]\n")
	w.breaks = func(trial int) error {
		if trial == 1 {
			return errors.New("debian:6.17-1: checksums differ")
		}
		return nil
	}
	n := w.night(k)
	if n.Status() != results.ExitError || len(n.Trouble) != 1 || len(n.Tallies) == 0 {
		t.Errorf("%s", textOf(t, n))
	}
}

func TestTwoNightsAtOnce(t *testing.T) {
	w := newWorld(t, "6.17")
	k := w.worker(newestOfPlain)
	if err := os.MkdirAll(k.Dir(), 0o777); err != nil {
		t.Fatal(err)
	}
	unlock, err := cachedir.TryLock(filepath.Join(k.Dir(), lockFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Run(t.Context()); !errors.Is(err, ErrUnderWay) {
		t.Errorf("got %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	w.night(k)
}

// Given a clock that is set back by years between two nights, and one that is
// set while a night runs, then the order of the nights and their budget stay.
func TestClockIsSet(t *testing.T) {
	w := newWorld(t, "6.17")
	w.fails = from("6.18", "", scenarios.EIO)
	k := w.worker(newestOfPlain)
	w.night(k)
	w.now = w.now.AddDate(-20, 0, 0)
	w.release("6.18")
	w.breaks = func(trial int) error {
		if trial == 7 {
			w.now = w.now.AddDate(30, 0, 0)
		}
		return nil
	}
	if n := w.night(k); n.Number != 2 || kindsOf(n) != "new" || n.Seconds > 60 {
		t.Errorf("%s", textOf(t, n))
	}
	w.now = time.Unix(0, 0)
	if n := w.night(k); n.Number != 3 || kindsOf(n) != "still" {
		t.Errorf("%s", textOf(t, n))
	}
}

// Given trials that take so long that the budget is over, then what is left is
// left out, said, and tried first the next night.
func TestBudget(t *testing.T) {
	w := newWorld(t, "6.17")
	w.trialFor = 10 * time.Minute
	k := w.worker("kernels:\n  - kernel: debian:newest\nscenarios: [plain-dio-read, md-raid1-dio-read]\nbudget: 30h\nrepeat: 50\n")
	n := w.night(k)
	var left []CaseName
	for _, b := range n.Plan {
		if !b.Done {
			left = append(left, b.Cases...)
		}
	}
	if len(left) == 0 || n.Seconds < 24*3600 || n.Finished.IsZero() || !strings.Contains(textOf(t, n), "left out, no time") {
		t.Fatalf("the night took %.0f s, and left out %d: %s", n.Seconds, len(left), textOf(t, n))
	}
	next, err := k.Forecast(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if first := next.Plan[0].Cases[0]; first != left[0] {
		t.Errorf("next comes %v, and %v was left out", first, left[0])
	}
	if len(next.LeftOut) == 0 || next.Seconds > next.Budget*1.5 {
		t.Errorf("the forecast leaves out %d, and takes %.0f of %.0f s", len(next.LeftOut), next.Seconds, next.Budget)
	}
}

// A forecast does nothing.
func TestForecast(t *testing.T) {
	w := newWorld(t, "6.17", "6.18")
	k := w.worker("kernels:\n  - packages: sid\n  - series: debian\nscenarios: [plain-dio-read]\n")
	f, err := k.Forecast(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Kernels) != 3 || w.trials != 0 || f.Trials == 0 || f.Seconds == 0 {
		t.Errorf("%+v after %d trials", f, w.trials)
	}
	if _, err := os.Stat(k.Dir()); err == nil {
		t.Error("a forecast left something behind")
	}
	var b strings.Builder
	if err := f.WriteText(&b, "test"); err != nil || !strings.Contains(b.String(), "series 6.18 of debian") {
		t.Errorf("%v: %s", err, b.String())
	}
}

// Given a new failure, then it is tried on the other kernels and on the other
// stacks that have such a case.
func TestWhereElse(t *testing.T) {
	w := newWorld(t, "6.17")
	w.fails = func(release, scenario, _ string, _ int) scenarios.Verdict {
		if release >= "6.18" && scenario == "lvm-mirror-dio-read" {
			return scenarios.EIO
		}
		return scenarios.Pass
	}
	k := w.worker(`kernels:
  - kernel: debian:newest
  - kernel: {ref: debian:6.17, as: old}
scenarios:
  - {scenario: lvm-mirror-dio-read, cases: ["length=512,memory_offset=32"]}
  - {scenario: md-raid1-dio-read, cases: ["length=512,memory_offset=32"]}
`)
	w.night(k)
	w.release("6.18")
	n := w.night(k)
	text := textOf(t, n)
	for _, want := range []string{
		"elsewhere: lvm-mirror-dio-read length=512,memory_offset=32 on 6.17-amd64 passes",
		"elsewhere: md-raid1-dio-read length=512,memory_offset=32 on 6.18-amd64 passes",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
}

// Given a bisection for which a night has no time, then the next one goes on
// with it.
func TestBisectionGoesOn(t *testing.T) {
	w := newWorld(t, "6.17")
	w.fails = from("6.18", "", scenarios.EIO)
	done := w.answer
	w.answer = func(Search) (Found, error) { return Found{Unfinished: true}, nil }
	k := w.worker(newestOfPlain)
	w.night(k)
	w.release("6.18")
	if n := w.night(k); !strings.Contains(textOf(t, n), "goes on the next night") {
		t.Errorf("%s", textOf(t, n))
	}
	w.answer = done
	n := w.night(k)
	if kindsOf(n) != "still" || len(n.Continued) != 1 || !strings.Contains(textOf(t, n), "came with 6.18.1") {
		t.Errorf("%s", textOf(t, n))
	}
	if a, b := w.searches[len(w.searches)-1].Dir, w.searches[0].Dir; a != b {
		t.Errorf("it went on in %s, and had begun in %s", a, b)
	}
	searches := len(w.searches)
	if w.night(k); len(w.searches) != searches {
		t.Error("it was done again")
	}
}

// Given stories of fixes, then it is said which kernels lack which, and where
// they arrived.
func TestMissingBackports(t *testing.T) {
	w := newWorld(t, "6.12.107", "6.18.5")
	w.fails = func(release, scenario, _ string, _ int) scenarios.Verdict {
		if scenario == "museum-md-raid1-takeover-hang" && release < "6.12.111" {
			return scenarios.Hang
		}
		return scenarios.Pass
	}
	k := w.worker("kernels:\n  - series: debian\nscenarios: [museum-md-raid1-takeover-hang]\n")
	n := w.night(k)
	if len(n.Lacking) != 1 || len(n.Lacking[0].Lacking) != 1 || n.Lacking[0].Lacking[0].Release != "6.12.107-amd64" || len(n.Lacking[0].Have) != 1 {
		t.Fatalf("got %+v", n.Lacking)
	}
	if text := textOf(t, n); !strings.Contains(text, "missing in 6.12.107-amd64") || !strings.Contains(text, "don't set array_frozen in raid1_takeover()") {
		t.Errorf("%s", text)
	}
	w.releases[0].Version, w.releases[0].Ref, w.releases[0].Release = "6.12.111", "debian:6.12.111-1", "6.12.111-amd64"
	if n := w.night(k); len(n.Lacking) != 1 || len(n.Lacking[0].Arrived) != 1 || n.Lacking[0].Arrived[0].Release != "6.12.111-amd64" {
		t.Errorf("got %+v", n.Lacking)
	}
}

// Given what the night's record is damaged, then no night begins that would
// call old failures new.
func TestDamagedNight(t *testing.T) {
	w := newWorld(t, "6.17")
	k := w.worker(newestOfPlain)
	w.night(k)
	if err := os.WriteFile(filepath.Join(k.Dir(), fileOf(1)), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Run(t.Context()); err == nil || !strings.Contains(err.Error(), fileOf(1)) {
		t.Errorf("got %v", err)
	}
}

// Given releases, tags and series, then each pattern stands for what is new.
func TestStreams(t *testing.T) {
	w := newWorld(t, "6.12.1", "6.12.2", "6.17.1", "6.18")
	k := w.worker("kernels:\n  - packages: sid\n  - series: debian\n  - tags: {repo: /src/linux, match: v6.17*}\n  - series: /src/linux\n  - kernel: git:/src/linux@master\nscenarios: [plain-dio-read]\n")
	n := w.night(k)
	refs := func(stream string, n *Night) string {
		var out []string
		for _, k := range n.Kernels {
			if k.Stream == stream {
				out = append(out, k.Ref)
			}
		}
		return strings.Join(out, " ")
	}
	for stream, want := range map[string]string{
		"packages of sid":           "debian:6.18-1",
		"series 6.12 of debian":     "debian:6.12.2-1",
		"series 6.17 of debian":     "debian:6.17.1-1",
		"tags v6.17* of /src/linux": "git:/src/linux@v6.17.2",
		"series 6.17 of /src/linux": "git:/src/linux@v6.17.2",
		"series 6.18 of /src/linux": "git:/src/linux@v6.18",
		"git:/src/linux@master":     "git:/src/linux@master",
	} {
		if got := refs(stream, n); got != want {
			t.Errorf("%s: %q, want %q", stream, got, want)
		}
	}
	w.release("6.19.1", "6.19.2")
	if got := refs("packages of sid", w.night(k)); got != "debian:6.19.1-1 debian:6.19.2-1" {
		t.Errorf("every new package: %q", got)
	}
}

// A year of nights of many cases is planned and judged in seconds.
func BenchmarkYear(b *testing.B) {
	a := &archive{dir: b.TempDir()}
	c, err := Parse("test.yaml", []byte("name: x\nkernels: [{kernel: debian:newest}]\nscenarios: [lvm-mirror-dio-read, md-raid1-dio-read, plain-dio-read]\n"))
	if err != nil {
		b.Fatal(err)
	}
	cases := c.Cases()
	k := Kernel{Stream: "debian:newest", Ref: "debian:6.18-1"}
	for n := range 365 {
		night := Night{Number: n + 1, Finished: time.Unix(1, 0)}
		for _, cs := range cases {
			night.Tallies = append(night.Tallies, Tally{Stream: k.Stream, Ref: k.Ref, CaseName: nameOf(cs), Boots: []Boot{{Trials: 2}, {Trials: 2, Failed: map[string]int{"step/pread/eio": n % 2}}}})
		}
		a.nights = append(a.nights, night)
	}
	for b.Loop() {
		if len(plan(a, []Kernel{k}, cases, 4, 1)) == 0 {
			b.Fatal("nothing is planned")
		}
		if len(newJudge(a, nil).findings(a.nights[363])) == 0 {
			b.Fatal("nothing is found")
		}
	}
	b.ReportMetric(float64(len(cases)), "cases")
}
