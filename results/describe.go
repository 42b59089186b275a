package results

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
)

// Pick gives the places of the trials that are named, by their number from 1
// or the beginning of their folder's name; of all without a name.
func (s Stored) Pick(names ...string) ([]int, error) {
	records := s.Records
	var out []int
	if len(names) == 0 {
		for n := range records {
			out = append(out, n)
		}
		return out, nil
	}
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil && n >= 1 && n <= len(records) && name[0] != '0' {
			out = append(out, n-1)
			continue
		}
		found := -1
		for n, r := range records {
			if r.RunDir == "" || !strings.HasPrefix(filepath.Base(r.RunDir), name) {
				continue
			}
			if found >= 0 {
				return nil, fmt.Errorf("%q is the beginning of several trials", name)
			}
			found = n
		}
		if found < 0 {
			return nil, fmt.Errorf("it has no trial %q; there are %d", name, len(records))
		}
		out = append(out, found)
	}
	return out, nil
}

// Describe tells all of one trial, the n-th that is listed.
func Describe(w io.Writer, n int, r Record) error {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-9s %s\n", name, text.Escape(value))
		}
	}
	fmt.Fprintf(&b, "%d: %s, %s, %s: %s\n", n, text.Escape(r.Kernel.Release), text.Escape(r.Scenario), text.Escape(r.Case), r.Verdict)
	line("reason", r.Reason)
	line("also", strings.ReplaceAll(join(r.Also), ",", ", "))
	line("said", r.Outcome)
	var legs []string
	for _, l := range r.Legs {
		legs = append(legs, fmt.Sprintf("%s (disk %s) %s", l.Name, l.Disk, l.Health))
	}
	line("legs", strings.Join(legs, ", "))
	for i, f := range r.Findings {
		what := fmt.Sprintf("%s: %s", f.Kind, f.Title)
		if f.Place != "" {
			what += " (" + f.Place + ")"
		}
		line([]string{"console", ""}[min(i, 1)], fmt.Sprintf("%s, line %d", what, f.Line))
	}
	describeTraced(line, r)
	for i, at := range r.Attempts[:max(0, len(r.Attempts)-1)] {
		line([]string{"before", ""}[min(i, 1)], fmt.Sprintf("%s: %s", at.Verdict, at.Reason))
	}
	line("kernel", r.Kernel.Ref)
	way := "from power-on"
	if r.Warm {
		way = "from a saved machine"
	}
	line("machine", fmt.Sprintf("%s, %d CPU, %s, boot %s", r.Accel, r.CPUs, way, r.BootID))
	line("took", fmt.Sprintf("%.1f s", float64(r.TrialMS)/1000))
	folder := r.RunDir
	if folder == "" {
		folder = "not kept: one with the same signature is"
	}
	line("folder", folder)
	_, err := io.WriteString(w, b.String())
	return err
}

// describeTraced tells who failed first, a device a line.
func describeTraced(line func(name, value string), r Record) {
	t := r.FirstFailed
	line("first", t.Text())
	if t == nil {
		return
	}
	for _, a := range t.Failed {
		line("", fmt.Sprintf("%6.3f ms  %s (%s) answered %s at sector %d with %s", float64(a.US)/1000, a.Device, orDash(a.Layer), a.Op, a.Sector, a.Errno))
	}
	for _, h := range t.Wrong {
		line("", fmt.Sprintf("%s (%s) has at sector %d what is %s", h.Device, orDash(h.Layer), h.Sector, cmp.Or(h.Holds, "not comparable")))
	}
	if t.Lost > 0 {
		line("", fmt.Sprintf("%d events found no room", t.Lost))
	}
	for _, u := range t.Unseen {
		line("", "not seen on this kernel: "+u)
	}
}
