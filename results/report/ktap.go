package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// KTAP writes the report in version 1 of the Kernel Test Anything Protocol
// (Documentation/dev-tools/ktap.rst): a test for each kernel, with a subtest
// for each case. A case that failed in some trials only is not ok. A known
// failure is not ok with XFAIL, a case without a verdict with ERROR.
func KTAP(w io.Writer, r Report) error {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	known := r.known()
	p("KTAP version 1\n1..%d\n", len(r.Kernels))
	for at, k := range r.Kernels {
		type row struct {
			Case
			Cell
		}
		var rows []row
		for _, c := range r.Cases {
			for _, cell := range c.Cells {
				if cell.Kernel == at {
					rows = append(rows, row{c, cell})
				}
			}
		}
		p("    KTAP version 1\n    # Subtest: %s\n    1..%d\n", ktapName(k.Name()), len(rows))
		failed := false
		for i, c := range rows {
			reason := r.reason(c.Cell)
			if c.Judged() > 1 && c.Failures > 0 {
				p("    # failed in %s\n", c.in())
			}
			if reason != "" {
				p("    # %s: %s\n", c.Verdict, ktapName(reason))
			}
			ok, directive := "ok", ""
			switch {
			case c.Failures > 0 && known[where{at, c.Scenario, c.Name}]:
				ok, directive = "not ok", " # XFAIL known"
			case c.Failures > 0:
				ok, failed = "not ok", true
			case c.Judged() == 0:
				ok, directive, failed = "not ok", " # ERROR no verdict", true
			}
			p("    %s %d %s%s\n", ok, i+1, ktapName(c.Title()), directive)
		}
		result := "ok"
		directive := ""
		switch {
		case failed:
			result = "not ok"
		case len(rows) == 0:
			directive = " # SKIP nothing was run"
		}
		p("%s %d %s%s\n", result, at+1, ktapName(k.Name()), directive)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// ktapName is a text on one line that begins no directive.
func ktapName(s string) string { return strings.ReplaceAll(text.OneLine(s), "#", "♯") }

// where is a case on a kernel.
type where struct {
	kernel         int
	scenario, name string
}

// known are the cases that are known to fail.
func (r Report) known() map[where]bool {
	out := map[where]bool{}
	for _, c := range r.Changes {
		if c.Known != nil {
			out[where{c.After.Kernel, c.Scenario, c.Case}] = true
		}
	}
	return out
}

// reason is why a cell has its verdict; "" where it passed.
func (r Report) reason(c Cell) string {
	t := r.trial(c.Trial)
	if t == nil || c.Verdict == scenarios.Pass {
		return ""
	}
	return t.Reason
}
