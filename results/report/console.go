package report

import (
	"io/fs"
	"path"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results"
)

// Bounds of a console that is shown.
const (
	maxConsoleLine = 2000 // characters of a line
	aroundFinding  = 60   // lines before and after one, where not all is shown
	mostAround     = 4000 // of those
)

// consoleParts says which lines of a console there are.
type consoleParts struct {
	Lines int      `json:"lines"` // of all of it
	Parts [][2]int `json:"parts"` // the first line of each, from 1, and how many
}

// consoleText is a console as a page shows it: what does anything but stand
// there is escaped.
type consoleText struct {
	consoleParts
	text string // the lines of the parts, each with its end
}

func readConsole(files fs.FS, t Trial) (consoleText, error) {
	src, err := readFile(files, path.Join(t.Folder, results.ConsoleFile), maxConsole)
	if err != nil {
		return consoleText{}, err
	}
	var b strings.Builder
	b.Grow(len(src))
	n := 0
	for line := range strings.Lines(string(src)) {
		line = strings.TrimRight(line, "\r\n")
		if len(line) > maxConsoleLine {
			line = cut(line, maxConsoleLine) + " …"
		}
		if harmless(line) {
			b.WriteString(line)
		} else {
			b.WriteString(strings.ReplaceAll(text.EscapeLines(line), "\n", " "))
		}
		b.WriteByte('\n')
		n++
	}
	return consoleText{consoleParts{n, [][2]int{{1, n}}}, b.String()}, nil
}

// harmless tells quickly that a line holds nothing but plain ASCII, as most do.
func harmless(line string) bool {
	for i := range len(line) {
		if c := line[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

// around is what stands near findings.
func (c consoleText) around(findings []Finding) consoleText {
	keep := make([]bool, c.Lines+1)
	left := mostAround
	for _, f := range findings {
		for l := max(1, f.Line-aroundFinding); l <= min(c.Lines, max(f.Line, min(f.LastLine, f.Line+400))+aroundFinding) && left > 0; l++ {
			if !keep[l] {
				keep[l] = true
				left--
			}
		}
	}
	out := consoleText{consoleParts: consoleParts{Lines: c.Lines, Parts: [][2]int{}}}
	var b strings.Builder
	n := 0
	for line := range strings.Lines(c.text) {
		if n++; !keep[n] {
			continue
		}
		if last := len(out.Parts) - 1; last >= 0 && out.Parts[last][0]+out.Parts[last][1] == n {
			out.Parts[last][1]++
		} else {
			out.Parts = append(out.Parts, [2]int{n, 1})
		}
		b.WriteString(line)
	}
	out.text = b.String()
	return out
}
