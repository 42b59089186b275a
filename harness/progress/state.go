package progress

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// A Trial is one that is shown and counted.
type Trial struct {
	Kernel   string // as the user named it
	Scenario string
	Case     string
	Boot     int  // of the kernel, which trials from saved machines share
	Cold     bool // from power-on
}

// state is what a display shows: a line for each machine, and one for all.
type state struct {
	now func() time.Time

	mu       sync.Mutex
	names    []string // of the trials
	kernels  []string
	machines []machine
	places   map[int]int // the machine of a trial that is under way
	common   string      // what is done for all, while no machine is up
	estimate *estimate

	all, done, failed, errors int
}

// A machine keeps the last trial between two, so that its line does not
// flicker.
type machine struct {
	used, busy  bool
	phase, what string
	since       time.Time
	kernel      string
	name        string
}

func newState(now func() time.Time) *state {
	return &state{now: now, places: map[int]int{}}
}

func (s *state) begin(trials []Trial, jobs, earlier int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	several := false
	for _, t := range trials {
		several = several || t.Scenario != trials[0].Scenario
	}
	for _, t := range trials {
		name := t.Case
		if several || name == "" {
			name = strings.TrimSuffix(t.Scenario+" "+name, " ")
		}
		s.names = append(s.names, text.Escape(name))
		s.kernels = append(s.kernels, text.Escape(t.Kernel))
	}
	s.machines = make([]machine, jobs)
	s.estimate = newEstimate(trials, jobs)
	s.all, s.done = len(trials)+earlier, earlier
}

func (s *state) status(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.common = text.Escape(what)
}

// phase says whether there is such a trial.
func (s *state) phase(i int, phase, what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i < 0 || i >= len(s.names) {
		return false
	}
	s.common = ""
	s.estimate.begin(i, s.now())
	n, ok := s.places[i]
	if !ok {
		n = s.free()
		if n < 0 {
			return true
		}
		s.places[i] = n
		s.machines[n] = machine{used: true, busy: true, kernel: s.kernels[i], name: s.names[i]}
	}
	m := &s.machines[n]
	if m.phase != phase {
		m.phase, m.since = phase, s.now()
	}
	m.what = text.Escape(what)
	return true
}

// free gives a machine without a trial, -1 when there is none.
func (s *state) free() int {
	for n, m := range s.machines {
		if !m.busy {
			return n
		}
	}
	return -1
}

func (s *state) end(i int, v scenarios.Verdict, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done++
	if s.estimate.trials[i].done { // it was dropped when it had just begun
		s.all++
	}
	switch {
	case v == scenarios.Error:
		s.errors++
	case v.Failure():
		s.failed++
	}
	s.estimate.end(i, took, s.now())
	if n, ok := s.places[i]; ok {
		delete(s.places, i)
		s.machines[n].busy = false
	}
}

func (s *state) drop(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.estimate.drop(i) {
		s.all--
	}
}

// height is how many lines there are.
func (s *state) height() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.machines) + 1
}

// line gives a line in at most width columns: one for each machine, then that
// for all. What is done for all stands in the first.
func (s *state) line(n, width int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case n < len(s.machines) && s.machines[n].used:
		return text.Cut(s.machines[n].line(s.now()), width)
	case n == 0:
		return text.Cut(s.common, width)
	case n == len(s.machines):
		return text.Cut(s.total(), width)
	}
	return ""
}

func (m machine) line(now time.Time) string {
	line := fmt.Sprintf("%s  %s  %-5s", m.kernel, m.name, m.phase)
	if d := now.Sub(m.since); m.busy && d >= time.Second {
		line += fmt.Sprintf(" %2.0f s", d.Seconds())
	}
	// Of a command its name is enough: "lvm lvcreate", "mke2fs".
	if what, _, _ := strings.Cut(m.what, " -"); what != "" {
		line += "  " + what
	}
	return line
}

// barWidth is that of the bar in the line for all, in columns.
const barWidth = 20

// total says how far all is.
func (s *state) total() string {
	full := barWidth * s.done / max(1, s.all)
	line := "[" + strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full) + "]"
	line += fmt.Sprintf(" %d of %d trials", s.done, s.all)
	if s.failed > 0 {
		line += fmt.Sprintf(", %d failed", s.failed)
	}
	if s.errors > 0 {
		line += fmt.Sprintf(", %d without a verdict", s.errors)
	}
	if left, ok := s.estimate.left(s.now()); ok && s.done < s.all {
		line += ", " + remaining(left) + " left"
	}
	return line
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
