package text

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

// Everything that a terminal obeys, that forges a line or that is no text.
const evil = "\x1b]0;owned\x07\r\n\t\x7f\u009b31m\u202e\u200f\xff\U000e0041é"

func TestEscape(t *testing.T) {
	for _, c := range []struct{ in, line, lines, one string }{
		{"", "", "", ""},
		{"größe 日本", "größe 日本", "größe 日本", "größe 日本"},
		{" two  spaces ", " two  spaces ", " two  spaces ", "two spaces"},
		{"a\n\tb\n", `a\n\tb\n`, "a\n\tb\n", "a b"},
		{"a\r\nb", `a\u000d\nb`, `a\u000d` + "\nb", "a b"},
		{"\x1b[31mred\x07", `\u001b[31mred\u0007`, `\u001b[31mred\u0007`, `\u001b[31mred\u0007`},
		{"\u202egnp", `\u202egnp`, `\u202egnp`, `\u202egnp`}, // turns the reading direction round
		{"\u009b2J", `\u009b2J`, `\u009b2J`, `\u009b2J`},     // CSI in one rune
		{"a\xffb", "a\ufffdb", "a\ufffdb", "a\ufffdb"},
		{"\U000e0041", `\udb40\udc41`, `\udb40\udc41`, `\udb40\udc41`},
	} {
		if got := Escape(c.in); got != c.line {
			t.Errorf("Escape(%q) = %q, want %q", c.in, got, c.line)
		}
		if got := EscapeLines(c.in); got != c.lines {
			t.Errorf("EscapeLines(%q) = %q, want %q", c.in, got, c.lines)
		}
		if got := OneLine(c.in); got != c.one {
			t.Errorf("OneLine(%q) = %q, want %q", c.in, got, c.one)
		}
	}
}

