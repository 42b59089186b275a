package hunt

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/text"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string

	page = template.Must(template.New("page").Parse(pageHTML))
)

// mostDoubtful is how many suspects that no trial showed a page lists.
const mostDoubtful = 100

// A pageView is what page.html shows. All text goes through the template's
// escaping, and the page's policy (CSP) allows no program at all.
type pageView struct {
	Policy, Title, Name, Headline, Coverage string

	Style       template.CSS
	Seed        uint64
	Facts       []pageFact
	Findings    []pageFinding
	Done, Pairs int
	Stacks      []pageStack
	Known       []string
	Earlier     []string
	LeftOut     []string
	Doubtful    []pageSuspect
}

type pageFact struct {
	Name  string
	Value any
}

type pageFinding struct {
	Mark, Class, Stack, Says, ID, Scenario, Report string

	Lines []pageFact
}

type pageStack struct {
	Name string
	Tally
}

type pageSuspect struct{ Stack, Says, Seen string }

// HTML writes a page of what a hunt found, that needs nothing else: no network,
// no other file, no program.
func (s *State) HTML(w io.Writer, name string, known []Known) error {
	sum := sha256.Sum256([]byte(pageCSS))
	v := pageView{
		Policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'",
		Style:  template.CSS(pageCSS), Name: name, Seed: s.Request.Seed,
		Title:    text.OneLine("Hunt on " + cmp.Or(s.Release, s.Request.Kernel)),
		Headline: cmp.Or(s.counts(), "Nothing was found"), Coverage: strings.ToUpper(s.Coverage()[:1]) + s.Coverage()[1:] + ".",
		Done: min(s.Next, s.Pairs), Pairs: max(1, s.Pairs),
		Facts: []pageFact{
			{"findings", len(s.Findings)},
			{"operations", s.Operations()},
			{"a minute", fmt.Sprintf("%.0f", s.Rate())},
			{"a minute of CPU time", fmt.Sprintf("%.0f", s.RateOfCPU())},
			{"machines", s.Machines},
			{"time", (time.Duration(s.SpentMS) * time.Millisecond).Round(time.Second)},
		},
	}
	if said := s.saysTwisted(); said != "" {
		v.Coverage += " Programs: " + said + "."
	}
	if len(s.Groups) > 1 {
		v.Done, v.Pairs = s.covered(), len(s.StackNames())
	}
	for _, f := range s.Earlier {
		if f.Now != "" {
			v.Earlier = append(v.Earlier, text.OneLine(fmt.Sprintf("%s: %s %s: %s", f.Now, f.Stack, f.Class, f.Says)))
		}
	}
	for _, l := range s.LeftOut[:min(len(s.LeftOut), mostDoubtful)] {
		v.LeftOut = append(v.LeftOut, text.OneLine(l.Stack+": "+l.Why))
	}
	if n := len(s.LeftOut) - mostDoubtful; n > 0 {
		v.LeftOut = append(v.LeftOut, fmt.Sprintf("and %d more stacks", n))
	}
	for _, f := range Worst(s.Findings) {
		v.Findings = append(v.Findings, f.page())
	}
	for _, stack := range append([]string{Plain}, s.StackNames()...) {
		if n := s.Tallies[stack]; n != nil {
			v.Stacks = append(v.Stacks, pageStack{text.OneLine(stack), *n})
		}
	}
	for _, k := range known {
		if n := s.Known[k.Name]; n > 0 {
			v.Known = append(v.Known, text.OneLine(fmt.Sprintf("%s shows: %d suspects. %s", k.Name, n, k.About)))
		}
	}
	for _, gone := range s.Gone(known) {
		v.Known = append(v.Known, text.OneLine(gone+" does not show any more."))
	}
	for _, d := range s.Doubtful[:min(len(s.Doubtful), mostDoubtful)] {
		seen := append(append([]string{}, d.Seen...), d.Answers...)
		v.Doubtful = append(v.Doubtful, pageSuspect{text.OneLine(d.Stack), text.OneLine(d.Program.String()), text.OneLine(strings.Join(seen, ", "))})
	}
	if err := page.Execute(w, v); err != nil {
		return fmt.Errorf("write the page of a hunt: %w", err)
	}
	return nil
}

// page is what a page says of a finding.
func (f *Finding) page() pageFinding {
	v := pageFinding{
		Mark: strings.ReplaceAll(string(f.Class), " ", "-"), Class: string(f.Class), Stack: text.OneLine(f.Stack), Says: text.OneLine(f.Says),
		ID: text.OneLine(f.ID), Scenario: f.Scenario, Report: f.Report(),
	}
	line := func(name, value string) {
		if value != "" {
			v.Lines = append(v.Lines, pageFact{name, text.OneLine(value)})
		}
	}
	line("before it", strings.Join(f.Before, "; "))
	line("beside it", f.Twist.String())
	line("answer", cmp.Or(f.Outcome, "none"))
	line("reason", f.Reason)
	line("plain disk", f.Plain)
	line("other kernel", f.Since)
	line("bisected", strings.Join(f.Bisection.Lines(goesOn), "; "))
	line("failed first", f.First)
	line("log", strings.Join(f.Titles, "; "))
	line("found", fmt.Sprintf("after %v, by program %d on %s; %d trials", (time.Duration(f.SpentMS)*time.Millisecond).Round(time.Second), f.Number, f.Hunted, f.Trials))
	return v
}
