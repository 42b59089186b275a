package bisect

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// Context is what a text about one culprit says besides the answer.
type Context struct {
	Case     scenarios.Case // that was tried
	Scenario string         // name and case: "lvm-mirror-dio-read length=8192,memory_offset=32"
	BadWhen  *Expr          // the condition that was looked for; nil without one
	Also     []string       // what the commit brought, too: "triggers WARNING in bio_add_page"
	Failing  *Seen          // the trials of the culprit or, for a fix, of its parent; of the failing end without a culprit
	Passing  *Seen          // those of the other side
	Origin   Origin         // of the culprit
	People   People         // to write to
	Old, New string         // the ends as others know them
	Command  string         // the command that shows the failure, a line for each part of it
	Repeats  int            // trials of each kernel that it makes; 0 is one
	Bisect   string         // the command that found it
	Release  string         // of the failing kernel: uname -r
	Config   string         // where the kernel's config is, or what it was made of
	Machine  string         // "QEMU 7.2.22, q35, TCG, 1 CPU"
	Console  string         // of the failing trial, as the guest sent it: what matters
	Range    *Range         // instead of a commit: releases were bisected
	Folder   string         // where the whole record is
	Stable   bool           // the failing end is a stable release
}

// Origin says where others find a commit.
type Origin struct {
	Upstream string    // hash in the mainline, of a backport or of a commit that is in no tag itself
	Same     bool      // Upstream is known by the change itself, not by what the message says
	In       string    // the first release tag with it: "v6.18-rc1"
	Near     string    // of a commit without one, as git describe names it: "v6.18-rc3-12-g7eac33186957"
	Story    []Chapter // of a change that was taken back or applied again, in order; the culprit among them
}

// A Chapter is a commit that applies a change or takes it back.
type Chapter struct {
	Commit
	Reverts bool
}

// People are addresses, "Name <address>", in order and each once.
type People struct {
	Maintainers []string // of the files that the culprit changes
	Author      string
	Others      []string // reviewers, and whoever signed it off
	Lists       []string
	Left        int // further ones, left out
}

// Summary is the result for the terminal. Nothing in it comes unescaped from
// a repository or a guest.
func Summary(a *Answer, c Context) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	verb := "first bad"
	if a.Direction == Fix {
		verb = "first fixed"
	}
	switch {
	case a.First != nil:
		p("%s: %s\n", verb, named(*a.First))
		if a.First.Author != "" {
			p("  author %s, %s\n", text.Escape(a.First.Author), a.First.Date.Format(time.DateOnly))
		}
		if len(a.First.Tags) > 0 && c.Range == nil {
			p("  in %s\n", text.Escape(strings.Join(a.First.Tags, ", ")))
		}
		b.WriteString(strings.TrimSuffix(c.Origin.text(a, c), "\n"))
	case a.Stopped == StopInconclusive:
		p("%s: not found; nothing shows that the ends differ\n", verb)
	case len(a.Among) == 0:
		p("%s: not found; it is %s\n", verb, oneOf(a))
	default:
		p("%s: one of %d commits (those that can't be tried among them)\n", verb, len(a.Among))
		for _, m := range a.Among {
			p("  %s\n", named(m))
		}
	}
	if c.Range != nil {
		kind := "stable"
		if c.Range.Mainline {
			kind = "mainline"
		}
		p("  %s range %s\n", kind, c.Range)
		if c.Range.Note != "" {
			p("  (%s)\n", c.Range.Note)
		}
	}
	if a.Became != nil {
		if a.Direction == Fix {
			p("on the way, at %s, %s had become %s\n", named(*a.Became), a.Target.Signature, *a.Began)
		} else {
			p("it began there as %s and became %s at %s\n", *a.Began, a.Target.Signature, named(*a.Became))
		}
	}
	p("\nthis is %s", strings.ToUpper(string(a.Grade)))
	if len(a.Why) > 0 {
		p(": %s", text.Escape(strings.Join(a.Why, "; ")))
	}
	p("\n")
	b.WriteString(checks(a))
	p("\nlooked for %s\n", text.Escape(a.Target.String()))
	for _, also := range c.Also {
		p("  with it, it also %s\n", text.OneLine(also))
	}
	for _, t := range c.titles(a) {
		p("  seen with %s\n", Tame(t))
	}
	if a.Stopped != StopInconclusive {
		p("%s; %d passes in a row make one good\n", rates(a), a.PassesNeeded)
	}
	p("%s, %d trials in %s, %s\n", text.Count(a.Steps, "step"), a.Trials, text.Count(a.Boots, "boot"), spent(a.Seconds))
	for _, r := range a.Marks {
		switch {
		case r.Other != nil:
			p("another bug at %s: %s\n", short(r.Commit), text.Escape(r.Why))
		case r.Mark == Skip:
			p("skipped %s: %s\n", short(r.Commit), text.Escape(r.Why))
		case len(r.Drift) > 0:
			p("other titles at %s: %s\n", short(r.Commit), text.Escape(strings.Join(r.Drift, "; ")))
		}
	}
	if c.Folder != "" {
		p("record in %s\n", text.Escape(c.Folder))
	}
	return b.String()
}

