package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/results"
)

// A board is what progress shows: a line for each machine, and one for all.
type board struct {
	mu       sync.Mutex
	now      func() time.Time
	names    []string // of the tasks
	kernels  []string
	places   map[int]int // the line of a task that is being done
	machines []machine
	common   string // what is done for all, while no machine is up
	est      *estimate

	all, done, failed, errors int
}

// machine is what a line shows. Between two trials it keeps the last one, so
// that it does not flicker.
type machine struct {
	task        int // -1: none
	phase, what string
	since       time.Time
	kernel      string
	name        string
}

func newBoard(now func() time.Time) *board {
	return &board{now: now, places: map[int]int{}}
}

// begin says what is to be done; earlier is how many trials of the run were
// done before.
func (b *board) begin(tasks []trial.Task, jobs, earlier int, e *estimate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	several := false
	for _, t := range tasks {
		several = several || t.Case.Scenario != tasks[0].Case.Scenario
	}
	for _, t := range tasks {
		name := t.Case.ID
		if several || name == "" {
			name = strings.TrimSuffix(t.Case.Scenario.Name+" "+name, " ")
		}
		b.names = append(b.names, text.Escape(name))
		b.kernels = append(b.kernels, text.Escape(t.Ref))
	}
	b.machines = make([]machine, jobs)
	for i := range b.machines {
		b.machines[i].task = -1
	}
	b.est = e
	b.all, b.done = len(tasks)+earlier, earlier
}

// say shows what is done for all.
func (b *board) say(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.common = text.Escape(what)
}

// phase notes what a task is at.
func (b *board) phase(i int, phase, what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i < 0 || i >= len(b.names) {
		b.common = text.Escape(strings.TrimSpace(phase + " " + what))
		return
	}
	b.common = ""
	b.est.begin(i, b.now())
	n, ok := b.places[i]
	if !ok {
		n = b.free()
		if n < 0 {
			return
		}
		b.places[i] = n
		b.machines[n] = machine{task: i, kernel: b.kernels[i], name: b.names[i]}
	}
	m := &b.machines[n]
	if m.phase != phase {
		m.phase, m.since = phase, b.now()
	}
	m.what = text.Escape(what)
}

// free gives a line that no task has, -1 without.
func (b *board) free() int {
	for n, m := range b.machines {
		if m.task < 0 {
			return n
		}
	}
	return -1
}

// end notes that a task is done.
func (b *board) end(i int, rec results.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done++
	if b.est.tasks[i].done { // it was dropped when it had just begun
		b.all++
	}
	switch {
	case rec.Verdict == "error":
		b.errors++
	case rec.Verdict.Failure():
		b.failed++
	}
	b.est.end(i, rec, b.now())
	if n, ok := b.places[i]; ok {
		delete(b.places, i)
		b.machines[n].task = -1
	}
}

// drop notes that a task will not be done.
func (b *board) drop(i int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.est.drop(i) {
		b.all--
	}
}

// line shows a machine in at most width columns.
func (b *board) line(n, width int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n >= len(b.machines) || b.machines[n].kernel == "" {
		if n == 0 {
			return text.Cut(b.common, width)
		}
		return ""
	}
	m := b.machines[n]
	line := fmt.Sprintf("%s  %s  %-5s", m.kernel, m.name, m.phase)
	// Of a command its name is enough: "lvm lvcreate", "mke2fs".
	what, _, _ := strings.Cut(m.what, " -")
	if s := b.now().Sub(m.since); m.task >= 0 && s >= time.Second {
		line += fmt.Sprintf(" %2.0f s", s.Seconds())
	}
	if what != "" {
		line += "  " + what
	}
	return text.Cut(line, width)
}

// barWidth is that of the bar in the line of all, in columns.
const barWidth = 20

// total shows how far all is, in at most width columns.
func (b *board) total(width int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == 0 {
		return ""
	}
	full := barWidth * b.done / b.all
	line := "[" + strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full) + "]"
	line += fmt.Sprintf(" %d of %d trials", b.done, b.all)
	if b.failed > 0 {
		line += fmt.Sprintf(", %d failed", b.failed)
	}
	if b.errors > 0 {
		line += fmt.Sprintf(", %d without a verdict", b.errors)
	}
	if left, ok := b.est.left(b.now()); ok && b.done < b.all {
		line += ", " + remaining(left) + " left"
	}
	return text.Cut(line, width)
}

// remaining gives a time with no more precision than an estimate has.
func remaining(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%d s", int((d+time.Second-1)/time.Second))
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Round(5*time.Second)/time.Second))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute)/time.Minute))
	default:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
}
