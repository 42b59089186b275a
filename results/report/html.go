package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string

	page = template.Must(template.New("page").Parse(pageHTML))
)

const (
	smallConsole = 4 << 10 // bytes, packed: with less room than that, none is tried
	mostPacking  = 30      // a console is not packed better than to a part of so many
	// consoleElement is what the element of one takes besides, in bytes.
	consoleElement = 80
	// sparePage is room for all of a page but data, consoles, program and style.
	sparePage = 256 << 10
	// pointNumbers is how many numbers a point of a history has in a page.
	pointNumbers = 9
	// fewestNights of a history are never cut.
	fewestNights = 8
)

// MaxPage is the size of the largest page, in bytes.
const MaxPage = 5_000_000

// HTML writes the report as one page that needs nothing else: no network, no
// other file. Consoles come from files, the folder that trials' folders are
// below; as many as fit into MaxPage, those of changes first. The others' are
// there around their findings, or not at all.
//
// Nothing that the report holds is markup or code: its data are packed JSON in
// a script element that is not run, the page's program puts them into text
// nodes only, and the policy (CSP) allows no program and style but its own.
func HTML(w io.Writer, r Report, files fs.FS) error {
	p := newPageData(r)
	size, err := p.fit()
	if err != nil {
		return err
	}
	consoles, err := p.consoles(files, MaxPage-size-len(pageJS)-len(pageCSS)-sparePage)
	if err != nil {
		return err
	}
	return p.write(w, consoles, false)
}

// livePage is what a page shows that asks its server for consoles.
func livePage(r Report, files fs.FS) (*pageData, error) {
	p := newPageData(r)
	if _, err := p.fit(); err != nil {
		return nil, err
	}
	p.askedFor(files)
	return p, nil
}