// Report is a text to send, in the form that the kernel's
// Documentation/admin-guide/reporting-regressions.rst asks for; for a fix, one
// that asks for it to be taken into stable.
func Report(a *Answer, c Context) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	since := introduced(a, c)
	s := symptomOf(a.Target, c.BadWhen, c.Failing)
	what := Tame(headline(c.Case, s))
	switch {
	case a.Stopped == StopInconclusive:
		b.WriteString(Header("Subject", " ", strings.Fields(what+" now and then")...))
	case a.Direction == Fix:
		b.WriteString(Header("Subject", " ", strings.Fields(fmt.Sprintf("%s: fixed by %s", what, since.title))...))
	default:
		b.WriteString(Header("Subject", " ", strings.Fields(fmt.Sprintf("[REGRESSION] %s (since %s)", what, since.short))...))
	}
	if a.Grade == Doubtful {
		c.People = People{} // whose commit it may not be
	}
	var to, cc []string
	if a.Stopped != StopInconclusive { // nobody's business
		to, cc = c.recipients(a.Direction)
	}
	p("%s%s\n", Header("To", ", ", to...), Header("Cc", ", ", cc...))
	b.WriteString(c.opening(a, s))
	if a.Became != nil {
		became := fmt.Sprintf("It became %q with %s.", a.Target.Signature, named(*a.Became))
		if a.Direction == Fix {
			became = fmt.Sprintf("Before that, %q had become %q with %s.", a.Target.Signature, a.Began.String(), named(*a.Became))
		}
		p("%s\n", wrap(became))
	}
	also := slices.DeleteFunc(slices.Clone(c.Also), func(also string) bool { return strings.Contains(what, also) })
	if len(also) > 0 {
		p("%s\n", wrap("The same change is the first with which it "+strings.Join(also, ", or ")+"."))
	}
	b.WriteString(c.shown(a))
	b.WriteString(c.Origin.text(a, c))
	switch {
	case a.Stopped == StopInconclusive: // nothing for a tracker
	case a.Direction != Fix:
		p("#regzbot introduced: %s\n\n", since.exact)
	default:
		p("%s\n", wrap("Stable series that fail would need it."))
	}
	if c.Command != "" {
		p("To reproduce")
		if c.Range == nil && strings.Contains(c.Command, " git:") {
			p(", beside a clone of the kernel in ./linux")
		}
		p(":\n%s", text.EscapeLines(indent(c.Command)))
		if c.Repeats > 1 {
			b.WriteString(wrap(fmt.Sprintf("It shows in %s only: %d trials show it with a probability of %d %%.", inTrials(a.FailRate), c.Repeats, int(100*Reproduced))))
		}
		p("\n")
	}
	if c.Console != "" {
		p("From the kernel's log, with the failure:\n%s\n", Defang(c.Console))
	}
	p("How sure this is: %s.\n", a.Grade)
	for _, w := range a.Why {
		b.WriteString(Hanging("  ", "  ", w))
	}
	b.WriteString(checks(a))
	p("\n%s", wrap(fmt.Sprintf("How it was found: %s between %s and %s, %d trials in %s.",
		text.Count(a.Steps, "step"), short(c.Old), short(c.New), a.Trials, text.Count(a.Boots, "boot"))))
	if a.Stopped != StopInconclusive {
		b.WriteString(wrap(strings.ToUpper(rates(a)[:1]) + rates(a)[1:] + "."))
	}
	p("\n")
	for _, l := range []struct{ name, value string }{{"Scenario", c.Scenario}, {"Kernel", c.Release}, {"Config", c.Config}, {"Machine", c.Machine}} {
		if l.value != "" {
			b.WriteString(Hanging(fmt.Sprintf("%-10s", l.name+":"), strings.Repeat(" ", 10), l.value))
		}
	}
	if c.People.Left > 0 {
		b.WriteString(Hanging("", "", fmt.Sprintf("The commit touches files of many: %d more of their maintainers, reviewers and lists are left out above.", c.People.Left)))
	}
	if c.Bisect != "" {
		p("To bisect:\n%s", text.EscapeLines(indent(c.Bisect)))
	}
	if a.Log != "" && c.Range == nil {
		p("\nBisection log:\n")
		for line := range strings.Lines(a.Log) {
			p("  %s\n", text.Escape(strings.TrimRight(line, "\n")))
		}
	}
	return b.String()
}

