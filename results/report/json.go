package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results"
)

// Schema is the JSON schema (draft 2020-12) of what JSON writes.
//
//go:embed report.schema.json
var Schema []byte

// JSON writes the report as one object.
func JSON(w io.Writer, r Report) error {
	r.Version = Version
	line, err := text.JSONLine(r.filled())
	if err != nil {
		return err
	}
	if _, err := w.Write(line); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// Read takes what JSON wrote. One of a later version is refused.
func Read(in io.Reader) (Report, error) {
	var r Report
	if err := json.NewDecoder(in).Decode(&r); err != nil {
		return Report{}, fmt.Errorf("read a report: %w", err)
	}
	if r.Version < 1 || r.Version > Version {
		return Report{}, fmt.Errorf("read a report: its version is %d, and this blockrig knows up to %d", r.Version, Version)
	}
	return r, nil
}

// filled is the report with empty lists as [], so that a reader need not tell
// them from null.
func (r Report) filled() Report {
	r.Runs, r.Kernels, r.Workers, r.Problems = results.OrEmpty(r.Runs), results.OrEmpty(r.Kernels), results.OrEmpty(r.Workers), results.OrEmpty(r.Problems)
	r.Cases, r.Changes = each(r.Cases, func(c *Case) { c.Cells, c.History = results.OrEmpty(c.Cells), results.OrEmpty(c.History) }), results.OrEmpty(r.Changes)
	r.Trials = each(r.Trials, func(t *Trial) {
		t.Also, t.Legs, t.Findings = results.OrEmpty(t.Also), results.OrEmpty(t.Legs), results.OrEmpty(t.Findings)
		t.Attempts, t.Events, t.Commands = results.OrEmpty(t.Attempts), results.OrEmpty(t.Events), results.OrEmpty(t.Commands)
	})
	r.Bisections = each(r.Bisections, func(b *Bisection) {
		b.Why, b.Checks, b.Steps = results.OrEmpty(b.Why), results.OrEmpty(b.Checks), results.OrEmpty(b.Steps)
	})
	return r
}

// each is a copy of a list, with f done to each.
func each[T any](l []T, f func(*T)) []T {
	out := make([]T, len(l))
	for i, v := range l {
		f(&v)
		out[i] = v
	}
	return out
}
