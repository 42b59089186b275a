package main

import (
	"strings"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// clock is a time that a test sets.
type clock struct{ t time.Time }

func (c *clock) now() time.Time       { return c.t }
func (c *clock) pass(d time.Duration) { c.t = c.t.Add(d) }
func newClock() *clock                { return &clock{time.Date(2026, 6, 14, 0, 0, 0, 0, time.UTC)} }

func took(v verdict.Verdict, ms int64) results.Record {
	return results.Record{Verdict: v, TrialMS: ms, Attempts: []results.Attempt{{Verdict: v, MS: ms}}}
}

// tasksOf gives n repeats of two cases on one kernel.
func tasksOf(n int) []trial.Task {
	sc := &scenarios.Scenario{Name: "s"}
	var out []trial.Task
	for _, id := range []string{"length=1", "length=2"} {
		for r := range n {
			out = append(out, trial.Task{Ref: "debian:6.18", Case: scenarios.Case{Scenario: sc, ID: id}, Repeat: r})
		}
	}
	return out
}

func TestEstimate(t *testing.T) {
	c := newClock()
	tasks := tasksOf(4) // two boots
	e := newEstimate(tasks, 1, 2, false)
	if _, ok := e.left(c.now()); ok {
		t.Error("something is known before the first trial")
	}
	step := func(i int, base, trial time.Duration) {
		e.begin(i, c.now())
		c.pass(base + trial)
		e.end(i, took(verdict.Pass, trial.Milliseconds()), c.now())
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
	e.end(5, took(verdict.Hang, 3000), c.now())
	for _, i := range []int{1, 2, 3, 6, 7} {
		step(i, 0, time.Second)
	}
	if got := left(); got != 0 {
		t.Errorf("at the end: %v left", got)
	}
}

func TestEstimateOfManyJobs(t *testing.T) {
	c := newClock()
	e := newEstimate(tasksOf(3), 4, 1, true)
	e.begin(0, c.now())
	c.pass(8 * time.Second)
	e.end(0, took(verdict.Pass, 8000), c.now())
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

func TestBoard(t *testing.T) {
	c := newClock()
	b := newBoard(c.now)
	tasks := tasksOf(2)
	tasks[3].Ref = "file:\x1b[31mmine"
	b.begin(tasks, 2, 1, newEstimate(tasks, 2, 1, false))
	expect := func(when string, want ...string) {
		t.Helper()
		for n, w := range want {
			got := b.total(120)
			if n < 2 {
				got = b.line(n, 120)
			}
			if got != w {
				t.Errorf("%s: line %d is %q, want %q", when, n, got, w)
			}
		}
	}
	b.phase(-1, "fetch", "debian:6.18")
	expect("while a kernel is fetched", "fetch debian:6.18", "", "[====                ] 1 of 5 trials")
	b.phase(0, "boot", "")
	c.pass(3 * time.Second)
	b.phase(3, "stack", "lvm lvcreate --type mirror")
	expect("two machines", "debian:6.18  length=1  boot   3 s", `file:\u001b[31mmine  length=2  stack  lvm lvcreate`, "[====                ] 1 of 5 trials")
	b.end(0, took(verdict.Hang, 1000))
	expect("one has ended", "debian:6.18  length=1  boot ", `file:\u001b[31mmine  length=2  stack  lvm lvcreate`, "[========            ] 2 of 5 trials, 1 failed, 3 s left")
	b.phase(1, "step", "")
	expect("the next takes its line", "debian:6.18  length=1  step ")
	b.end(1, took(verdict.Error, 1000))
	b.end(3, took(verdict.Pass, 1000))
	b.drop(2)
	expect("the last is not needed", "debian:6.18  length=1  step ", `file:\u001b[31mmine  length=2  stack  lvm lvcreate`, "[====================] 4 of 4 trials, 1 failed, 1 without a verdict")
	// One that was begun all the same counts again.
	b.end(2, took(verdict.Pass, 1000))
	if got := b.total(40); got != "[====================] 5 of 5 trials, 1…" {
		t.Errorf("got %q", got)
	}
}

func TestNoLineIsLongerThanTheTerminal(t *testing.T) {
	b := newBoard(newClock().now)
	tasks := tasksOf(1)
	tasks[0].Ref = "file:" + strings.Repeat("ü", 200)
	b.begin(tasks, 1, 0, newEstimate(tasks, 1, 1, false))
	b.phase(0, "boot", "")
	for _, width := range []int{1, 10, 80} {
		if got := []rune(b.line(0, width)); len(got) != width || got[width-1] != '…' {
			t.Errorf("width %d: %q", width, string(got))
		}
		if got := []rune(b.total(width)); len(got) > width {
			t.Errorf("width %d: %q", width, string(got))
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
