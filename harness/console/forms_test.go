package console

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var printk = regexp.MustCompile(`^\[ *(\d+)\.(\d+)\](\[ *[TC]\d+\])? ?(.*)$`)

// A form writes a line of a raw console as some other program shows it; ok is
// false for lines that the form can't have.
type form struct {
	name string
	line func(raw string, sec int, usec string, caller, text string, isKernel bool) string
	// noCallers: the form loses what tells two CPUs' reports apart
	noCallers bool
	// wraps: the form keeps each line as it is, within something
	wraps bool
}

func at(sec int) time.Time {
	return time.Date(2026, 6, 14, 18, 8, 0, 0, time.UTC).Add(time.Duration(sec) * time.Second)
}

func tagged(prefix func(sec int, usec string) string) func(raw string, sec int, usec, caller, text string, isKernel bool) string {
	return func(_ string, sec int, usec, _, text string, isKernel bool) string {
		if !isKernel {
			return prefix(sec, usec) + "dalek agetty[812]: " + text
		}
		return prefix(sec, usec) + "dalek kernel: " + text
	}
}

func wrapped(before, after string) func(string, int, string, string, string, bool) string {
	return func(raw string, _ int, _, _, _ string, _ bool) string { return before + raw + after }
}

// onlyKernel changes kernel lines and leaves the others as they are.
func onlyKernel(f func(raw string, sec int, usec, caller, text string) string) func(string, int, string, string, string, bool) string {
	return func(raw string, sec int, usec, caller, text string, isKernel bool) string {
		if !isKernel {
			return raw
		}
		return f(raw, sec, usec, caller, text)
	}
}

var forms = []form{
	{name: "CR LF", line: wrapped("", "\r"), wraps: true},
	{name: "CR CR LF", line: wrapped("", "\r\r"), wraps: true},
	{name: "quoted", line: wrapped("> ", ""), wraps: true},
	{name: "quoted twice", line: wrapped("> > ", ""), wraps: true},
	{name: "quoted without blanks", line: wrapped(">>", ""), wraps: true},
	{name: "quoted with bars", line: wrapped("| ", ""), wraps: true},
	{name: "indented", line: onlyKernel(func(raw string, _ int, _, _, _ string) string { return "    " + raw })},
	{name: "reset colours", line: wrapped("\x1b[0m", "\x1b[K"), wraps: true},
	{name: "SeaBIOS", line: wrapped("\x1bc\x1b[?7l\x1b[2J", ""), wraps: true},
	{name: "NUL", line: wrapped("\x00\x00", "\x00"), wraps: true},
	{name: "dmesg --color", line: onlyKernel(func(_ string, sec int, usec, caller, text string) string {
		head, rest, ok := strings.Cut(text, ": ")
		if ok {
			text = "\x1b[33m" + head + ": \x1b[0m\x1b[1m" + rest + "\x1b[0m"
		}
		return fmt.Sprintf("\x1b[32m[%5d.%s]%s \x1b[0m%s", sec, usec, caller, text)
	})},
	{name: "dmesg -x", line: onlyKernel(func(raw string, _ int, _, _, _ string) string { return "kern  :warn  : " + raw })},
	{name: "dmesg -r", line: onlyKernel(func(raw string, _ int, _, _, _ string) string { return "<4>" + raw })},
	{name: "dmesg -T", line: onlyKernel(func(_ string, sec int, _, caller, text string) string {
		return "[" + at(sec).Format("Mon Jan _2 15:04:05 2006") + "]" + caller + " " + text
	})},
	{name: "dmesg -d", line: onlyKernel(func(_ string, sec int, usec, caller, text string) string {
		return fmt.Sprintf("[%5d.%s <    0.000010>]%s %s", sec, usec, caller, text)
	})},
	{name: "dmesg --time-format=iso", line: onlyKernel(func(_ string, sec int, usec, _, text string) string {
		return at(sec).Format("2006-01-02T15:04:05") + "," + usec + "+00:00 " + text
	}), noCallers: true},
	{name: "caller apart", line: onlyKernel(func(_ string, sec int, usec, caller, text string) string {
		if caller == "" {
			caller = "[T1]"
		}
		return fmt.Sprintf("[%5d.%s] %s %s", sec, usec, caller, text)
	})},
	{name: "journal", line: tagged(func(sec int, _ string) string { return at(sec).Format("Jan _2 15:04:05 ") }), noCallers: true},
	{name: "journal, quoted", line: func(raw string, sec int, usec, caller, text string, isKernel bool) string {
		return "> > " + tagged(func(sec int, _ string) string { return at(sec).Format("Jan _2 15:04:05 ") })(raw, sec, usec, caller, text, isKernel)
	}, noCallers: true},
	{name: "journal, precise", line: tagged(func(sec int, usec string) string { return at(sec).Format("Jan 02 15:04:05.") + usec + " " }), noCallers: true},
	{name: "journal, iso", line: tagged(func(sec int, _ string) string { return at(sec).Format("2006-01-02T15:04:05-07:00 ") }), noCallers: true},
	{name: "journal, iso precise", line: tagged(func(sec int, usec string) string { return at(sec).Format("2006-01-02T15:04:05.") + usec + "+0000 " }), noCallers: true},
	{name: "journal, full", line: tagged(func(sec int, _ string) string { return at(sec).Format("Mon 2006-01-02 15:04:05 MST ") }), noCallers: true},
	{name: "journal, unix", line: tagged(func(sec int, usec string) string { return strconv.FormatInt(at(sec).Unix(), 10) + "." + usec + " " }), noCallers: true},
	{name: "journal, monotonic", line: tagged(func(sec int, usec string) string { return fmt.Sprintf("[%5d.%s] ", sec, usec) }), noCallers: true},
	{name: "syslog", line: func(raw string, sec int, usec, caller, text string, isKernel bool) string {
		return tagged(func(sec int, _ string) string { return at(sec).Format("Jan _2 15:04:05 ") })(raw, sec, usec, caller, raw, isKernel)
	}},
	{name: "syslog, RFC 5424", line: onlyKernel(func(raw string, sec int, usec, _, _ string) string {
		return "<4>1 " + at(sec).Format("2006-01-02T15:04:05.") + usec + "Z dalek kernel - - - " + raw
	})},
	{name: "continuous integration", line: onlyKernel(func(raw string, sec int, usec, _, _ string) string {
		return at(sec).Format("2006-01-02T15:04:05.") + usec + "1Z " + raw
	})},
	{name: "no times", line: onlyKernel(func(_ string, _ int, _, _, text string) string { return text }), noCallers: true},
	{name: "broken UTF-8 between", line: wrapped("", "\n\xff\xfe\xc3(")},
}

