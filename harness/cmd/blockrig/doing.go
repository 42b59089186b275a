package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/blockrig/blockrig/harness/text"
)

// doing is a line that says what goes on now, on a terminal only.
type doing struct {
	mu    sync.Mutex
	out   io.Writer // nil: no terminal
	shown bool
	text  string
	drawn time.Time
}

// redraw is how often the line changes at most: builds tell of every file.
const redraw = 100 * time.Millisecond

func (a *app) newDoing() *doing {
	d := &doing{}
	if a.errTerm {
		d.out = a.stderr
	}
	return d
}

// set shows a phase and what of it is done.
func (d *doing) set(phase, what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.out == nil {
		return
	}
	if what != "" {
		phase += ": " + what
	}
	d.text = text.Cut(text.Escape(phase), 76)
	if now := time.Now(); now.Sub(d.drawn) >= redraw {
		d.drawn, d.shown = now, true
		fmt.Fprintf(d.out, "\r%s\x1b[K", d.text)
	}
}

// fetch is for a kernel store's Progress.
func (d *doing) fetch(what string, done, total int64) {
	if total > 0 {
		what = fmt.Sprintf("%s: %d of %d MB", what, done/1e6, total/1e6)
	}
	d.set("fetch", what)
}

// over takes the line away while f prints.
func (d *doing) over(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shown {
		fmt.Fprint(d.out, "\r\x1b[K")
		d.shown = false
	}
	f()
}

// end takes the line away for good.
func (d *doing) end() { d.over(func() { d.out = nil }) }
