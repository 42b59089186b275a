package results

import (
	"io"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// stackParameter is what a scenario calls the parameter that is its stack.
const stackParameter = "stack="

// StackTable writes for people what each stack answered on each kernel, for
// every scenario whose cases differ in the stack only: a row a stack, a column
// a kernel. It writes nothing for others.
func StackTable(w io.Writer, records []Record, style Style) error {
	for _, of := range byScenario(records) {
		if err := stackTable(w, of, style); err != nil {
			return err
		}
	}
	return nil
}

// byScenario groups records of scenarios whose cases differ in the stack only,
// and are several.
func byScenario(records []Record) [][]Record {
	var order []string
	groups := map[string][]Record{}
	for _, r := range records {
		if _, known := groups[r.Scenario]; !known {
			order = append(order, r.Scenario)
		}
		groups[r.Scenario] = append(groups[r.Scenario], r)
	}
	var out [][]Record
	for _, name := range order {
		of := groups[name]
		other := func(r Record) bool { return r.Case != of[0].Case }
		if !slices.ContainsFunc(of, func(r Record) bool { return stackOf(r) == "" }) && slices.ContainsFunc(of, other) {
			out = append(out, of)
		}
	}
	return out
}

// stackOf is the stack of a record whose case says nothing else.
func stackOf(r Record) string {
	name, ok := strings.CutPrefix(r.Case, stackParameter)
	if !ok || strings.Contains(name, ",") {
		return ""
	}
	return name
}

func stackTable(w io.Writer, records []Record, style Style) error {
	name := kernelNames(records, func(r Record) Kernel { return r.Kernel })
	t := text.Table{Head: []string{"STACK OF " + text.Escape(records[0].Scenario)}, Color: style.Color, Width: style.Width}
	var kernels []Kernel
	var stacks []string
	for _, r := range records {
		if !slices.Contains(kernels, r.Kernel) {
			kernels = append(kernels, r.Kernel)
			t.Head = append(t.Head, text.Escape(name(r.Kernel)))
		}
		if s := stackOf(r); !slices.Contains(stacks, s) {
			stacks = append(stacks, s)
		}
	}
	for _, s := range stacks {
		row := []any{s}
		for _, k := range kernels {
			row = append(row, answers(records, s, k))
		}
		t.Add(row...)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return t.Write(w)
}

// answers is what a stack answered on a kernel, each answer once.
func answers(records []Record, stack string, k Kernel) text.Cell {
	var said []string
	worst := scenarios.Pass
	for _, r := range records {
		if r.Kernel != k || stackOf(r) != stack {
			continue
		}
		if what := answer(r); !slices.Contains(said, what) {
			said = append(said, what)
		}
		if r.Verdict != scenarios.Pass {
			worst = r.Verdict
		}
	}
	if said == nil {
		return text.Cell{Text: "-"}
	}
	cell := VerdictCell(worst)
	cell.Text = strings.Join(said, " or ")
	return cell
}

// answer is what a trial says of its stack: of a pass the answer, of a failure
// the verdicts and the answer that is not one of them.
func answer(r Record) string {
	switch {
	case r.Verdict == scenarios.Pass:
		return OrDash(r.Outcome)
	case r.Verdict == scenarios.Error:
		return string(r.Verdict)
	}
	text := join(append([]scenarios.Verdict{r.Verdict}, r.Also...))
	if r.Outcome != "" && r.Outcome != "-" && r.Outcome != "no answer" && !strings.EqualFold(r.Outcome, string(r.Verdict)) {
		text += " (" + r.Outcome + ")"
	}
	return text
}
