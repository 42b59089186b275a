package progress

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/blockrig/blockrig/scenarios"
)

// A Display is the part of a terminal that changes. Its methods may be called
// by several goroutines at once.
type Display struct {
	out   io.Writer // nil: no terminal, or stopped
	state *state

	mu    sync.Mutex
	bars  *mpb.Progress // nil: nothing is shown
	lines []*mpb.Bar
}

// New makes a display at the end of a terminal; a nil out is none. Stop ends
// it.
func New(out io.Writer) *Display { return &Display{out: out, state: newState(time.Now)} }

// Status shows what is done while no machine is up.
func (d *Display) Status(phase, what string) {
	if what != "" && phase != "" {
		phase += ": "
	}
	d.state.status(phase + what)
	d.show()
}

// Fetched shows how much is there of something that is being fetched or made;
// a total of 0 is not known.
func (d *Display) Fetched(what string, done, total int64) {
	if total > 0 {
		what = fmt.Sprintf("%s: %d of %d MB", what, done/1e6, total/1e6)
	}
	d.Status("", what)
}

// Trials begins to show trials, so many at a time; earlier is how many of the
// run were done before.
func (d *Display) Trials(trials []Trial, jobs, earlier int) {
	d.Over(func() { d.state.begin(trials, jobs, earlier) })
	d.show()
}

// Phase shows what a trial is at. One that is not there, such as -1, is what
// serves all.
func (d *Display) Phase(trial int, phase, what string) {
	if d.state.phase(trial, phase, what) {
		d.show()
		return
	}
	d.Status(phase, what)
}

// Done counts a trial that has ended, and how long its attempts took.
func (d *Display) Done(trial int, v scenarios.Verdict, took time.Duration) {
	d.state.end(trial, v, took)
}

// Drop takes a trial out that will not be made.
func (d *Display) Drop(trial int) { d.state.drop(trial) }

// Over takes away what is shown while f prints. What is shown next brings it
// back. A nil display shows nothing.
func (d *Display) Over(f func()) {
	if d == nil {
		f()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hide()
	f()
}

// Stop takes away what is shown for good.
func (d *Display) Stop() { d.Over(func() { d.out = nil }) }

// show makes the lines that are not there.
func (d *Display) show() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.out == nil || d.bars != nil {
		return
	}
	d.bars = mpb.New(mpb.WithOutput(d.out))
	for i := range d.state.height() {
		bar := d.bars.New(1, mpb.NopStyle(), mpb.BarPriority(i),
			mpb.PrependDecorators(decor.Any(func(s decor.Statistics) string { return d.state.line(i, s.AvailableWidth) })))
		d.lines = append(d.lines, bar)
	}
}

// hide removes all lines. The caller holds d.mu.
func (d *Display) hide() {
	if d.bars == nil {
		return
	}
	for _, l := range d.lines {
		l.Abort(true)
	}
	d.bars.Wait()
	d.bars, d.lines = nil, nil
}
