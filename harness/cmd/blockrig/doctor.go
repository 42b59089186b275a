package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/text"
)

// A health is the answer of one of doctor's checks.
type health struct {
	Check  string `json:"check"`
	Status string `json:"status"`
	Detail string `json:"detail"`
	Fix    string `json:"mend"` // "" when there is nothing to do, or nothing that can be done
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
		Short: "Say what this machine can do, and what is missing, with the command that fixes it",
		Long: `Look at all that blockrig needs of this machine. Nothing is fetched, and
nothing of the machine is changed. "limited" means that trials can be made, but
slowly, or not of every kind. "missing" means that they can't.

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
	t := text.Table{Head: []string{"CHECK", "STATUS", "DETAIL"}, Wrap: true}
	return printList(a, all, t, func(t *text.Table, h health) {
		t.Add(h.Check, h.Status, h.Detail)
		if h.Fix != "" {
			t.Add("", "", text.Cell{Text: "fix: " + h.Fix, Whole: true})
		}
	})
}
