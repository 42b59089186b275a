package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/results/compare"
	"github.com/blockrig/blockrig/results/store"
)

func (a *app) resultsCompare() *cobra.Command {
	var scenario string
	var all bool
	c := &cobra.Command{
		Use: "compare A B", Short: "Say, case by case, what changed from A to B", Args: cobra.ExactArgs(2),
		Long: `Say, case by case, what changed from A to B. Each is a run (its ID, the beginning
of it, "last"), a night (the date on which runs began, in UTC), a kernel (reference
or release), or a commit.

  new failure      B fails, and A never did
  another failure  B fails in a way that A does not (phase, step, verdict)
  rate changed     both fail alike; that the rates differ is more than 95% likely
  changed          both pass, B with an allowed result that A does not have
  fixed            A fails, and B does not any more
  still failing    both fail alike
  no answer        B has only errors, or too few passes for a failure as rare as A's
  not run          B was to run it, and did not
  appeared         A does not have it
  disappeared      B does not have it

Each side has its failures among its trials with a verdict, with the 95% interval
of the rate, in which trials of one boot count for less; DIFFER is the probability
that the rates differ. Where both sides are runs or nights of several kernels, each
reference is compared with itself.

Exit status: 1 B shows a failure that A does not; 3 none, but B has no answer about
some case of A's; else 0.`,
		Example: `  blockrig results compare 2026-11-24 2026-11-25
  blockrig results compare debian:6.17 debian:6.18 --scenario md-raid1-dio-read`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withIndex(c, func(_ string, s *store.Store) error {
				var sets [2]compare.Set
				for i, word := range args {
					var err error
					if sets[i], err = compare.Find(c.Context(), s, word, scenario); err != nil {
						return err
					}
				}
				cases, err := compare.Sets(c.Context(), s, sets[0], sets[1])
				if err != nil {
					return err
				}
				if len(cases) == 0 {
					of := ""
					if scenario != "" {
						of = fmt.Sprintf(" of scenario %q", scenario)
					}
					return badRequest(fmt.Errorf("neither %s nor %s has trials of cases%s", args[0], args[1], of))
				}
				if a.format == "json" {
					for _, one := range cases {
						if err := a.printJSON(one); err != nil {
							return err
						}
					}
				} else if err := compare.Table(a.stdout, cases, args[0], args[1], compare.Style{Color: a.outTerm, Width: a.width, All: all}); err != nil {
					return err
				}
				return exitWith(compare.ExitStatus(cases))
			})
		},
	}
	c.Flags().StringVar(&scenario, "scenario", "", "only cases of the scenario with this `NAME`")
	c.Flags().BoolVar(&all, "all", false, "list cases that are the same, too")
	return c
}