// write writes the page, with the consoles that it brings along.
func (p *pageData) write(w io.Writer, consoles []pageConsole, live bool) error {
	data, err := p.packed()
	if err != nil {
		return err
	}
	r := p.Report
	all := r.totals()
	v := pageView{
		Policy: policy(live), Style: template.CSS(pageCSS), Script: template.JS(pageJS), Live: live,
		Title: text.OneLine(r.Title), Tool: text.OneLine(r.Tool), Made: r.Made.UTC().Format(time.RFC3339), When: r.Made.UTC().Format("2 January 2006, 15:04 UTC"),
		Headline: p.Headline, Data: template.HTML(data), Consoles: consoles,
		Facts: []pageFact{
			{"trials", all.Trials},
			{"failed", all.Failures},
			{"no verdict", all.Errors},
			{"cases", len(r.Cases)},
			{"kernels", len(r.Kernels)},
			{"runs", len(r.Runs)},
		},
	}
	if r.HuntTrials > 0 {
		v.Facts = append(v.Facts, pageFact{"trials of hunts", r.HuntTrials})
	}
	for _, problem := range r.Problems {
		v.Problems = append(v.Problems, text.OneLine(problem))
	}
	for _, h := range r.Hunted[:min(len(r.Hunted), mostRows)] {
		for _, s := range []*string{&h.Kernel, &h.Class, &h.Stack, &h.Program, &h.Answer, &h.Scenario} {
			*s = text.OneLine(*s)
		}
		h.Bisected = slices.Clone(h.Bisected)
		for i, s := range h.Bisected {
			h.Bisected[i] = text.OneLine(s)
		}
		v.Hunted = append(v.Hunted, h)
	}
	for _, c := range r.Changes[:min(len(r.Changes), mostRows)] {
		v.Changes = append(v.Changes, pageChange{c.Kind, text.OneLine(c.Title()), text.OneLine(r.kernel(c.After.Kernel).Name()), text.OneLine(c.Before.told(r)), text.OneLine(c.After.told(r))})
	}
	if err := page.Execute(w, v); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// pageView is what page.html shows.
type pageView struct {
	Policy, Title, Tool, Made, When, Headline string

	Style    template.CSS
	Script   template.JS
	Data     template.HTML // base64: it needs no escaping
	Live     bool
	Facts    []pageFact
	Problems []string
	Hunted   []Hunted
	Changes  []pageChange // for readers without JavaScript
	Consoles []pageConsole
}

type pageFact struct {
	Name  string
	Value int
}

type pageChange struct {
	Kind                        Kind
	Case, Kernel, Before, After string
}

type pageConsole struct {
	Trial string
	Data  template.HTML // base64
}

// policy is the page's: its own program and style, by their digests, and
// nothing else. A live page asks the server that it came from.
func policy(live bool) string {
	p := "default-src 'none'; script-src " + digestSource(pageJS) + "; style-src " + digestSource(pageCSS) + "; base-uri 'none'; form-action 'none'"
	if live {
		p += "; connect-src 'self'"
	}
	return p
}

func digestSource(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// pageData is what the page's program reads: the report, with histories as
// rows of numbers, since there are many.
type pageData struct {
	Report
	Headline string                       `json:"headline"`
	Letters  map[scenarios.Verdict]string `json:"letters"`
	Verdicts []scenarios.Verdict          `json:"verdicts"` // the worst first
	Nights   []string                     `json:"nights"`
	Cases    []pageCase                   `json:"cases"`
	Changes  []pageSides                  `json:"changes"`
	Trials   []pageTrial                  `json:"trials"`
}

type pageCase struct {
	Scenario string     `json:"scenario"`
	Name     string     `json:"name"`
	Cells    []pageCell `json:"cells"`
	// History has nine numbers for each point: places of its night and kernel,
	// trials, failures, errors, place of its verdict, the interval in
	// thousandths, milliseconds.
	History []int `json:"history"`
}

type pageTally struct {
	Trials   int               `json:"trials"`
	Failures int               `json:"failures"`
	Errors   int               `json:"errors"`
	Verdict  scenarios.Verdict `json:"verdict"`
	Low      float64           `json:"low"`
	High     float64           `json:"high"`
}

func tallyOf(t Tally) pageTally {
	round := func(x float64) float64 { return float64(int(x*1000+.5)) / 1000 }
	return pageTally{t.Trials, t.Failures, t.Errors, t.Verdict, round(t.Interval.Low), round(t.Interval.High)}
}

type pageCell struct {
	Kernel int `json:"kernel"`
	pageTally
	Trial string `json:"trial"`
}

type pageSides struct {
	Change
	Before pageSide `json:"before"`
	After  pageSide `json:"after"`
}

type pageSide struct {
	Kernel int    `json:"kernel"`
	Night  string `json:"night"`
	pageTally
	Said      string `json:"said"`
	Signature string `json:"signature"`
}

func sideOf(s Side) pageSide {
	return pageSide{s.Kernel, s.Night, tallyOf(s.Tally), s.Said, s.Signature}
}

type pageTrial struct {
	Trial
	Console *consoleParts `json:"console"` // nil: it is not to be had
}

func newPageData(r Report) *pageData {
	r = r.filled()
	p := &pageData{Report: r, Headline: r.Headline(), Letters: Letters, Nights: []string{}, Cases: []pageCase{}, Changes: []pageSides{}, Trials: []pageTrial{}}
	p.Verdicts = append(append(p.Verdicts, scenarios.Verdicts...), scenarios.Error)
	verdicts := map[scenarios.Verdict]int{}
	for i, v := range p.Verdicts {
		verdicts[v] = i
	}
	nights := map[string]int{}
	for _, c := range r.Cases {
		pc := pageCase{Scenario: c.Scenario, Name: c.Name, Cells: []pageCell{}, History: make([]int, 0, pointNumbers*len(c.History))}
		for _, cell := range c.Cells {
			pc.Cells = append(pc.Cells, pageCell{cell.Kernel, tallyOf(cell.Tally), cell.Trial})
		}
		for _, h := range c.History {
			night, ok := nights[h.Night]
			if !ok {
				night = len(p.Nights)
				nights[h.Night] = night
				p.Nights = append(p.Nights, h.Night)
			}
			v, ok := verdicts[h.Verdict]
			if !ok {
				v = verdicts[scenarios.Error]
			}
			pc.History = append(pc.History, night, h.Kernel, h.Trials, h.Failures, h.Errors, v, int(1000*h.Interval.Low+.5), int(1000*h.Interval.High+.5), int(h.MS))
		}
		p.Cases = append(p.Cases, pc)
	}
	for _, c := range r.Changes {
		p.Changes = append(p.Changes, pageSides{c, sideOf(c.Before), sideOf(c.After)})
	}
	for _, t := range r.Trials {
		p.Trials = append(p.Trials, pageTrial{Trial: t})
	}
	return p
}

// packed is the data as base64 of packed JSON.
func (p *pageData) packed() (string, error) {
	src, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("write the page: %w", err)
	}
	return pack(src)
}

func pack(src []byte) (string, error) {
	var b bytes.Buffer
	enc := base64.NewEncoder(base64.StdEncoding, &b)
	zip := gzip.NewWriter(enc)
	_, err := zip.Write(src)
	for _, c := range []io.Closer{zip, enc} {
		if cerr := c.Close(); err == nil {
			err = cerr
		}
	}
	if err != nil {
		return "", fmt.Errorf("pack for the page: %w", err)
	}
	return b.String(), nil
}

// fit cuts histories to their last nights until the data leave room for
// consoles, and gives how large they then are, packed.
func (p *pageData) fit() (int, error) {
	for {
		data, err := p.packed()
		if err != nil {
			return 0, err
		}
		longest := 0
		for _, c := range p.Cases {
			longest = max(longest, len(c.History)/pointNumbers)
		}
		if len(data) < MaxPage*3/4 || longest <= fewestNights {
			return len(data), nil
		}
		for i, c := range p.Cases {
			p.Cases[i].History = c.History[max(0, len(c.History)-pointNumbers*(longest/2)):]
		}
	}
}

// askedFor says of each trial which lines its console has, for a page that asks
// for consoles.
func (p *pageData) askedFor(files fs.FS) {
	for i := range p.Trials {
		t := &p.Trials[i]
		if t.Folder == "" || files == nil {
			continue
		}
		if c, err := readConsole(files, t.Trial); err == nil {
			t.Console = &c.consoleParts
		}
	}
}

// consoles gives those that fit into so many bytes, whole or around their
// findings.
func (p *pageData) consoles(files fs.FS, left int) ([]pageConsole, error) {
	var out []pageConsole
	for _, i := range p.byWeight() {
		t := &p.Trials[i]
		if t.Folder == "" || files == nil || left < smallConsole {
			continue
		}
		console, err := readConsole(files, t.Trial)
		if err != nil {
			continue // the folder may be gone; the page says that it has none
		}
		for _, c := range []consoleText{console, console.around(t.Findings)} {
			if len(c.text) > mostPacking*left {
				continue
			}
			packed, err := pack([]byte(c.text))
			if err != nil {
				return nil, err
			}
			if cost := len(packed) + len(strconv.Quote(t.Name)) + consoleElement; cost <= left {
				left -= cost
				t.Console = &c.consoleParts
				out = append(out, pageConsole{t.Name, template.HTML(packed)})
				break
			}
		}
	}
	return out, nil
}

// byWeight are the places of trials: those that changes show, those that
// failed, the others.
func (r Report) byWeight() []int {
	changes := map[string]bool{}
	for _, c := range r.Changes {
		changes[c.Trial] = true
	}
	var weights [3][]int
	for i, t := range r.Trials {
		switch {
		case changes[t.Name]:
			weights[0] = append(weights[0], i)
		case t.Verdict.Failure():
			weights[1] = append(weights[1], i)
		default:
			weights[2] = append(weights[2], i)
		}
	}
	return append(append(weights[0], weights[1]...), weights[2]...)
}
