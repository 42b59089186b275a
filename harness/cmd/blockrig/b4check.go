package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/review"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// b4Options are the flags of b4-check.
type b4Options struct {
	bisectOptions
	gitOptions
	base       string
	scenarios  []string
	most, runs int
	budget     time.Duration
}

func (a *app) b4CheckCommand() *cobra.Command {
	var o b4Options
	c := &cobra.Command{
		Use:   "b4-check",
		Short: "Check a series of patches for b4 review",
		Long: `Check a series of patches as b4's review-series-check-cmd: a mail or a mailbox
on standard input, a JSON array of {tool, status, summary, details} on standard
output. With b4, standard input is the cover letter, and the patches are those
that b4 has checked out (B4_TRACKING_FILE).

The series is applied to its base in a folder of blockrig's own: that of b4, of
the mail's base-commit, or --base. Both kernels are built, and the scenarios that
the series' paths concern, by the tree's own Makefiles, are tried on both. A
failure that the base shows, too, is not the series'; what fails only now and
then is tried until the difference is sure. Where no scenario is concerned, the
array is empty.

The status is fail where something got worse, or the series does not apply or
build; warn where that is not known, because a mail can't be used or its base is not
in the repository, too; else pass. What is wrong with a mail is in the array, and the
exit status 0: b4 takes any other for a failure of the series.`,
		Example: `  git config b4.review-series-check-cmd "blockrig b4-check --budget 30m"
  b4 am -o - MESSAGE-ID | blockrig b4-check --repo ~/linux --base v6.18`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.budget < time.Minute {
				return badRequest(fmt.Errorf("--budget %s: want a minute or more", o.budget))
			}
			if err := o.checkTrials(); err != nil {
				return badRequest(err)
			}
			found, err := a.b4Check(c.Context(), &o)
			if err != nil {
				return err
			}
			return a.printJSON(found)
		},
	}
	f := c.Flags()
	f.StringVar(&o.repo, "repo", ".", "the kernel's git repository, a local `FOLDER`")
	f.StringVar(&o.base, "base", "", "commit `REV` that the series is for (default: what b4 or the mail says)")
	f.StringArrayVar(&o.scenarios, "scenario", nil, "try the scenario `NAME`, whatever the series touches; may be given several times")
	f.DurationVar(&o.budget, "budget", time.Hour, "answer within this `TIME`, such as 30m")
	numberVar(f, &o.most, "most-cases", 24, 1, 10_000, "try at most `N` cases")
	numberVar(f, &o.runs, "repeat", 12, 4, 10_000, "trials of each case and kernel in a round; there are up to 5 rounds until it is clear")
	f.Float64Var(&o.criteria.Confidence, "confidence", 0.99, "how sure the answer is to be, as a probability")
	o.buildFlags(f)
	o.lab.bisectFlags(f)
	return c
}

// b4Check reads the series and checks it.
func (a *app) b4Check(ctx context.Context, o *b4Options) (_ []review.Result, err error) {
	repo, err := openRepo(ctx, o.repo)
	if err != nil {
		return nil, badRequest(err)
	}
	all, err := o.cases()
	if err != nil {
		return nil, badRequest(err)
	}
	tmp, err := workDir(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tmp.Remove()) }()
	s, err := review.Read(ctx, repo, review.Source{Mail: a.stdin, Tracking: os.Getenv("B4_TRACKING_FILE"), Base: o.base}, tmp.Path())
	var mail *review.MailError
	switch {
	case errors.Is(err, review.ErrNothing):
		return []review.Result{}, nil
	case errors.Is(err, review.ErrNoBase), errors.As(err, &mail):
		return []review.Result{review.Untold(err)}, nil
	case err != nil:
		return nil, badRequest(err)
	}
	for _, n := range s.Notes {
		a.say("%s", n)
	}
	cases := all
	if len(o.scenarios) == 0 {
		if cases, err = review.Concerned(ctx, repo, s, all, o.most); err != nil {
			return nil, err
		}
	}
	if len(cases) == 0 {
		return []review.Result{}, nil
	}
	err = trials.CheckApply(ctx, repo, s.Base, o.apply, s.Patches, filepath.Join(tmp.Path(), "check"))
	var no *trials.NotAppliedError
	if errors.As(err, &no) {
		return []review.Result{review.NotApplied(no)}, nil
	}
	if err != nil {
		return nil, err
	}
	return a.b4Try(ctx, repo, s, cases, o, tmp.Path())
}

// cases are those that a series may concern: of all scenarios that ship, or of
// those that are named.
func (o *b4Options) cases() ([]scenarios.Case, error) {
	names := o.scenarios
	if len(names) == 0 {
		var err error
		if names, err = language.Names(); err != nil {
			return nil, err
		}
	}
	return casesOf(names, nil, nil)
}

// b4Try tries cases on the series and on its base.
func (a *app) b4Try(ctx context.Context, repo *gitcmd.Repo, s *review.Series, cases []scenarios.Case, o *b4Options, dir string) (_ []review.Result, err error) {
	defer a.show()()
	var memory scenarios.Bytes
	for _, c := range cases {
		memory = max(memory, c.Setup.Machine.Memory)
	}
	r := o.request(cases[0])
	runner, err := a.runner(ctx, r.Machine, memory)
	if err != nil {
		return nil, err
	}
	commits, err := a.commitsOf(ctx, runner, repo.Dir(), &o.gitOptions)
	if err != nil {
		return nil, err
	}
	for _, p := range s.Patches {
		commits.Try = append(commits.Try, p.Path)
	}
	run, err := a.openRun(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.endRun(run)) }()
	result, err := review.Check(ctx, cases, o.budget, func(ctx context.Context, cases []scenarios.Case) (trials.PatchAnswer, error) {
		commits.Case = cases[0]
		t := &trials.Tester{Runner: runner, Kernels: commits, Cases: cases, Run: run, Dir: filepath.Join(dir, "machines")}
		return t.TryPatch(ctx, trials.PatchRequest{Base: s.Base, Runs: o.runs, Confidence: o.criteria.Confidence})
	})
	if err != nil {
		return nil, err
	}
	a.say("records: %s", run.Dir())
	return []review.Result{result}, nil
}
