package bisect

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/blockrig/blockrig/harness/text"
)

// Context is what a text says besides the answer.
type Context struct {
	Scenario string // name and case: "lvm-mirror-dio-read length=8192,memory_offset=32"
	About    string // the scenario, in a sentence
	Old, New string // the ends as the user named them
	Command  string // the command that shows the failure on the failing end
	Bisect   string // the command that found it
	Release  string // of the failing end's kernel: uname -r
	Config   string // where the kernel's config is, or what it was made of
	Machine  string // "QEMU 7.2.22, q35, TCG, 1 CPU"
	Console  string // of one failing trial, as the guest sent it
	Range    *Range // instead of a commit: releases were bisected
	Folder   string // where the whole record is
	Stable   bool   // the failing end is a stable release
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
	p("\nlooked for %s\n", a.Target.Signature)
	for _, t := range a.Target.Titles {
		p("  seen with %s\n", text.Escape(t))
	}
	if a.Stopped != StopInconclusive {
		p("%s; %d passes in a row make one good\n", rates(a), a.PassesNeeded)
	}
	p("%s, %d trials in %s, %s\n", inSteps(a.Steps), a.Trials, inBoots(a.Boots), spent(a.Seconds))
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
	what := a.Target.Signature.String()
	since := introduced(a, c)
	if a.Direction == Fix {
		p("Subject: %s: fixed by %s\n", what, since.short)
	} else {
		p("Subject: [REGRESSION] %s since %s\n", what, since.short)
	}
	if a.First != nil && a.First.Author != "" {
		p("To: %s\n", text.Escape(a.First.Author))
	}
	switch {
	case a.Direction == Fix:
		p("Cc: stable@vger.kernel.org\n")
	case c.Stable:
		p("Cc: regressions@lists.linux.dev, stable@vger.kernel.org\n")
	default:
		p("Cc: regressions@lists.linux.dev\n")
	}
	p("\n")
	failing, passing := "the commit", "its parent"
	if a.Direction == Fix {
		failing, passing = passing, failing
	}
	if c.About != "" {
		p("%s\n", wrap(text.OneLine(c.About)))
	}
	switch {
	case a.Stopped == StopInconclusive:
		p("%s\n", wrap("Nothing shows that anything changed: both ends fail now and then."))
	case a.First == nil && len(a.Among) == 0:
		p("%s\n", wrap(fmt.Sprintf("This changed with one commit or release that I could not find: it is %s.", oneOf(a))))
	case a.First == nil:
		p("%s\n", wrap("This changed with one of the following commits; those between could not be tried."))
		for _, m := range a.Among {
			p("  %s\n", named(m))
		}
		p("\n")
	case c.Range != nil:
		p("%s\n", wrap(fmt.Sprintf("It changed in %s: %s is the first release that I could try and that %s.",
			c.Range, text.Escape(a.First.Title), map[Direction]string{Regression: "fails", Fix: "no longer fails"}[a.Direction])))
		if c.Range.Note != "" {
			p("%s\n", wrap("("+c.Range.Note+")"))
		}
	default:
		first := what
		if a.Became != nil {
			first = a.Began.String()
		}
		p("%s\n", wrap(fmt.Sprintf("The outcome changed with commit %s. With %s the result is %q, with %s it passes.",
			named(*a.First), failing, first, passing)))
	}
	if a.Became != nil {
		became := fmt.Sprintf("It became %q with %s.", what, named(*a.Became))
		if a.Direction == Fix {
			became = fmt.Sprintf("Before that, %q had become %q with %s.", what, a.Began.String(), named(*a.Became))
		}
		p("%s\n", wrap(became))
	}
	switch {
	case a.Stopped == StopInconclusive: // nothing for a tracker
	case a.Direction != Fix:
		p("#regzbot introduced: %s\n\n", since.exact)
	default:
		p("%s\n", wrap("Stable series that fail would need it."))
	}
	p("How sure this is: %s.\n", a.Grade)
	for _, w := range a.Why {
		p("  %s\n", text.Escape(w))
	}
	b.WriteString(checks(a))
	p("\nHow it was found: %s between %s and %s, %d trials in %s.\n",
		inSteps(a.Steps), text.Escape(c.Old), text.Escape(c.New), a.Trials, inBoots(a.Boots))
	if a.Stopped != StopInconclusive {
		p("%s.\n", strings.ToUpper(rates(a)[:1])+rates(a)[1:])
	}
	if len(a.Target.Titles) > 0 {
		p("Seen with it:\n")
		for _, t := range a.Target.Titles {
			p("  %s\n", text.Escape(t))
		}
	}
	p("\nScenario: %s\n", text.Escape(c.Scenario))
	if c.Release != "" {
		p("Kernel:   %s\n", text.Escape(c.Release))
	}
	if c.Config != "" {
		p("Config:   %s\n", text.Escape(c.Config))
	}
	if c.Machine != "" {
		p("Machine:  %s\n", text.Escape(c.Machine))
	}
	if c.Command != "" {
		p("To reproduce:\n  %s\n", text.Escape(c.Command))
	}
	if c.Bisect != "" {
		p("To bisect:\n  %s\n", text.Escape(c.Bisect))
	}
	if c.Console != "" {
		p("\nConsole:\n%s", Defang(c.Console))
	}
	if a.Log != "" && c.Range == nil {
		p("\nBisection log:\n")
		for line := range strings.Lines(a.Log) {
			p("  %s\n", text.Escape(strings.TrimRight(line, "\n")))
		}
	}
	return b.String()
}