// recipients are those that a mail should go to.
func (c Context) recipients(d Direction) (to, cc []string) {
	to, cc = c.People.Maintainers, slices.Concat([]string{c.People.Author}, c.People.Others, c.People.Lists)
	if d == Fix {
		to, cc = []string{c.People.Author}, slices.Concat([]string{"stable@vger.kernel.org"}, c.People.Maintainers, c.People.Others, c.People.Lists)
	} else {
		cc = append(cc, "regressions@lists.linux.dev")
		if c.Stable {
			cc = append(cc, "stable@vger.kernel.org")
		}
	}
	seen := map[string]bool{"": true}
	once := func(list []string) (out []string) {
		for _, a := range list {
			if key := strings.ToLower(address(a)); !seen[key] {
				seen[key] = true
				out = append(out, text.OneLine(a))
			}
		}
		return out
	}
	to, cc = once(to), once(cc)
	if len(to) == 0 && len(cc) > 0 {
		to, cc = cc[:1], cc[1:]
	}
	return to, cc
}

// address is that of "Name <address>".
func address(who string) string {
	if i := strings.LastIndexByte(who, '<'); i >= 0 {
		return strings.TrimSuffix(who[i+1:], ">")
	}
	return who
}

// opening says what happens, and since when.
func (c Context) opening(a *Answer, s symptom) string {
	doing := describe(c.Case, a.Target.Signature.Step, a.Target.Signature.Nth)
	if s.setup {
		doing = "setting up " + cmp.Or(stackName(c.Case), "the disks")
	}
	happens := strings.TrimSpace(cmp.Or(doing, text.OneLine(c.Scenario)) + " " + s.does())
	var out string
	switch {
	case a.Stopped == StopInconclusive:
		return wrap("Nothing shows that anything changed: both ends fail now and then.") + "\n"
	case a.First == nil && len(a.Among) == 0:
		out = fmt.Sprintf("With %s, %s; with %s it %s. The change is one commit or release that I could not find: it is %s.",
			c.failingEnd(a), happens, c.passingEnd(a), c.passes(), oneOf(a))
	case a.First == nil:
		out = wrap(fmt.Sprintf("With one of the following commits, %s; those between could not be tried.", happens))
		for _, m := range a.Among {
			out += Hanging("  ", "    ", named(m))
		}
		return out + "\n"
	case c.Range != nil:
		fails := map[Direction]string{Regression: "fails", Fix: "no longer fails"}[a.Direction]
		out = fmt.Sprintf("This changed in %s: %s is the first release that I could try and that %s. With %s, %s; with %s it %s.",
			c.Range, text.Escape(a.First.Title), fails, c.Failing.name("it"), happens, c.Passing.name("the one before"), c.passes())
		if c.Range.Note != "" {
			out += " (" + c.Range.Note + ")"
		}
	default:
		first := "commit " + named(*a.First)
		if c.Origin.In != "" && strings.HasSuffix(first, ")") {
			first = strings.TrimSuffix(first, ")") + ", first in " + c.Origin.In + ")"
		}
		if a.Became != nil {
			happens = cmp.Or(doing, c.Scenario) + fmt.Sprintf(" ends with %q", a.Began.String())
		}
		if sure := map[Grade]string{Likely: "Probably ", Doubtful: "Perhaps, but see below, "}[a.Grade]; a.Direction == Fix {
			out = fmt.Sprintf("%sbefore %s, %s. With that commit it %s.", sure, first, happens, c.passes())
		} else {
			out = fmt.Sprintf("%ssince %s, %s. With its parent it %s.", sure, first, happens, c.passes())
		}
		out = strings.ToUpper(out[:1]) + out[1:]
	}
	return wrap(text.OneLine(out)) + "\n"
}

