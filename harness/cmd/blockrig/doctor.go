package main

import (
	"bytes"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/results"
)

// A health is the answer of one of doctor's checks.
type health struct {
	Check  string `json:"check"`
	Status string `json:"status"`
	Detail string `json:"detail"`
	Mend   string `json:"mend"` // "" when there is nothing to do, or nothing that can be done
}

// What a status means: all is there; something can't be done, or only slowly;
// no trial can be made.
const (
	statusOK      = "ok"
	statusLimited = "limited"
	statusMissing = "missing"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can do, and what is missing, with the command that mends it",
		Long: `Look at all that blockrig needs of this machine. Nothing is fetched, and
nothing of the machine is changed. limited means that trials can be made, but
slowly, or not of every kind; missing, that they can't.

Exit status: 0 trials can be made; 3 something is missing.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d := doctor{app: a, ctx: c.Context()}
			all := d.examine()
			if err := c.Context().Err(); err != nil {
				return fmt.Errorf("interrupted: %w", err)
			}
			if err := a.printHealth(all); err != nil {
				return err
			}
			for _, h := range all {
				if h.Status == statusMissing {
					return status(exitError)
				}
			}
			return nil
		},
	}
}

func (a *app) printHealth(all []health) error {
	if a.format == "json" {
		for _, h := range all {
			if err := a.printJSON(h); err != nil {
				return err
			}
		}
		return nil
	}
	var b bytes.Buffer
	const columns = "%-13s  %-7s  %s\n"
	fmt.Fprintf(&b, columns, "CHECK", "STATUS", "DETAIL")
	for _, h := range all {
		name, st := h.Check, h.Status
		lines := wrap(results.Harmless(h.Detail), a.width-24)
		if h.Mend != "" {
			lines = append(lines, "mend: "+results.Harmless(h.Mend)) // whole, to be copied
		}
		for _, line := range lines {
			fmt.Fprintf(&b, columns, name, st, line)
			name, st = "", ""
		}
	}
	_, err := io.Copy(a.stdout, &b)
	return err
}
