package console

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An example is what testdata/markers.txt or harmless.txt says of a row.
type example struct {
	line   int
	row    string
	before []string // lines that the row needs before it
	lines  []string // that the row matches
	near   []string // that it does not
	kind   Kind
	titles []string
}

func readExamples(t *testing.T, name string) []example {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	var x *example
	for i, l := range strings.Split(string(text), "\n") {
		if l == "" || strings.HasPrefix(l, "# ") {
			x = nil
			continue
		}
		if x == nil {
			all = append(all, example{line: i + 1, row: l})
			x = &all[len(all)-1]
			continue
		}
		mark, rest, _ := strings.Cut(l, " ")
		switch mark {
		case "@":
			x.before = append(x.before, rest)
		case "+":
			x.lines = append(x.lines, rest)
		case "-":
			x.near = append(x.near, rest)
		case "=":
			kind, titles, _ := strings.Cut(rest, " ")
			x.kind, x.titles = Kind(kind), strings.Split(titles, "|")
		default:
			t.Fatalf("%s:%d: %q", name, i+1, l)
		}
	}
	return all
}

// longerLogs are three logs with room for more lines: a raw console, a
// journal, and one with a report in it.
func longerLogs(t *testing.T) (logs []func(lines ...string) []byte) {
	t.Helper()
	quiet, err := os.ReadFile(filepath.Join("testdata", "quiet", "boot.log"))
	if err != nil {
		t.Fatal(err)
	}
	warn := readGolden(t, filepath.Join("testdata", "golden", "warn-new-order.log")).body
	into := func(text []byte, after int, prefix string) func(lines ...string) []byte {
		return func(lines ...string) []byte {
			all := bytes.SplitAfter(text, []byte("\n"))
			var out []byte
			out = append(out, bytes.Join(all[:after], nil)...)
			for i, l := range lines {
				out = fmt.Appendf(out, prefix+"%s\n", i, l)
			}
			return append(out, bytes.Join(all[after:], nil)...)
		}
	}
	var journal form
	for _, f := range forms {
		if f.name == "journal" {
			journal = f
		}
	}
	return []func(lines ...string) []byte{
		into(quiet, 60, "[    1.03%04d] "),
		into(inForm(quiet, journal), 40, "Jun 14 18:08:0%d dalek kernel: "),
		into(warn, 2, "[    5.00%04d] "),
	}
}

// Given a row of the markers, when a line that it matches stands in a longer
// log, then it is found there, once and by its title; and its near misses are
// not.
func TestMarkers(t *testing.T) {
	logs := longerLogs(t)
	seen := map[string]bool{}
	for _, x := range readExamples(t, "markers.txt") {
		seen[x.row] = true
		i := slices.IndexFunc(markers, func(m marker) bool { return m.match == x.row })
		if i < 0 {
			t.Errorf("markers.txt:%d: no row %s", x.line, x.row)
			continue
		}
		if len(x.lines) == 0 || len(x.near) == 0 {
			t.Errorf("markers.txt:%d: a line that it matches and a near miss, please", x.line)
		}
		for _, l := range x.lines {
			if n := firstRow(l); n != i {
				t.Errorf("markers.txt:%d: %q is found by another row: %s", x.line, l, markers[max(n, 0)].match)
			}
			for n, log := range logs {
				got := added(log, append(slices.Clone(x.before), l))
				if len(got) != 1 || got[0].Kind != x.kind || !slices.Contains(x.titles, got[0].Title) && !prefixOf(x.titles, got[0].Title, markers[i].title) {
					t.Errorf("markers.txt:%d: in log %d %q gives %s", x.line, n, l, describe("", got))
				}
			}
		}
		for _, l := range x.near {
			for n, log := range logs {
				// As a complaint that no row knows it may still be told.
				got := slices.DeleteFunc(added(log, []string{l}), func(f Finding) bool { return f.Kind == KindUnrecognized })
				if len(got) != 0 {
					t.Errorf("markers.txt:%d: in log %d near miss %q gives %s", x.line, n, l, describe("", got))
				}
			}
		}
	}
	for _, m := range markers {
		if !seen[m.match] {
			t.Errorf("no example of the row %s", m.match)
		}
	}
}