func TestExcerpt(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"two\r\nlines\n", 100, "two lines"},
		{"0123456789", 10, "0123456789"},
		{"0123456789abc", 10, "0123456789…"},
		{"\x1b[2J and more", 4, `\u001b[2J…`},
	} {
		if got := Excerpt([]byte(c.in), c.limit); got != c.want {
			t.Errorf("Excerpt(%q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

// Given any text, then what is made of it harms no terminal and does not grow
// when it is escaped once more; and JSON gives the text back.
func FuzzEscape(f *testing.F) {
	f.Add(evil)
	f.Add(`\u001b`)
	f.Fuzz(func(t *testing.T, s string) {
		line, err := JSONLine(s)
		if err != nil {
			t.Fatal(err)
		}
		var again string
		if err := json.Unmarshal(line, &again); err != nil || again != string([]rune(s)) {
			t.Errorf("JSON gives %q back for %q: %v", again, s, err)
		}
		body, ended := strings.CutSuffix(string(line), "\n")
		for _, got := range []string{Escape(s), OneLine(s), Excerpt([]byte(s), 10), body} {
			if strings.ContainsFunc(got, func(r rune) bool { return !Printable(r) }) {
				t.Errorf("%q of %q is not harmless", got, s)
			}
			if Escape(got) != got {
				t.Errorf("%q is escaped twice", got)
			}
		}
		if !ended {
			t.Error("no newline after the JSON")
		}
	})
}

func TestWrapAndFold(t *testing.T) {
	for _, c := range []struct {
		name, text string
		width      int
		want       string
	}{
		{"no terminal", "one two three four five six", 0, "one two three four five six"},
		{"fits", "one two three four", 20, "one two three four"},
		{"breaks at spaces", "one two three four five six", 20, "one two three four\nfive six"},
		{"keeps the indent", "off:\n  one two three four five six", 22, "off:\n  one two three four\n  five six"},
		{"keeps a path whole", "records: /a/path/that/is/longer/than/the/terminal", 20, "records:\n/a/path/that/is/longer/than/the/terminal"},
		{"keeps a command whole", "again:\n  blockrig run --resume 20260101", 20, "again:\n  blockrig run --resume 20260101"},
		{"counts characters", "äöü äöü äöü äöü äöü", 20, "äöü äöü äöü äöü äöü"},
		{"counts columns", "日本語 日本語 日本語 日本語", 20, "日本語 日本語 日本語\n日本語"},
		{"nothing", "", 20, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Fold(c.text, c.width); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		in    string
		width int
		want  string
	}{
		{"as long as it is", 0, "as long as it is"},
		{"fits", 4, "fits"},
		{"does not fit", 8, "does no…"},
		{"日本語", 5, "日本…"},
	} {
		if got := Cut(c.in, c.width); got != c.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", c.in, c.width, got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	rows := func(t *Table) {
		t.Head = []string{"STACK", "VERDICT", "SAID", "SECONDS"}
		t.Add("mirror", Cell{Text: "hang", Color: "31"}, "a long story about a mirror", "12.5")
		t.Add("日本", "pass", "", 7)
	}
	for _, c := range []struct {
		name  string
		table Table
		rows  func(*Table)
		want  string
	}{
		{"plain", Table{}, rows, `
STACK   VERDICT  SAID                         SECONDS
mirror  hang     a long story about a mirror  12.5
日本    pass                                  7
`},
		{"numbers to the right, in colour", Table{Numbers: true, Color: true}, rows, `
STACK   VERDICT  SAID                         SECONDS
mirror  ` + "\x1b[31mhang\x1b[0m" + `     a long story about a mirror     12.5
日本    pass                                        7
`},
		{"cut to fit", Table{Width: 44, Cut: 2}, rows, `
STACK   VERDICT  SAID                SECONDS
mirror  hang     a long story abou…  12.5
日本    pass                         7
`},
		{"cut no more than makes sense", Table{Width: 10, Cut: 2}, rows, `
STACK   VERDICT  SAID              SECONDS
mirror  hang     a long story ab…  12.5
日本    pass                       7
`},
		{"last column wrapped", Table{Width: 28, Wrap: true}, func(t *Table) {
			t.Head = []string{"NAME", "ABOUT"}
			t.Add("one", "words that do not fit into it")
			t.Add("", Cell{Text: "apt-get install what is to be copied", Whole: true})
		}, `
NAME  ABOUT
one   words that do not fit
      into it
      apt-get install what is to be copied
`},
		{"one of several", Table{Several: true}, func(t *Table) {
			t.Head = []string{"SCENARIO", "CASE"}
			t.Add("a", "1")
			t.Add("b", "2")
		}, "\nSCENARIO  CASE\na         1\nb         2\n"},
		{"the same in all", Table{Several: true}, func(t *Table) {
			t.Head = []string{"SCENARIO", "CASE"}
			t.Add("a", "1")
			t.Add("a", "2")
		}, "\nCASE\n1\n2\n"},
		{"no row", Table{Several: true}, func(t *Table) { t.Head = []string{"SCENARIO", "CASE"} }, "\nCASE\n"},
		{"hostile", Table{}, func(t *Table) {
			t.Head = []string{"TEXT"}
			t.Add(evil)
			t.Add(Cell{Text: "\x1b[2J"})
		}, "\nTEXT\n" + Escape(evil) + "\n" + `\u001b[2J` + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.rows(&c.table)
			for range 2 { // what is written can be written again
				var b bytes.Buffer
				if err := c.table.Write(&b); err != nil {
					t.Fatal(err)
				}
				if got := "\n" + b.String(); got != c.want {
					t.Errorf("got%swant%s", got, c.want)
				}
			}
		})
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestTableFails(t *testing.T) {
	table := Table{Head: []string{"A"}}
	if err := table.Write(brokenWriter{}); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}

func TestNear(t *testing.T) {
	names := []string{"bisect", "classify", "kernels", "results", "run"}
	for _, c := range []struct {
		word string
		want []string
	}{
		{"bisetc", []string{"bisect"}},
		{"kernel", []string{"kernels"}},
		{"rum", []string{"run"}},
		{"rnu", []string{"run"}},
		{"biesct", []string{"bisect"}},
		{"fy", nil},
		{"sify", []string{"classify"}},
		{"", nil},
		{strings.Repeat("run", 40), nil},
		{"nothing like it", nil},
	} {
		if got := Near(c.word, names); !slices.Equal(got, c.want) {
			t.Errorf("Near(%q) = %q, want %q", c.word, got, c.want)
		}
	}
	if got := DidYouMean("kernls", names); got != " (did you mean kernels?)" {
		t.Errorf("got %q", got)
	}
}

func TestCount(t *testing.T) {
	for want, got := range map[string]string{
		"0 bytes":  Count(0, "byte"),
		"1 byte":   Count(int64(1), "byte"),
		"2 passes": Count(2, "pass"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
