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

// Pick gives the places in Records of the trials that are named: by their
// number, which is their place in what the run was asked for, from 1, or by the
// beginning of their folder's name. Without a name: of all.
func (s Stored) Pick(names ...string) ([]int, error) {
	var out []int
	if len(names) == 0 {
		for n := range s.Records {
			out = append(out, n)
		}
		return out, nil
	}
	for _, name := range names {
		n, err := s.pick(name)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

func (s Stored) pick(name string) (int, error) {
	number, err := strconv.Atoi(name)
	byNumber := err == nil && name[0] != '0'
	found := -1
	for n, r := range s.Records {
		if byNumber && r.Task == number-1 {
			return n, nil
		}
		if byNumber || r.RunDir == "" || !strings.HasPrefix(filepath.Base(r.RunDir), name) {
			continue
		}
		if found >= 0 {
			return 0, fmt.Errorf("%q is the beginning of several trials", name)
		}
		found = n
	}
	if found < 0 {
		return 0, fmt.Errorf("it has no trial %q; there are %d", name, len(s.Records))
	}
	return found, nil
}

// Describe tells what a record says of one trial.
func Describe(w io.Writer, r Record) error {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-9s %s\n", name, text.Escape(value))
		}
	}
	fmt.Fprintf(&b, "%d: %s, %s, %s: %s\n", r.Task+1, text.Escape(r.Kernel.Release), text.Escape(r.Scenario), text.Escape(OrDash(r.Case)), r.Verdict)
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
		line("", fmt.Sprintf("%6.3f ms  %s (%s) answered %s at sector %d with %s", float64(a.US)/1000, a.Device, OrDash(a.Layer), a.Op, a.Sector, a.Errno))
	}
	for _, h := range t.Wrong {
		line("", fmt.Sprintf("%s (%s) has at sector %d what is %s", h.Device, OrDash(h.Layer), h.Sector, cmp.Or(h.Holds, "not comparable")))
	}
	if t.Lost > 0 {
		line("", fmt.Sprintf("%d more errors found no room", t.Lost))
	}
	for _, u := range t.Unseen {
		line("", "not seen on this kernel: "+u)
	}
}
