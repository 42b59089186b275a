package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/results"
)

// progress shows a board on a terminal, and nothing anywhere else.
type progress struct {
	*board
	mu    sync.Mutex
	bars  *mpb.Progress // nil: no terminal, or over
	lines []*mpb.Bar
}

func newProgress(a *app) *progress {
	p := &progress{board: newBoard(time.Now)}
	if a.errTerm {
		p.bars = mpb.New(mpb.WithOutput(a.stderr))
	}
	return p
}

// show makes a line that says what text gives for a width in columns.
func (p *progress) show(text func(width int) string) {
	bar := p.bars.New(1, mpb.NopStyle(), mpb.BarPriority(len(p.lines)),
		mpb.PrependDecorators(decor.Any(func(s decor.Statistics) string { return text(s.AvailableWidth) })))
	p.lines = append(p.lines, bar)
}

// machineLines makes the lines of n machines, those that are not there.
func (p *progress) machineLines(n int) {
	for p.bars != nil && len(p.lines) < n {
		i := len(p.lines)
		p.show(func(width int) string { return p.line(i, width) })
	}
}

// tasks begins to show trials.
func (p *progress) tasks(tasks []trial.Task, jobs, earlier int, e *estimate) {
	p.begin(tasks, jobs, earlier, e)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.machineLines(jobs)
	if p.bars != nil {
		p.show(p.total)
	}
}

// fetch shows that something is being fetched or made for all.
func (p *progress) fetch(what string, done, total int64) {
	text := what
	if total > 0 {
		text = fmt.Sprintf("%s: %d of %d MB", what, done/1e6, total/1e6)
	}
	p.say(text)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.machineLines(1)
}

// phase shows what a trial is at; i is -1 for what serves all.
func (p *progress) phase(i int, phase, what string) {
	p.board.phase(i, phase, what)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.machineLines(1)
}

func (p *progress) done(i int, rec results.Record) { p.end(i, rec) }

// stop removes all that is shown. It may be called again.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bars == nil {
		return
	}
	for _, l := range p.lines {
		l.Abort(true)
	}
	p.bars.Wait()
	p.bars = nil
}