// prefixOf allows an example to leave out what a capture adds to the title.
func prefixOf(titles []string, title, format string) bool {
	return strings.Contains(format, "{what}") && len(titles) == 1 && strings.HasPrefix(title, titles[0])
}

// firstRow is the row that finds a line.
func firstRow(l string) int {
	t := compiled()
	var c captures
	s := NewScanner()
	for i := range markers {
		if t.markers[i].match([]byte(l), &c) {
			s.caps = c
			if s.valid() {
				return i
			}
		}
	}
	return -1
}

// added are the findings that lines add to a log.
func added(log func(...string) []byte, lines []string) []Finding {
	without := map[string]bool{}
	for _, f := range scan(log()).Findings() {
		without[f.Title] = true
	}
	var more []Finding
	for _, f := range scan(log(lines...)).Findings() {
		if !without[f.Title] || f.Count > 1 {
			more = append(more, f)
		}
	}
	return more
}

// Given a harmless row, when such a line stands in a longer log, then nothing
// is found; its near misses are.
func TestHarmless(t *testing.T) {
	logs := longerLogs(t)
	seen := map[string]bool{}
	for _, x := range readExamples(t, "harmless.txt") {
		seen[x.row] = true
		for _, log := range logs {
			for _, l := range x.lines {
				if got := added(log, []string{l}); len(got) != 0 {
					t.Errorf("harmless.txt:%d: %q gives %s", x.line, l, describe("", got))
				}
			}
			for _, l := range x.near {
				if got := added(log, []string{l}); len(got) != 1 {
					t.Errorf("harmless.txt:%d: near miss %q gives %s", x.line, l, describe("", got))
				}
			}
		}
		for _, l := range x.lines {
			if text := []byte(l); x.row != "none" && firstRow(l) < 0 && !(compiled().speaks(text) && complaints.Match(text)) {
				t.Errorf("harmless.txt:%d: %q would not be found anyway", x.line, l)
			}
		}
	}
	for _, h := range harmlessLines {
		if !seen[h.match] {
			t.Errorf("no example of the harmless row %s", h.match)
		}
		if h.why == "" {
			t.Errorf("no reason for the harmless row %s", h.match)
		}
	}
}

// Given a row of the functions to look through, when such a function stands
// on top of a trace in a longer log, then the title names the one below; its
// near miss is blamed itself.
func TestLookThrough(t *testing.T) {
	logs := longerLogs(t)
	report := func(top string) []string {
		return []string{
			"------------[ cut here ]------------",
			"WARNING: CPU: 0 PID: 1 at lib/some.c:1",
			"CPU: 0 PID: 1 Comm: a Not tainted 6.18.0 #1",
			"Call Trace:", " <TASK>", " " + top + "+0x1/0x20", " the_culprit+0x3/0x40", " </TASK>", "---[ end trace 0000000000000000 ]---",
		}
	}
	seen := map[string]bool{}
	for _, row := range lookThrough {
		if seen[row] {
			t.Errorf("%s stands twice", row)
		}
		seen[row] = true
		name := strings.ReplaceAll(row, "*", "")
		if strings.Contains(name, "::") {
			name += "panic"
		} else if row == "*_trap" {
			name = "a_trap"
		}
		if got := added(logs[0], report(name)); len(got) != 1 || got[0].Title != "WARNING in the_culprit" {
			t.Errorf("%s: %s", row, describe("", got))
		}
		for _, log := range logs[1:] {
			if got := added(log, report(name)); len(got) != 1 || got[0].Title != "WARNING in the_culprit" {
				t.Errorf("%s: %s", row, describe("", got))
			}
		}
		near := "my_" + name
		switch {
		case strings.HasPrefix(row, "*") && !strings.HasSuffix(row, "*"):
			near = name + "_more"
		case strings.HasPrefix(row, "*"):
			near = name[:3] + "X" + name[3:]
		}
		for _, log := range logs {
			if got := added(log, report(near)); len(got) != 1 || got[0].Title != "WARNING in "+near {
				t.Errorf("near miss %s: %s", near, describe("", got))
			}
		}
	}
}
