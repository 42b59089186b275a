package main

import (
	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/results/report"
)

func (a *app) resultsServeCommand() *cobra.Command {
	var s report.Service
	c := &cobra.Command{
		Use:   "serve [RUN…]",
		Short: "Show the report as a page that is kept up to date",
		Long: `Show what "blockrig results report" does, in a browser, kept up to date while
runs go on. It listens on this machine only, unless --listen says otherwise, and
only reads. It has no passwords: who can reach it can read it.`,
		Example: `  blockrig results serve
  blockrig results serve --since 2026-11-01 --listen 127.0.0.1:9000`,
		RunE: func(c *cobra.Command, args []string) error {
			root, err := a.resultsRoot()
			if err != nil {
				return err
			}
			s.Root, s.Words, s.Say, s.Tool = root, args, a.say, "blockrig "+thisBuild().Version
			return wrongRun(s.Serve(c.Context()))
		},
	}
	f := c.Flags()
	f.StringVar(&s.Listen, "listen", "127.0.0.1:8080", "`ADDRESS:PORT` to listen on; port 0 is any that is free")
	f.StringVar(&s.Since, "since", "", "of all runs since a `DATE` such as 2026-11-25")
	f.StringVar(&s.Title, "title", "", "`TITLE` of the report")
	return c
}
