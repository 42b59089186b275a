package main

import (
	"fmt"
	"strings"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/results"
)

// progress shows what is being done while it is done, on a terminal only.
type progress struct {
	mu    sync.Mutex
	bars  *mpb.Progress // nil: no terminal, or over
	all   *mpb.Bar
	lines map[int]*line
	names []string
}

// line is what one trial, or what serves all, is at.
type line struct {
	mu   sync.Mutex
	text string
	bar  *mpb.Bar
}

func (l *line) set(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = text
}

func (l *line) decorate(decor.Statistics) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text
}

func newProgress(a *app) *progress {
	p := &progress{lines: map[int]*line{}}
	if a.errTerm {
		p.bars = mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(40))
	}
	return p
}

func (p *progress) tasks(tasks []trial.Task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range tasks {
		p.names = append(p.names, printable(t.Ref+" "+t.Case.ID))
	}
	if p.bars != nil {
		p.all = p.bars.AddBar(int64(len(tasks)), mpb.BarPriority(1<<20),
			mpb.PrependDecorators(decor.CountersNoUnit("%d of %d trials ")),
			mpb.AppendDecorators(decor.AverageETA(decor.ET_STYLE_GO)))
	}
}

// at gives the line of a task, new where there is none; nil when nothing is
// shown. The caller holds p.mu.
func (p *progress) at(i int) *line {
	if p.bars == nil {
		return nil
	}
	l := p.lines[i]
	if l == nil {
		l = &line{}
		l.bar = p.bars.New(1, mpb.SpinnerStyle("·", "o", "O", "o"), mpb.BarRemoveOnComplete(), mpb.BarPriority(i),
			mpb.BarWidth(1), mpb.AppendDecorators(decor.Any(l.decorate)))
		p.lines[i] = l
	}
	return l
}

func (p *progress) fetch(what string, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.at(-1); l != nil {
		text := what
		if total > 0 {
			text = fmt.Sprintf("%s: %d of %d MB", what, done/1e6, total/1e6)
		}
		l.set(printable(text))
	}
}

func (p *progress) phase(i int, phase, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.at(i)
	if l == nil {
		return
	}
	text := phase
	// Of a command its name is enough: "lvm lvcreate", "mke2fs".
	if what, _, _ = strings.Cut(what, " -"); what != "" {
		text += ": " + what
	}
	if i >= 0 && i < len(p.names) {
		text = p.names[i] + "  " + text
		p.end(-1)
	}
	r := []rune(printable(text))
	l.set(string(r[:min(len(r), 90)]))
}

func (p *progress) done(i int, _ results.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(i)
	if p.bars != nil {
		p.all.Increment()
	}
}

// end removes a line. The caller holds p.mu.
func (p *progress) end(i int) {
	if l := p.lines[i]; l != nil {
		l.bar.Abort(true)
		delete(p.lines, i)
	}
}

// stop removes all that is shown. It may be called again.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bars == nil {
		return
	}
	for i := range p.lines {
		p.end(i)
	}
	if p.all != nil {
		p.all.Abort(true)
	}
	p.bars.Wait()
	p.bars = nil
}