func (c Context) failingEnd(a *Answer) string {
	if a.Direction == Fix {
		return short(c.Old)
	}
	return short(c.New)
}

func (c Context) passingEnd(a *Answer) string {
	if a.Direction == Fix {
		return short(c.New)
	}
	return short(c.Old)
}

// returned is an errno or a number of bytes.
var returned = regexp.MustCompile(`^(E[A-Z0-9]+|[0-9]+ bytes?)$`)

// passes says what the step does where it does not fail.
func (c Context) passes() string {
	if c.Passing == nil || c.Passing.Hits == c.Passing.Runs || !returned.MatchString(c.Passing.Said) {
		return "does not"
	}
	return "returns " + text.OneLine(c.Passing.Said)
}

func (s *Seen) name(or string) string {
	if s == nil || s.Name == "" {
		return or
	}
	return short(text.OneLine(s.Name))
}

// shown is what the trials of both sides showed.
func (c Context) shown(a *Answer) string {
	var b strings.Builder
	for _, s := range []*Seen{c.Failing, c.Passing} {
		if s != nil && s.Runs > 0 {
			b.WriteString(Hanging("  ", "      ", fmt.Sprintf("with %s: %s", s.name("it"), seen(s.Hits, s.Runs, s.Boots))))
		}
	}
	if c.Failing == nil {
		return list(b.String(), "Seen with it:", a.Target.Titles)
	}
	for _, l := range c.Failing.Legs {
		b.WriteString(Hanging("  ", "      ", "a leg was failed: "+l))
	}
	if c.Failing.First != "" {
		b.WriteString(Hanging("  ", "      ", "failed first: "+c.Failing.First))
	}
	only := c.titles(a)
	if c.BadWhen != nil {
		b.WriteString(Hanging("  ", "      ", "looked for: "+c.BadWhen.String()))
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	if len(only) == 0 && c.Failing.Hits > 0 {
		return b.String() + "The kernel's log says nothing about it.\n\n"
	}
	return list(b.String(), "In the kernel's log with the failure only:", only)
}

// titles are what the kernel says with the failure only: in the culprit's
// trials and not in those of the other side or, where neither is known, what
// the failing end said.
func (c Context) titles(a *Answer) []string {
	if c.Failing == nil {
		return a.Target.Titles
	}
	return slices.DeleteFunc(slices.Clone(c.Failing.Titles), func(t string) bool {
		return c.Passing != nil && slices.Contains(c.Passing.Others, t)
	})
}

// list adds titles, one a line.
func list(before, head string, titles []string) string {
	if len(titles) == 0 {
		return before
	}
	before += head + "\n"
	for _, t := range titles {
		before += Hanging("  ", "    ", t)
	}
	return before + "\n"
}

// text says where others find the culprit, and whether it was taken back.
func (o Origin) text(a *Answer, c Context) string {
	if a.First == nil {
		return ""
	}
	var out string
	switch {
	case o.Upstream != "" && o.Same:
		out = wrap(fmt.Sprintf("Commit %s is in no release tag; upstream, the same change is commit %s.", short(a.First.Hash), o.Upstream)) + "\n"
	case o.Upstream != "":
		out = wrap(fmt.Sprintf("It is the backport of upstream commit %s.", o.Upstream)) + "\n"
	case o.In == "" && o.Near != "":
		out = wrap(fmt.Sprintf("It is in no release tag that I know; git describes it as %s.", o.Near)) + "\n"
	}
	if len(o.Story) < 2 {
		return out
	}
	out += wrap("This change was taken back or applied again:")
	for _, s := range o.Story {
		what := "applies it"
		if s.Reverts {
			what = "takes it back"
		}
		if s.Hash == a.First.Hash {
			what += " (the one found)"
		}
		out += Hanging("  ", "    ", fmt.Sprintf("%s %s", named(s.Commit), what))
	}
	last := o.Story[len(o.Story)-1]
	if last.Reverts {
		return out + wrap(fmt.Sprintf("%s does not have it: the last of these is %s.", short(c.New), short(last.Hash))) + "\n"
	}
	return out + wrap(fmt.Sprintf("%s has the one of %s.", short(c.New), short(last.Hash))) + "\n"
}

// Header is a header field of a mail, folded between its parts (RFC 5322); ""
// without any.
func Header(name, between string, parts ...string) string {
	if len(parts) == 0 {
		return ""
	}
	line, out := name+": "+parts[0], ""
	for _, part := range parts[1:] {
		if text.Columns(line+between+part) > MailWidth {
			out += line + strings.TrimRight(between, " ") + "\n"
			line = " " + part
			continue
		}
		line += between + part
	}
	return out + line + "\n"
}

// Hanging wraps a text whose first line begins with one indent and each other
// with another.
func Hanging(first, others, s string) string {
	var b strings.Builder
	for i, line := range text.Wrap(Tame(s), MailWidth-len(others)) {
		b.WriteString(map[bool]string{true: first, false: others}[i == 0] + line + "\n")
	}
	return b.String()
}

// indent shifts lines to the right, as what is to be copied.
func indent(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString("  " + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}

// Reproduced is how probable it is that a command to reproduce a failure shows
// it.
const Reproduced = .99

// checks lists the checks, one a line.
func checks(a *Answer) string {
	var b strings.Builder
	list := func(checks []Check) {
		for _, k := range checks {
			line := k.Name
			if k.Why != "" {
				line += " (" + k.Why + ")"
			}
			b.WriteString(Hanging(fmt.Sprintf("  %-12s  ", k.Result), strings.Repeat(" ", 16), line))
		}
	}
	list(a.Checks)
	if a.Became != nil {
		fmt.Fprintf(&b, "  for the second change, %s:\n", short(text.Escape(a.Became.Hash)))
		list(a.BecameChecks)
	}
	return b.String()
}

// oneOf names what an answer without a commit leaves.
func oneOf(a *Answer) string {
	if a.Between == nil {
		return "between the ends"
	}
	var old []string
	for _, o := range a.Between.Old {
		old = append(old, short(text.Escape(o)))
	}
	return fmt.Sprintf("one of %d after %s, up to %s", a.Between.Commits, strings.Join(old, " and "), short(text.Escape(a.Between.New)))
}

type since struct{ short, title, exact string }

// introduced is the commit or the range that a tracker gets. Others know a
// commit that is in no release tag by the one upstream, if there is one.
func introduced(a *Answer, c Context) since {
	switch {
	case c.Range != nil:
		return since{c.Range.String(), c.Range.String(), c.Range.String()}
	case a.First != nil && a.Grade != Doubtful:
		hash := text.Escape(a.First.Hash)
		if c.Origin.Same {
			hash = c.Origin.Upstream
		}
		return since{short(hash), short(hash) + " (\"" + text.OneLine(a.First.Title) + "\")", hash}
	}
	between := func(old, new string) since {
		old, new = text.Escape(old), text.Escape(new)
		s := short(old) + ".." + short(new)
		return since{s, s, old + ".." + new}
	}
	// What is certain: the part of the history that is left or, where marks
	// contradict, only the ends.
	if b := a.Between; b != nil && len(b.Old) == 1 {
		return between(b.Old[0], b.New)
	}
	return between(c.Old, c.New)
}

func named(c Commit) string {
	if c.Title == "" || c.Title == c.Hash {
		return text.Escape(c.Hash)
	}
	return fmt.Sprintf("%s (\"%s\")", short(text.Escape(c.Hash)), text.Escape(c.Title))
}

// rates says how often kernels on either side of the change failed.
func rates(a *Answer) string {
	failing, others := "kernels from it on", "those before it"
	if a.Direction == Fix {
		failing, others = "kernels before it", "those from it on"
	}
	return fmt.Sprintf("%s failed in %s, %s in %s", failing, inTrials(a.FailRate), others, inTrials(a.FalseRate))
}

func inTrials(r Rate) string {
	if r.Runs == 0 {
		return "no trial"
	}
	text := fmt.Sprintf("%d of %d trials", r.Hits, r.Runs)
	if r.Hits > 0 && r.Hits < r.Runs {
		text += fmt.Sprintf(" (%.2g%%)", 100*float64(r.Hits)/float64(r.Runs))
	}
	return text
}

func spent(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

// MailWidth is where mails to the kernel's lists are broken, in columns.
const MailWidth = 72

// wrap breaks a paragraph.
func wrap(s string) string { return strings.Join(text.Wrap(Tame(s), MailWidth), "\n") + "\n" }

// Tame makes one line of a text that may hold what a stranger wrote, such as a
// commit's title, without commands to a tracker.
func Tame(s string) string { return regzbotCommand.ReplaceAllString(text.OneLine(s), "# $1") }

const (
	consoleLines = 80  // of an excerpt
	consoleWidth = 300 // of a line, characters
)

var (
	regzbotCommand = regexp.MustCompile(`(?i)#(\s*(regzbot|syz|forregzbot))`)
	scissors       = regexp.MustCompile(`^[\s|<>8%-]*(8<|>8|%<|>%)[\s|<>8%-]*$`)
	trailer        = regexp.MustCompile(`(?i)^(\s*[a-z-]+-by|\s*fixes|\s*closes|\s*link|\s*cc):`)
)

// Defang makes console text of unknown origin safe to mail: no control codes,
// nothing that a tracker takes for a command, a mail tool for a patch, a
// trailer or a signature, and no more of it than a mail bears. Each line
// begins with "| ".
func Defang(console string) string {
	var lines []string
	for line := range strings.Lines(strings.TrimRightFunc(console, unicode.IsSpace)) {
		line = strings.TrimRightFunc(line, unicode.IsSpace)
		line = strings.ReplaceAll(line, "\t", "    ")
		line = text.Escape(line)
		if utf8.RuneCountInString(line) > consoleWidth {
			line = string([]rune(line)[:consoleWidth]) + " …"
		}
		line = regzbotCommand.ReplaceAllString(line, "# $1")
		if scissors.MatchString(line) {
			line = "(a line of scissors)"
		}
		line = trailer.ReplaceAllString(line, "$1 :")
		lines = append(lines, line)
	}
	var b strings.Builder
	for i, line := range lines {
		if cut := len(lines) - consoleLines; cut > 0 && i == consoleLines*3/4 {
			fmt.Fprintf(&b, "| … %d lines left out …\n", cut)
		}
		if cut := len(lines) - consoleLines; cut > 0 && i >= consoleLines*3/4 && i < consoleLines*3/4+cut {
			continue
		}
		b.WriteString(strings.TrimRight("| "+line, " ") + "\n")
	}
	return b.String()
}
