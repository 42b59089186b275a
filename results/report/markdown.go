package report

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/text"
)

// mostRows bounds the rows of a table in a text for people.
const mostRows = 200

// Markdown writes the report as GitHub and GitLab read it.
func Markdown(w io.Writer, r Report) error {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("# %s\n\n", md(r.Title))
	p("**%s.** %s.\n", md(r.Headline()), r.ranOn())
	r.markdownChanges(p)
	r.markdownHunted(p)
	r.markdownGrid(p)
	r.markdownBisections(p)
	r.markdownWorkers(p)
	for _, problem := range r.Problems {
		p("\n> %s\n", md(problem))
	}
	p("\n%s, %s.\n", md(r.Tool), r.Made.UTC().Format("2006-01-02 15:04 UTC"))
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func (r Report) markdownChanges(p func(string, ...any)) {
	if len(r.Changes) == 0 {
		return
	}
	p("\n## What changed\n\n| what | case | kernel | before | after | history |\n|---|---|---|---|---|---|\n")
	for i, c := range r.Changes {
		if i == mostRows {
			p("\n… and %d more.\n", len(r.Changes)-i)
			break
		}
		kind := "**" + md(string(c.Kind)) + "**"
		if c.Known != nil {
			kind = "known (" + md(string(c.Kind)) + ")"
		}
		if c.Probability > 0 {
			kind += " (" + sure(c.Probability) + " sure)"
		}
		at := r.kernel(c.After.Kernel)
		p("| %s | %s | %s | %s | %s | `%s` |\n", kind, md(c.Title()), md(at.Name()), md(c.Before.told(r)), md(c.After.told(r)),
			marks(r.series(r.history(c.Scenario, c.Case), at.Stream), 30))
	}
	for i, c := range r.Changes {
		if i == mostRows {
			break
		}
		b := r.bisection(c.Bisection)
		if b == nil || b.First == nil {
			continue
		}
		p("\n- %s: %s, %s\n", md(c.Title()), md(named(b.First.Hash, b.First.Title)), md(string(b.Grade)))
	}
}

func (r Report) markdownHunted(p func(string, ...any)) {
	for i, h := range r.Hunted[:min(len(r.Hunted), mostRows)] {
		if i == 0 {
			p("\n## Found by a hunt\n\n| what | stack | kernel | program | answer | scenario | came with |\n|---|---|---|---|---|---|---|\n")
		}
		p("| **%s** | %s | %s | %s | %s | %s | %s |\n", md(h.Class), md(h.Stack), md(h.Kernel), md(h.Program), md(h.Answer), md(h.Scenario), md(strings.Join(h.Bisected, "; ")))
	}
}

// told is a side in a few words: "hang, 3 of 3 (44% to 100%)".
func (s Side) told(r Report) string {
	if s.Kernel < 0 || s.Trials == 0 {
		return "not run"
	}
	out := string(s.Verdict)
	if s.Said != "" {
		out += ", " + s.Said
	}
	if s.Judged() > 1 {
		out += ", failed " + s.in()
	}
	return out
}

func (r Report) markdownGrid(p func(string, ...any)) {
	if len(r.Cases) == 0 || len(r.Kernels) == 0 {
		return
	}
	first := max(0, len(r.Kernels)-12) // wider is not read
	p("\n## Kernels and cases\n\n| case |")
	for _, k := range r.Kernels[first:] {
		p(" %s |", md(k.Name()))
	}
	p("\n|---|%s\n", strings.Repeat(":-:|", len(r.Kernels)-first))
	for i, c := range r.Cases {
		if i == mostRows {
			p("\n… and %d more cases.\n", len(r.Cases)-i)
			return
		}
		p("| %s |", md(c.Title()))
		cells := map[int]Cell{}
		for _, cell := range c.Cells {
			cells[cell.Kernel] = cell
		}
		for at := first; at < len(r.Kernels); at++ {
			cell, ok := cells[at]
			switch {
			case !ok:
				p(" |")
			case cell.Mixed():
				p(" %s %d/%d |", md(string(cell.Verdict)), cell.Failures, cell.Judged())
			default:
				p(" %s |", md(string(cell.Verdict)))
			}
		}
		p("\n")
	}
}

func (r Report) markdownBisections(p func(string, ...any)) {
	if len(r.Bisections) == 0 {
		return
	}
	p("\n## Bisections\n\n")
	for _, b := range r.Bisections {
		p("- %s: %s\n", md(b.Title()), md(b.Found()))
	}
}

func (r Report) markdownWorkers(p func(string, ...any)) {
	if len(r.Workers) == 0 {
		return
	}
	p("\n## Workers\n\n| worker | trials | failed | no verdict | tried again | at a time | one took | waited | at most |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	ms := func(n int64) string {
		return (time.Duration(n) * time.Millisecond).Round(100 * time.Millisecond).String()
	}
	for i, w := range r.Workers {
		if i == mostRows {
			p("\n… and %d more.\n", len(r.Workers)-i)
			return
		}
		p("| %s | %d | %d | %d | %d | %.1f | %s | %s | %s |\n", md(w.Name), w.Trials, w.Failures, w.Errors, w.Again,
			w.Use(), ms(w.TookMS/int64(max(1, w.Trials))), ms(w.WaitMS), ms(w.MostWait))
	}
}

// Found is what the bisection came to, in a line.
func (b Bisection) Found() string {
	switch {
	case b.First != nil:
		return fmt.Sprintf("%s (%s, %d steps, %d trials)", named(b.First.Hash, b.First.Title), b.Grade, len(b.Steps), b.Trials)
	case b.State == "running":
		return fmt.Sprintf("under way between %s and %s", b.Old, b.New)
	}
	return fmt.Sprintf("nothing found between %s and %s", b.Old, b.New)
}

// named is a commit as people write it, or a release.
func named(hash, title string) string {
	if title == "" || title == hash {
		return hash
	}
	return fmt.Sprintf("%s (%q)", short(hash), title)
}

var fullHash = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

func short(hash string) string {
	if fullHash.MatchString(hash) {
		return hash[:12]
	}
	return hash
}

var markup = regexp.MustCompile("[\\\\`*_{}\\[\\]()#+!|<>~&@$]|://")

// md makes a text harmless in Markdown, on one line: no markup, no link, no
// mention.
func md(s string) string {
	return markup.ReplaceAllStringFunc(text.OneLine(s), func(m string) string {
		switch m {
		case "<":
			return "&lt;"
		case ">":
			return "&gt;"
		case "&":
			return "&amp;"
		case "@":
			return "&#64;" // no mention
		case "://":
			return ":&#47;/" // no link
		}
		return `\` + m
	})
}
