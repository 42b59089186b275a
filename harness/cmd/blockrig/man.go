//go:build man

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// The writer of man pages is a third of a megabyte that every guest would
// unpack, so only a build for that purpose has it.
func init() { moreVerbs = append(moreVerbs, (*app).manCommand) }

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write man pages into a folder", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return badRequest(err)
			}
			root := c.Root()
			root.RemoveCommand(c)
			root.DisableAutoGenTag = true // it holds today's date
			head := &doc.GenManHeader{Section: "1", Source: "blockrig " + thisBuild().Version, Manual: "blockrig"}
			if err := doc.GenManTree(root, head, args[0]); err != nil {
				return fmt.Errorf("write man pages: %w", err)
			}
			return nil
		},
	}
}