func inForm(body []byte, f form) []byte {
	var out bytes.Buffer
	sec, usec := 0, "000000"
	for _, raw := range strings.Split(strings.TrimSuffix(string(body), "\n"), "\n") {
		m := printk.FindStringSubmatch(raw)
		caller, text := "", raw
		if m != nil {
			sec, _ = strconv.Atoi(m[1])
			usec, caller, text = m[2], m[3], m[4]
		}
		out.WriteString(f.line(raw, sec, usec, caller, text, m != nil))
		out.WriteByte('\n')
	}
	return out.Bytes()
}

var lineNumbers = regexp.MustCompile(`lines \d+-\d+`)

// Given a golden log in the form that some other program would show it, when
// it is read, then it says the same as the plain one.
func TestForms(t *testing.T) {
	for _, g := range goldens(t) {
		if slices.Contains(g.kept, "forms: none") {
			continue // the whole file is in a form of its own
		}
		plain := scan(g.body)
		want := describe(plain.Release(), plain.Findings())
		for _, f := range forms {
			if f.noCallers && bytes.Contains(g.body, []byte("][")) {
				continue
			}
			if !f.wraps && slices.Contains(g.kept, "text between: yes") {
				continue // its other lines mean something else in that form
			}
			t.Run(filepath.Base(g.path)+"/"+f.name, func(t *testing.T) {
				s := scan(inForm(g.body, f))
				got := describe(s.Release(), s.Findings())
				w := want
				if strings.Contains(f.line("", 0, "", "", "", true), "\n") {
					// More lines, and other ones within each report.
					got, w = lineNumbers.ReplaceAllString(got, ""), lineNumbers.ReplaceAllString(w, "")
					got, w = strings.ReplaceAll(got, " interleaved", ""), strings.ReplaceAll(w, " interleaved", "")
				}
				if d := cmp.Diff(strings.Split(w, "\n"), strings.Split(got, "\n")); d != "" {
					t.Error(d)
				}
			})
		}
	}
}

// Given a log, when it is written in other pieces, then it says the same.
func TestPieces(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, g := range goldens(t) {
		plain := scan(g.body)
		want := describe(plain.Release(), plain.Findings())
		for range 20 {
			if got := inPieces(g.body, rnd); got != want {
				t.Fatalf("%s: %s", g.path, cmp.Diff(want, got))
			}
		}
	}
}

func inPieces(text []byte, rnd *rand.Rand) string {
	s := NewScanner()
	for p := text; len(p) > 0; {
		n := min(len(p), 1+rnd.IntN(1+rnd.IntN(200)))
		s.Write(p[:n])
		p = p[n:]
	}
	s.Close()
	return describe(s.Release(), s.Findings())
}
