package console

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
)

// colours of kinds, as SGR parameters (ECMA-48, 8.3.117).
var colours = map[Kind]string{
	KindHang:  "1;35",
	KindPanic: "1;31",
	KindBug:   "1;31",
	KindWarn:  "1;33",
	KindIO:    "1;36",
	KindBoot:  "1;31",
}

// Print writes findings for a person to read: each with what the log says of
// it and its trace. Control codes in them are made harmless. It returns the
// writer's error.
func Print(w io.Writer, findings []Finding, color bool) error {
	b := bufio.NewWriter(w)
	paint := text.Paint
	if !color {
		paint = func(_, s string) string { return s }
	}
	for i, f := range findings {
		if i > 0 {
			fmt.Fprintln(b)
		}
		sgr, ok := colours[f.Kind]
		if !ok {
			sgr = "1"
		}
		fmt.Fprintf(b, "%s %s", paint(sgr, fmt.Sprintf("%-5s", text.Escape(string(f.Kind)))), paint("1", text.Escape(f.Title)))
		if f.Place != "" {
			fmt.Fprintf(b, "  %s", text.Escape(f.Place))
		}
		fmt.Fprintln(b)
		fmt.Fprintf(b, "      %s\n", paint("2", strings.Join(facts(f), ", ")))
		for _, fr := range f.Trace {
			fmt.Fprintf(b, "    %s\n", frameLine(fr, paint))
		}
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("print findings: %w", err)
	}
	return nil
}

// facts is what a finding says beside its title.
func facts(f Finding) []string {
	var all []string
	if f.LastLine > f.Line {
		all = append(all, fmt.Sprintf("lines %d to %d", f.Line, f.LastLine))
	} else {
		all = append(all, fmt.Sprintf("line %d", f.Line))
	}
	if f.Count > 1 {
		all = append(all, fmt.Sprintf("%d times", f.Count))
	}
	if f.CPU != nil {
		all = append(all, "CPU "+strconv.Itoa(*f.CPU))
	}
	switch {
	case f.PID != 0 && f.Comm != "":
		all = append(all, fmt.Sprintf("%s (PID %d)", text.Escape(f.Comm), f.PID))
	case f.PID != 0:
		all = append(all, fmt.Sprintf("PID %d", f.PID))
	case f.Comm != "":
		all = append(all, text.Escape(f.Comm))
	}
	if f.Workqueue != "" {
		all = append(all, "workqueue "+text.Escape(f.Workqueue))
	}
	if f.Release != "" {
		all = append(all, "kernel "+text.Escape(f.Release))
	}
	if f.Tainted != "" {
		all = append(all, "tainted "+text.Escape(f.Tainted))
	}
	for _, x := range []struct {
		is   bool
		text string
	}{
		{f.Consequence, "follows from an earlier one"},
		{f.Cut, "report cut short"},
		{f.Interleaved, "other lines between"},
		{f.Baseline, "before the guest began"},
	} {
		if x.is {
			all = append(all, x.text)
		}
	}
	return all
}

func frameLine(f Frame, paint func(sgr, s string) string) string {
	var b strings.Builder
	if f.Reliable {
		b.WriteString("  ")
	} else {
		b.WriteString("? ")
	}
	b.WriteString(text.Escape(f.Func))
	switch {
	case f.Inlined:
		b.WriteString(" (inlined)")
	case f.Size > 0:
		fmt.Fprintf(&b, "+%#x/%#x", f.Offset, f.Size)
	case f.Offset > 0:
		fmt.Fprintf(&b, "+%#x", f.Offset)
	}
	if f.Module != "" {
		b.WriteString(" [" + text.Escape(f.Module) + "]")
	}
	if f.File != "" {
		b.WriteString("  " + text.Escape(f.File) + ":" + strconv.Itoa(f.SrcLine))
	}
	if !f.Reliable {
		return paint("2", b.String())
	}
	return b.String()
}
