package main

import (
	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/results/report"
	"github.com/blockrig/blockrig/results/store"
)

func (a *app) resultsReportCommand() *cobra.Command {
	var o report.Order
	format := ""
	c := &cobra.Command{
		Use:   "report [RUN…]",
		Short: "Make a report of runs: a page, a mail, or a form for other programs",
		Long: `Make a report of runs: what changed, what ended how on which kernel, its
history, and how to see it again. RUN is the ID of a run, the beginning of it,
"last", a night (2026-11-25), a kernel or a commit. Without one the report is of
the last night.

  html      one page that needs nothing else, for a browser
  markdown  for a wiki or a merge request
  mail      plain text for a mailing list
  json      all that is in the report; results/report/report.schema.json of
            blockrig's sources is its JSON schema
  junit     as Maven Surefire writes it; for CI systems
  ktap      version 1
  kcidb     the kernel CI database's I/O schema 5.3; --submit sends it`,
		Example: `  blockrig results report -o night.html
  blockrig results report --since 2026-11-01 --format markdown
  blockrig results report last --format junit -o junit.xml`,
		RunE: func(c *cobra.Command, args []string) error {
			o.Words, o.Format, o.Out, o.Tool = args, report.Format(format), a.stdout, "blockrig "+thisBuild().Version
			if err := o.Check(); err != nil {
				return badRequest(err)
			}
			if err := checkOutput(o.Output); err != nil {
				return err
			}
			return a.withIndex(c, func(root string, s *store.Store) error { return report.Make(c.Context(), s, root, o) })
		},
	}
	f := c.Flags()
	choiceVar(f, &format, "format", string(report.FormatHTML), report.Formats, "form of the report")
	f.StringVarP(&o.Output, "output", "o", "", "write it to `FILE` instead of stdout")
	f.StringVar(&o.Since, "since", "", "of all runs since a `DATE` such as 2026-11-25")
	f.StringVar(&o.Title, "title", "", "`TITLE` of the report")
	f.StringVar(&o.Sender.ReportedBy, "reported-by", "", "who a mail says has found it, as \"`NAME <ADDRESS>`\"")
	f.StringVar(&o.Origin, "origin", "blockrig", "`NAME` of the CI system that submits to KCIDB, in small letters")
	f.StringVar(&o.Submit, "submit", "", "submit to KCIDB at `ADDRESS` (https), too")
	f.StringVar(&o.TokenFile, "token-file", "", "`FILE` with the token for --submit")
	return c
}
