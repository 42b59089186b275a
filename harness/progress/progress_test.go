package progress

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// clock is a time that a test sets.
type clock struct{ t time.Time }

func (c *clock) now() time.Time       { return c.t }
func (c *clock) pass(d time.Duration) { c.t = c.t.Add(d) }
func newClock() *clock                { return &clock{time.Date(2026, 6, 14, 0, 0, 0, 0, time.UTC)} }

// repeats gives n trials of each of two cases on one kernel, over so many
// boots.
func repeats(n, boots int) []Trial {
	var out []Trial
	for _, id := range []string{"length=1", "length=2"} {
		for r := range n {
			out = append(out, Trial{Kernel: "debian:6.18", Scenario: "s", Case: id, Boot: r % boots})
		}
	}
	return out
}

func TestEstimate(t *testing.T) {
	c := newClock()
	e := newEstimate(repeats(4, 2), 1)
	if _, ok := e.left(c.now()); ok {
		t.Error("something is known before the first trial")
	}
	step := func(i int, base, trial time.Duration) {
		e.begin(i, c.now())
		c.pass(base + trial)
		e.end(i, trial, c.now())
	}
	left := func() time.Duration {
		d, ok := e.left(c.now())
		if !ok {
			t.Fatal("nothing is known")
		}
		return d
	}
	// Given one boot of 6 s and one trial of 400 ms, then there are seven more
	// such trials and one more boot.
	step(0, 6*time.Second, 400*time.Millisecond)
	if got, want := left(), 6*time.Second+7*400*time.Millisecond; got != want {
		t.Errorf("after the first: %v, want %v", got, want)
	}
	// Given a case of which each trial takes 3 s, then its others do, too; and
	// what is under way takes what it has not taken yet.
	step(4, 0, 3*time.Second)
	e.begin(5, c.now())
	c.pass(8 * time.Second)
	if got, want := left(), 3*400*time.Millisecond+2*3*time.Second+time.Second; got != want {
		t.Errorf("with a long case: %v, want %v", got, want)
	}
	// A trial that takes longer than it should does not take away from others.
	c.pass(time.Hour)
	if got, want := left(), 3*400*time.Millisecond+2*3*time.Second; got != want {
		t.Errorf("an hour later: %v, want %v", got, want)
	}
	e.end(5, 3*time.Second, c.now())
	for _, i := range []int{1, 2, 3, 6, 7} {
		step(i, 0, time.Second)
	}
	if got := left(); got != 0 {
		t.Errorf("at the end: %v left", got)
	}
}

func TestEstimateOfManyJobs(t *testing.T) {
	c := newClock()
	trials := repeats(3, 1)
	for i := range trials {
		trials[i].Cold = true
	}
	e := newEstimate(trials, 4)
	e.begin(0, c.now())
	c.pass(8 * time.Second)
	e.end(0, 8*time.Second, c.now())
	if got, _ := e.left(c.now()); got != 10*time.Second { // 5 of 8 s on 4 machines
		t.Errorf("five on four machines: %v, want 10s", got)
	}
	for i := range 4 {
		e.drop(i + 1)
	}
	if got, _ := e.left(c.now()); got != 8*time.Second { // one can't be done by four
		t.Errorf("one on four machines: %v, want 8s", got)
	}
}

func TestLines(t *testing.T) {
	c := newClock()
	s := newState(c.now)
	expect := func(when string, want ...string) {
		t.Helper()
		for n, w := range want {
			if got := s.line(n, 120); got != w {
				t.Errorf("%s: line %d is %q, want %q", when, n, got, w)
			}
		}
	}
	s.status("fetch: debian:6.18")
	expect("before there are trials", "fetch: debian:6.18", "")
	trials := repeats(2, 1)
	trials[3].Kernel = "file:\x1b[31mmine"
	s.begin(trials, 2, 1)
	expect("while a kernel is fetched", "fetch: debian:6.18", "", "[====                ] 1 of 5 trials")
	s.phase(0, "boot", "")
	c.pass(3 * time.Second)
	s.phase(3, "stack", "lvm lvcreate --type mirror")
	expect("two machines", "debian:6.18  length=1  boot   3 s", `file:\u001b[31mmine  length=2  stack  lvm lvcreate`, "[====                ] 1 of 5 trials")
	s.end(0, scenarios.Hang, time.Second)
	expect("one has ended", "debian:6.18  length=1  boot ", `file:\u001b[31mmine  length=2  stack  lvm lvcreate`, "[========            ] 2 of 5 trials, 1 failed, 3 s left")
	s.phase(1, "step", "")
	expect("the next takes its line", "debian:6.18  length=1  step ")
	s.end(1, scenarios.Error, time.Second)
	s.end(3, scenarios.Pass, time.Second)
	s.drop(2)
	expect("the last is not needed", "debian:6.18  length=1  step ", `file:\u001b[31mmine  length=2  stack  lvm lvcreate`, "[====================] 4 of 4 trials, 1 failed, 1 without a verdict")
	// One that was begun all the same counts again.
	s.end(2, scenarios.Pass, time.Second)
	if got := s.line(2, 40); got != "[====================] 5 of 5 trials, 1…" {
		t.Errorf("got %q", got)
	}
	if s.phase(4, "boot", "") || s.phase(-1, "boot", "") {
		t.Error("a trial that is not there has a phase")
	}
}

func TestNoLineIsLongerThanTheTerminal(t *testing.T) {
	s := newState(newClock().now)
	s.begin([]Trial{{Kernel: "file:" + strings.Repeat("ü", 200), Scenario: "s"}}, 1, 0)
	s.phase(0, "boot", "")
	for _, width := range []int{1, 10, 80} {
		for n := range 2 {
			if got := s.line(n, width); text.Columns(got) > width || !strings.HasSuffix(got, "…") && n == 0 {
				t.Errorf("line %d in %d columns: %q", n, width, got)
			}
		}
	}
}

func TestRemaining(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                       "0 s",
		300 * time.Millisecond:  "1 s",
		9500 * time.Millisecond: "10 s",
		32 * time.Second:        "30 s",
		100 * time.Second:       "100 s",
		400 * time.Second:       "7 min",
		3 * time.Hour:           "3.0 h",
	} {
		if got := remaining(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// terminal takes what is written by several goroutines.
type terminal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

// Given a display that many use at once, then what is printed over it stands
// whole between what is shown, and after Stop nothing is shown any more.
func TestWhatIsPrintedOverADisplay(t *testing.T) {
	out := &terminal{}
	d := New(out)
	d.Status("fetch", "a kernel")
	d.Trials(repeats(3, 1), 2, 0)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			d.Phase(i, "boot", "")
			d.Fetched("something", 1e6, 5e6)
			d.Over(func() { out.Write([]byte("printed\n")) })
			d.Done(i, scenarios.Pass, time.Second)
		})
	}
	wg.Wait()
	d.Stop()
	d.Stop()
	if got := strings.Count(out.b.String(), "printed\n"); got != 6 {
		t.Errorf("printed %d times, want 6", got)
	}
	before := out.b.Len()
	d.Status("fetch", "another")
	d.Phase(1, "boot", "")
	if out.b.Len() != before {
		t.Error("something is shown after the end")
	}
}

func TestNoTerminalNothingShown(t *testing.T) {
	d := New(nil)
	d.Status("fetch", "a kernel")
	d.Trials(repeats(1, 1), 1, 0)
	d.Phase(0, "boot", "")
	printed := false
	d.Over(func() { printed = true })
	d.Stop()
	if !printed || d.bars != nil {
		t.Error("what is to be said is not, or something is shown")
	}
}
