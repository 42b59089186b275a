package results

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/scenarios"
)

// A Style says how a table is shown.
type Style struct {
	Color bool // with the terminal's colours; only for a terminal
	Width int  // columns to fit into where a finding can be cut short; 0: no limit
	// Numbered puts the number of each trial in its run before it.
	Numbered bool
}

// Table writes records for people: kernel, case, verdict, what else applied,
// what the step said, the first finding, seconds. The scenario has a column
// where there are several.
func Table(w io.Writer, records []Record, style Style) error {
	t := text.Table{
		Head:  []string{"SCENARIO", "KERNEL", "CASE", "VERDICT", "ALSO", "SAID", "FIRST FINDING", "SECONDS"},
		Color: style.Color, Width: style.Width, Cut: 6, Numbers: true, Several: true,
	}
	if style.Numbered {
		t.Head, t.Cut = slices.Insert(t.Head, 1, "TRIAL"), t.Cut+1
	}
	name := kernelNames(records, func(r Record) Kernel { return r.Kernel })
	for _, r := range records {
		row := []any{
			r.Scenario, OrDash(name(r.Kernel)), OrDash(r.Case), VerdictCell(r.Verdict), OrDash(join(r.Also)),
			OrDash(r.Outcome), OrDash(firstFinding(r)), fmt.Sprintf("%.1f", float64(r.TrialMS)/1000),
		}
		if style.Numbered {
			row = slices.Insert(row, 1, any(r.Task+1))
		}
		t.Add(row...)
	}
	if err := t.Write(w); err != nil {
		return err
	}
	return failedFirst(w, records, name)
}

// failedFirst says below a table who failed first, of the trials of which that
// was looked for.
func failedFirst(w io.Writer, records []Record, name func(Kernel) string) error {
	var b strings.Builder
	for _, r := range records {
		if r.FirstFailed == nil {
			continue
		}
		if b.Len() == 0 {
			b.WriteString("failed first:\n")
		}
		of := []string{name(r.Kernel)}
		if r.Scenario != records[0].Scenario || r.Scenario != records[len(records)-1].Scenario {
			of = append(of, r.Scenario)
		}
		if r.Case != "" {
			of = append(of, r.Case)
		}
		fmt.Fprintf(&b, "  %s (%s): %s\n", text.Escape(strings.Join(of, ", ")), r.Verdict, text.Escape(r.FirstFailed.Text()))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write who failed first: %w", err)
	}
	return nil
}

func kernelName(k Kernel) string {
	return cmp.Or(k.Release, k.Ref)
}

// kernelNames names the kernels of a table: by the release, or where several
// have that one, such as two commits of a tree, by the revision or the
// reference, too.
func kernelNames[T any](rows []T, kernelOf func(T) Kernel) func(Kernel) string {
	shapes := []func(Kernel) string{
		kernelName,
		func(k Kernel) string { return k.Release + " " + revision(k.Ref) },
		func(k Kernel) string { return k.Release + " " + k.Ref },
	}
	var all []Kernel
	for _, row := range rows {
		if k := kernelOf(row); !slices.Contains(all, k) {
			all = append(all, k)
		}
	}
	names := map[Kernel]string{}
	for _, k := range all {
		for _, shape := range shapes {
			names[k] = shape(k)
			if !slices.ContainsFunc(all, func(o Kernel) bool { return o.Ref != k.Ref && shape(o) == names[k] }) {
				break
			}
		}
	}
	return func(k Kernel) string { return names[k] }
}

var fullHash = regexp.MustCompile(`\b[0-9a-f]{40}([0-9a-f]{24})?\b`)

// revision is the part of a reference that a reader tells kernels of one
// release apart by: of a commit, its name in the repository.
func revision(ref string) string {
	if git, ok := kernels.CutGit(ref); ok {
		ref = git.Rev
	}
	return fullHash.ReplaceAllStringFunc(ref, func(hash string) string { return hash[:12] })
}

// OrDash is a text as it stands in a table, where nothing is shown as "-".
func OrDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func join(verdicts []scenarios.Verdict) string {
	words := make([]string, len(verdicts))
	for i, v := range verdicts {
		words[i] = string(v)
	}
	return strings.Join(words, ",")
}

// firstFinding is the first thing that the console showed. An error, about
// which a console need not say anything, has its reason instead.
func firstFinding(r Record) string {
	if len(r.Findings) > 0 {
		return r.Findings[0].Title
	}
	if r.Verdict == scenarios.Error {
		return r.Reason
	}
	return ""
}

// VerdictCell is a verdict in a table.
func VerdictCell(v scenarios.Verdict) text.Cell { return text.Cell{Text: string(v), Color: color(v)} }

func color(v scenarios.Verdict) string {
	switch {
	case v == scenarios.Pass || v == scenarios.Clean:
		return "32"
	case v == scenarios.Error:
		return "33"
	default:
		return "31"
	}
}
