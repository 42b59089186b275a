package results

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/results/store"
	"github.com/blockrig/blockrig/scenarios"
)

// Lines of the console that are shown around the first line of a finding.
const (
	linesBefore = 3
	linesAfter  = 14
	mostLines   = 150 // of a trial in all
)

// DescribeWhole tells all of one trial of a run, the n-th that is listed: what
// was asked, what happened, the console around each finding, and the commands
// that do it again.
func DescribeWhole(w io.Writer, root string, run Stored, n int) error {
	r := run.Records[n]
	if err := Describe(w, r); err != nil {
		return err
	}
	var b strings.Builder
	name := store.TrialName(run.ID, r.Task)
	if r.RunDir != "" {
		folders, err := os.OpenRoot(root)
		if err != nil {
			return folderError(root, err)
		}
		defer folders.Close() // only read from
		dir := path.Join(run.ID, filepath.Base(r.RunDir))
		if j, err := readJob(folders, dir); err == nil {
			asked(&b, j)
		} else if !errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintf(&b, "  %-9s %s\n", "asked", text.Escape("not known: "+err.Error()))
		}
		if err := excerpts(&b, folders, path.Join(dir, ConsoleFile), r.Findings); err != nil {
			fmt.Fprintf(&b, "\nThe console can't be read: %s\n", text.Escape(err.Error()))
		}
	}
	b.WriteString("\nTo do it again:\n")
	for _, c := range commands(name, r) {
		fmt.Fprintf(&b, "  %s\n", text.Escape(c))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// commands do a trial again.
func commands(name string, r Record) []string {
	out := []string{
		fmt.Sprintf("blockrig replay %s", name),
		fmt.Sprintf("blockrig replay %s -k REF", name),
	}
	if r.RunDir != "" {
		out = append(out, fmt.Sprintf("blockrig results bundle %s -o FILE.tar.zst", name))
	}
	return out
}

// readJob reads what a trial's folder says of its job.
func readJob(folders *os.Root, dir string) (trial.Job, error) {
	var j trial.Job
	src, err := readStored(folders, path.Join(dir, JobFile))
	if err == nil {
		err = json.Unmarshal(src, &j)
	}
	if err != nil {
		return trial.Job{}, fmt.Errorf("read %s: %w", JobFile, err)
	}
	return j, nil
}

// asked writes the stack and the steps of a job.
func asked(b *strings.Builder, j trial.Job) {
	line := func(name, value string) { fmt.Fprintf(b, "  %-9s %s\n", name, text.Escape(value)) }
	for i, d := range j.Disks {
		line([]string{"disks", ""}[min(i, 1)], fields(d))
	}
	for i, l := range j.Stack {
		what := l.Kind() + " " + fields(layerOf(l))
		if len(l.On) > 0 {
			what += " on " + strings.Join(l.On, ", ")
		}
		line([]string{"stack", ""}[min(i, 1)], what)
	}
	for i, st := range j.Steps {
		line([]string{"steps", ""}[min(i, 1)], fmt.Sprintf("%d. %s: %s", i+1, st.Op(), fields(st)))
	}
}

// layerOf is a layer without what every layer has.
func layerOf(l scenarios.Layer) scenarios.Layer {
	l.Name, l.On = "", nil
	return l
}

// fields writes what is set of a value in short: "direct=true length=4096".
func fields(v any) string {
	src, err := json.Marshal(v)
	var m map[string]any
	if err == nil {
		dec := json.NewDecoder(strings.NewReader(string(src)))
		dec.UseNumber()
		err = dec.Decode(&m)
	}
	if err != nil {
		return err.Error()
	}
	var out []string
	for key, value := range m {
		switch value := value.(type) {
		case map[string]any: // of the step or the layer that it is
			if len(m) == 1 {
				return fields(value)
			}
		case json.Number:
			if value != "0" {
				out = append(out, key+"="+value.String())
			}
			continue
		case bool:
			if value {
				out = append(out, key)
			}
			continue
		case string:
			if value != "" {
				out = append(out, key+"="+value)
			}
			continue
		case nil:
			continue
		}
		part, err := json.Marshal(value)
		if err != nil {
			return err.Error()
		}
		if s := string(part); s != "{}" && s != "[]" {
			out = append(out, key+"="+s)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// span is a part of a console, lines from 1.
type span struct{ from, to int }

// spansOf are the parts of a console around findings, without overlap.
func spansOf(findings []Finding) []span {
	var lines []int
	for _, f := range findings {
		if f.Line > 0 {
			lines = append(lines, f.Line)
		}
	}
	slices.Sort(lines)
	var out []span
	total := 0
	for _, l := range lines {
		s := span{max(1, l-linesBefore), l + linesAfter}
		if n := len(out); n > 0 && s.from <= out[n-1].to+1 {
			total += max(0, s.to-out[n-1].to)
			out[n-1].to = max(out[n-1].to, s.to)
		} else {
			total += s.to - s.from + 1
			out = append(out, s)
		}
		if total >= mostLines {
			break
		}
	}
	return out
}

// mostOfLine bounds what is shown of a line, bytes.
const mostOfLine = 500

// excerpts writes the console around each finding; the lines at which findings
// begin are marked.
func excerpts(b *strings.Builder, folders *os.Root, name string, findings []Finding) error {
	spans := spansOf(findings)
	if len(spans) == 0 {
		return nil
	}
	f, err := openStored(folders, name, maxConsole)
	if err != nil {
		return err
	}
	defer f.Close() // only read from
	begins := map[int]bool{}
	for _, g := range findings {
		begins[g.Line] = true
	}
	b.WriteString("\nThe console:\n")
	in := bufio.NewReaderSize(f, 64<<10)
	for n := 1; len(spans) > 0; n++ {
		line, long, err := in.ReadLine()
		for long && err == nil {
			_, long, err = in.ReadLine()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return cause(err)
		}
		if n < spans[0].from {
			continue
		}
		mark := " "
		if begins[n] {
			mark = ">"
		}
		fmt.Fprintf(b, "%s %6d  %s\n", mark, n, text.Escape(strings.TrimRight(string(line[:min(len(line), mostOfLine)]), "\r")))
		if n == spans[0].to {
			if spans = spans[1:]; len(spans) > 0 {
				b.WriteString("      …\n")
			}
		}
	}
	return nil
}

// maxConsole is the size of the largest console that is read, in bytes.
const maxConsole = 1 << 30
