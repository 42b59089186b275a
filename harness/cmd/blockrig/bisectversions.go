package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/bisect/trials"
)

func (a *app) bisectVersions() *cobra.Command {
	var (
		o         bisectOptions
		g         gitOptions
		good, bad string
		fix       bool
		thenGit   string
	)
	c := &cobra.Command{
		Use:   "versions --good REF --bad REF SCENARIO",
		Short: "Find the first released kernel that is bad, or with --fix, good again",
		Long: `Bisect over the released kernels that Debian has, without a compiler. Stable
series are branches: the first release of each is compared first, then those of
the series where it changed.`,
		Example: `  blockrig bisect versions --good debian:6.17 --bad debian:6.18 lvm-mirror-dio-read --case length=512,memory_offset=32
  blockrig bisect versions --fix --bad debian:6.18 --good debian:newest lvm-mirror-dio-read --set length=512 --set memory_offset=32
  blockrig bisect versions --good debian:6.17 --bad debian:6.18 --then-git ~/linux lvm-mirror-dio-read`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if good == "" || bad == "" {
				return badRequest(errors.New("bisect versions: which kernels? Name one with --good and one with --bad, such as debian:6.17 and debian:6.18"))
			}
			if err := o.check(); err != nil {
				return badRequest(err)
			}
			var then *trials.GitRequest
			if thenGit != "" {
				repo, err := openRepo(c.Context(), thenGit)
				if err != nil {
					return badRequest(fmt.Errorf("--then-git: %w", err))
				}
				then = &trials.GitRequest{Repo: repo.Dir()}
				if then.Build, err = g.build(); err != nil {
					return badRequest(err)
				}
			} else if err := needGit(c.Flags()); err != nil {
				return badRequest(fmt.Errorf("%w without --then-git", err))
			}
			s, err := a.newVersions(c.Context(), &o, good, bad, fix, then, args[0])
			if err != nil {
				return err
			}
			return a.searchAll(c.Context(), s, o.report)
		},
	}
	f := c.Flags()
	f.StringVar(&good, "good", "", "kernel `REF` that passes: debian:VERSION")
	f.StringVar(&bad, "bad", "", "kernel `REF` that fails")
	f.BoolVar(&fix, "fix", false, "the bad kernel is the older one: find the first that is good again")
	f.StringVar(&thenGit, "then-git", "", "then bisect the commits of the range found, in the repository `REPO`")
	g.buildFlags(f)
	o.flags(f)
	o.lab.hubFlag(f)
	return c
}

// newVersions asks Debian which releases there are and makes the bisection.
func (a *app) newVersions(ctx context.Context, o *bisectOptions, good, bad string, fix bool, then *trials.GitRequest, name string) (*trials.Search, error) {
	cases, err := a.bisectCases(name, o)
	if err != nil {
		return nil, badRequest(err)
	}
	defer a.show()()
	r := o.request(cases[0])
	if err := a.onHub(ctx, o, &r); err != nil {
		return nil, err
	}
	if r.ThenGit = then; then != nil {
		var err error
		if then.Build.Compiler, _, err = a.builders(ctx, then.Build.CC); err != nil {
			return nil, err
		}
	}
	runner, err := a.runner(ctx, r.Machine, cases[0].Setup.Machine.Memory)
	if err != nil {
		return nil, err
	}
	if err := r.ReleasesBetween(ctx, runner.Preparer.Kernels, trials.Ends{Good: []string{good}, Bad: bad, Fix: fix}); err != nil {
		return nil, err
	}
	if len(cases) == 1 {
		return a.newSearch(r, o)
	}
	return a.choose(ctx, runner, trials.NewReleases(runner, r.Releases.Releases, cases[0]), cases, r, o)
}
