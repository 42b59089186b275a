//go:build man

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// The writers of pages are a third of a megabyte that every guest would
// unpack, so only a build for that purpose has them.
func init() {
	moreVerbs = append(moreVerbs,
		manual("man DIR", "Write man pages into a folder", func(root *cobra.Command, dir string) error {
			head := &doc.GenManHeader{Section: "1", Source: "blockrig " + thisBuild().Version, Manual: "blockrig"}
			return doc.GenManTree(root, head, dir)
		}),
		manual("docs DIR", "Write a page in Markdown for each verb into a folder", doc.GenMarkdownTree),
	)
}

// manual is a verb that writes pages, in which it and its kind are not.
func manual(use, short string, write func(root *cobra.Command, dir string) error) func(*app) *cobra.Command {
	return func(*app) *cobra.Command {
		return &cobra.Command{
			Use: use, Short: short, Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error {
				if err := os.MkdirAll(args[0], 0o755); err != nil {
					return badRequest(err)
				}
				all := moreVerbs
				moreVerbs = nil
				root := (&app{}).root()
				moreVerbs = all
				root.DisableAutoGenTag = true // it holds today's date
				if err := write(root, args[0]); err != nil {
					return fmt.Errorf("write pages: %w", err)
				}
				return nil
			},
		}
	}
}
