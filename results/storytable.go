package results

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// A Telling is a story that was told, or could not be.
type Telling struct {
	Scenario *scenarios.Scenario
	Check    StoryCheck    // zero with Err
	Err      error         // why nothing was found out
	Took     time.Duration // kernels that had to be fetched included
}

// shown says whether the bug was shown, and its colour.
func (t Telling) shown() text.Cell {
	switch {
	case t.Check.Holds:
		return text.Cell{Text: "yes", Color: "32"}
	case t.Err != nil || t.Check.Status == ExitError:
		return text.Cell{Text: "not known", Color: "33"}
	}
	return text.Cell{Text: "no", Color: "31"}
}

// StoryTable writes tellings for people: the kernels without the bug, with it
// and with its fix, whether it was shown, and seconds; then how many of the
// bugs were shown.
func StoryTable(w io.Writer, all []Telling, style Style) error {
	t := text.Table{
		Head:  []string{"STORY", "BEFORE", "WITH", "AFTER", "SHOWN", "SECONDS"},
		Color: style.Color, Width: style.Width, Numbers: true,
	}
	count := map[string]int{}
	for _, one := range all {
		by := map[string][]string{}
		for i, k := range one.Scenario.Story.Kernels {
			name := k.Ref
			if i < len(one.Check.Kernels) {
				name = one.Check.Kernels[i]
			}
			by[k.Role] = append(by[k.Role], name)
		}
		role := func(r string) string { return OrDash(strings.Join(by[r], " ")) }
		cell := one.shown()
		count[cell.Text]++
		t.Add(one.Scenario.Name, role("before"), role("with"), role("after"), cell, fmt.Sprintf("%.0f", one.Took.Seconds()))
	}
	if err := t.Write(w); err != nil {
		return err
	}
	said := fmt.Sprintf("%d of %d bugs shown", count["yes"], len(all))
	if n := count["no"]; n > 0 {
		said += fmt.Sprintf(", %d not as the story has it", n)
	}
	if n := count["not known"]; n > 0 {
		said += fmt.Sprintf(", %d not known", n)
	}
	_, err := fmt.Fprintln(w, said)
	return err
}