// checks lists the checks, one a line.
func checks(a *Answer) string {
	var b strings.Builder
	list := func(checks []Check) {
		for _, k := range checks {
			fmt.Fprintf(&b, "  %-12s  %s", k.Result, k.Name)
			if k.Why != "" {
				fmt.Fprintf(&b, " (%s)", text.Escape(k.Why))
			}
			b.WriteString("\n")
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

type since struct{ short, exact string }

// introduced is the commit or the range that a tracker gets.
func introduced(a *Answer, c Context) since {
	switch {
	case c.Range != nil:
		return since{c.Range.String(), c.Range.String()}
	case a.First != nil && a.Grade != Doubtful:
		return since{short(a.First.Hash) + " (\"" + text.Escape(a.First.Title) + "\")", a.First.Hash}
	}
	// What is certain: the part of the history that is left or, where marks
	// contradict, only the ends.
	if b := a.Between; b != nil && len(b.Old) == 1 {
		return since{short(text.Escape(b.Old[0])) + ".." + short(text.Escape(b.New)), text.Escape(b.Old[0]) + ".." + text.Escape(b.New)}
	}
	return since{short(text.Escape(c.Old)) + ".." + short(text.Escape(c.New)), text.Escape(c.Old) + ".." + text.Escape(c.New)}
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

// wrap breaks a paragraph at 72 columns, as mails to the kernel's lists are.
func wrap(s string) string { return strings.Join(text.Wrap(s, 72), "\n") + "\n" }

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
	for line := range strings.Lines(console) {
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

// TestedBy is a text to send as an answer to a patch.
func TestedBy(r PatchResult, who string, c Context) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", wrap(text.Escape(r.Sentence())))
	if c.Scenario != "" {
		fmt.Fprintf(&b, "Scenario: %s\n", text.Escape(c.Scenario))
	}
	if c.Release != "" {
		fmt.Fprintf(&b, "Kernel:   %s\n", text.Escape(c.Release))
	}
	if c.Machine != "" {
		fmt.Fprintf(&b, "Machine:  %s\n", text.Escape(c.Machine))
	}
	if c.Command != "" {
		fmt.Fprintf(&b, "To reproduce:\n  %s\n", text.Escape(c.Command))
	}
	if r.Effect == Helps && len(r.Appeared) == 0 && r.Patched.Errors+r.Patched.BootFailures == 0 {
		fmt.Fprintf(&b, "\nTested-by: %s\n", text.Escape(who))
	}
	return b.String()
}
