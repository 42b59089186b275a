package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/text"
)

// A Sender is who a mail is from.
type Sender struct {
	ReportedBy string // "Name <address>", of a Reported-by trailer; "" for none
}

// Mail widths, in columns, and how many nights a row of marks has.
const (
	markNights = 48
	mailTitles = 5
)

// Mail writes the report as a mail of plain text below 72 columns, as the
// kernel's lists want it. What changed comes first, each with its history as a
// row of marks, its rate and, where a bisection found one, the culprit with
// the line that the regression tracker reads. It is addressed to the people
// that the bisections' own reports name: of each culprit, those in MAINTAINERS.
func Mail(w io.Writer, r Report, from Sender) error {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	to, cc := r.recipients()
	b.WriteString(bisect.Header("Subject", " ", strings.Fields(bisect.Tame(r.Title+": "+r.Headline()))...))
	p("%s%s", bisect.Header("To", ", ", to...), bisect.Header("Cc", ", ", cc...))
	p("MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n")
	b.WriteString(para("", r.Headline()+": "+r.ranOn()+"."))
	told := 0
	for _, kind := range Kinds {
		var of []Change
		for _, c := range r.Changes {
			if c.Kind == kind && c.Known == nil {
				of = append(of, c)
			}
		}
		if len(of) == 0 {
			continue
		}
		p("\n%s\n%s\n", strings.ToUpper(string(kind)), strings.Repeat("-", len(kind)))
		for i, c := range of {
			if i == mostRows/4 {
				p("\n… and %d more\n", len(of)-i)
				break
			}
			b.WriteString(r.mailChange(c))
			told++
		}
	}
	r.mailKnown(p)
	if told > 0 {
		p("\n%s", para("", "In a history each mark is a night, the last one to the right: a dot passed, a letter failed (C corrupt, H hang, B bug, W warning, I EIO, D degraded, N errno), a small one failed in some trials, ? has no verdict."))
	}
	for _, problem := range r.Problems {
		p("\n%s", para("", problem))
	}
	if who, err := mail.ParseAddress(from.ReportedBy); err == nil && from.ReportedBy != "" {
		p("\nReported-by: %s\n", plainAddress(who))
	}
	p("\n-- \n%s\n", bisect.Tame(r.Tool))
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// plainAddress is an address as trailers have it.
func plainAddress(a *mail.Address) string {
	if a.Name == "" {
		return a.Address
	}
	return text.OneLine(a.Name) + " <" + a.Address + ">"
}

// mailChange is a change in some lines.
func (r Report) mailChange(c Change) string {
	var b strings.Builder
	at := r.kernel(c.After.Kernel)
	b.WriteString("\n" + bisect.Hanging("", "  ", c.Title()))
	row := func(name, value string) {
		if value != "" {
			b.WriteString(bisect.Hanging(fmt.Sprintf("  %-9s ", name), strings.Repeat(" ", 12), value))
		}
	}
	row("kernel", at.Name())
	row("now", c.After.told(r))
	if c.Before.Trials > 0 {
		row("before", c.Before.told(r)+" ("+strings.TrimSpace(r.kernel(c.Before.Kernel).Name()+" "+c.Before.Night)+")")
	}
	if h := r.series(r.history(c.Scenario, c.Case), at.Stream); len(h) > 1 {
		row("history", fmt.Sprintf("%s  %s to %s", marks(h, markNights), h[max(0, len(h)-markNights)].Night, h[len(h)-1].Night))
	}
	if c.Probability > 0 {
		row("sure", sure(c.Probability))
	}
	row("elsewhere", strings.Join(c.Elsewhere, "; "))
	if t := r.trial(c.Trial); t != nil {
		if c.After.Failures > 0 {
			row("because", t.Reason)
			for i, f := range t.Findings[:min(len(t.Findings), mailTitles)] {
				row([]string{"console", ""}[min(i, 1)], f.Title)
			}
		}
		if t.First != nil {
			row("first", t.First.Who)
		}
		for _, cmd := range t.Commands {
			b.WriteString(bisect.Hanging("  ", "  ", cmd.Does+":") + foldCommand("    ", cmd.Line))
		}
	}
	bis := r.bisection(c.Bisection)
	if bis == nil {
		return b.String()
	}
	row("culprit", bis.Found())
	if bis.First != nil && bis.Of == "commits" && bis.Grade != bisect.Doubtful && bis.Direction == string(bisect.Regression) {
		fmt.Fprintf(&b, "\n#regzbot introduced: %s\n", text.OneLine(bis.First.Hash))
	}
	return b.String()
}

// foldCommand breaks a command before its options, as a shell reads it.
func foldCommand(indent, line string) string {
	var b strings.Builder
	row := indent
	for i, part := range strings.Split(bisect.Tame(line), " -") {
		if i > 0 {
			part = " -" + part
		}
		if i > 0 && text.Columns(row+part)+2 > bisect.MailWidth {
			b.WriteString(row + " \\\n")
			row = indent + "  " + strings.TrimPrefix(part, " ")
			continue
		}
		row += part
	}
	return b.String() + row + "\n"
}

func (r Report) mailKnown(p func(string, ...any)) {
	first := true
	for _, c := range r.Changes {
		if c.Known == nil {
			continue
		}
		if first {
			p("\nKNOWN\n-----\n\n")
			first = false
		}
		p("%s", bisect.Hanging("", "  ", strings.TrimSpace(fmt.Sprintf("%s on %s: %s %s", c.Title(), r.kernel(c.After.Kernel).Name(), cmp.Or(c.Known.Note, string(c.Kind)), c.Known.Link))))
	}
}

// para is a paragraph.
func para(indent, s string) string { return bisect.Hanging(indent, indent, s) }

// recipients are those of the bisections' own reports whose changes are told.
func (r Report) recipients() (to, cc []string) {
	seen := map[string]bool{}
	add := func(list []string, m *mail.Message, field string) []string {
		addresses, err := m.Header.AddressList(field)
		if err != nil {
			return list
		}
		for _, a := range addresses {
			if key := strings.ToLower(a.Address); !seen[key] {
				seen[key] = true
				list = append(list, address(a))
			}
		}
		return list
	}
	for _, c := range r.Changes {
		b := r.bisection(c.Bisection)
		if b == nil || b.Text == "" || c.Known != nil {
			continue
		}
		m, err := mail.ReadMessage(bytes.NewReader([]byte(b.Text)))
		if err != nil {
			continue // it has no header, so nobody is named
		}
		to, cc = add(to, m, "To"), add(cc, m, "Cc")
	}
	return to, slices.Clip(cc)
}

// address is one as a mail's header has it.
func address(a *mail.Address) string {
	if a.Name == "" {
		return a.Address
	}
	name := a.Name
	if strings.ContainsFunc(name, func(r rune) bool { return strings.ContainsRune(`()<>[]:;@\,."`, r) }) {
		return a.String() // quoted
	}
	return mime.QEncoding.Encode("utf-8", name) + " <" + a.Address + ">"
}
