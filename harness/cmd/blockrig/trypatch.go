package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

func (a *app) tryPatchCommand() *cobra.Command {
	var (
		o      bisectOptions
		g      gitOptions
		base   string
		who    string
		repeat int
	)
	c := &cobra.Command{
		Use:   "try-patch --repo REPO --base REV PATCH SCENARIO",
		Short: "Say whether a patch helps, harms or changes nothing",
		Long: `Build the commit REV with and without PATCH (a patch, a mail or a mailbox with
several; it may be compressed), run every case of the scenario on both, and say
what the patch does, with a text ready to send. The text has a Tested-by only
when something failed without the patch, and nothing of all that was tried fails
with it. Of a series, the patches are applied in the order of their numbers.

Exit status: 0 it helps, though something may still fail; 1 it harms (a kernel
that does not come up with it included), or changes nothing though something
fails, or nothing of it is compiled into the kernel; 2 the request was wrong, a
patch that does not apply included; 3 not clear, or one of the kernels does not
build. When nothing fails without it and with it, the status is 0.`,
		Example: `  blockrig try-patch --repo ~/linux --base v6.18 0001-fix.patch lvm-mirror-dio-read
  blockrig try-patch --repo ~/linux --base HEAD t.mbox.gz lvm-mirror-dio-read --set length=512`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if g.repo == "" || base == "" {
				return badRequest(errors.New("try-patch: want --repo and --base"))
			}
			if err := o.checkTrials(); err != nil {
				return badRequest(err)
			}
			return a.tryPatch(c.Context(), args[0], args[1], base, who, repeat, &o, &g)
		},
	}
	f := c.Flags()
	f.StringVar(&g.repo, "repo", "", "the kernel's git repository, a local `FOLDER`")
	f.StringVar(&base, "base", "", "commit `REV` that the patch is for")
	f.StringVar(&who, "tested-by", "", "`NAME <ADDRESS>` for Tested-by (default: git's user.name and user.email)")
	numberVar(f, &repeat, "repeat", 12, 4, 10_000, "trials of each case and kernel in a round; there are up to 5 rounds until it is clear")
	f.StringVarP(&o.report, "output", "o", "", "write the text to `FILE` too")
	caseFlags(f, &o.only, &o.set)
	f.Float64Var(&o.criteria.Confidence, "confidence", 0.99, "how sure the answer is to be, as a probability")
	g.buildFlags(f)
	o.lab.bisectFlags(f)
	return c
}

func (a *app) tryPatch(ctx context.Context, patch, name, base, who string, repeat int, o *bisectOptions, g *gitOptions) (err error) {
	cases, err := a.casesFor(name, o.only, o.set)
	if err != nil {
		return badRequest(err)
	}
	repo, err := openRepo(ctx, g.repo)
	if err != nil {
		return badRequest(err)
	}
	build, err := g.build()
	if err != nil {
		return badRequest(err)
	}
	commit, err := repo.Resolve(ctx, base)
	if err != nil {
		return badRequest(err)
	}
	file, err := trials.ReadFile("patch", patch)
	if err != nil {
		return badRequest(err)
	}
	if who == "" {
		if who, err = gitUser(ctx, repo); err != nil {
			return err
		}
	}
	tmp, err := workDir(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tmp.Remove()) }()
	patches, notes, err := trials.Patches(ctx, repo, file, filepath.Join(tmp.Path(), "patch"))
	if err != nil {
		return badRequest(err)
	}
	for _, n := range notes {
		a.say("%s", n)
	}
	if err := trials.CheckApply(ctx, repo, commit, g.apply, patches, filepath.Join(tmp.Path(), "check")); err != nil {
		var no *trials.NotAppliedError
		if errors.As(err, &no) {
			return badRequest(err)
		}
		return err
	}
	defer a.show()()
	r := o.request(cases[0])
	runner, err := a.runner(ctx, r.Machine, cases[0].Setup.Machine.Memory)
	if err != nil {
		return err
	}
	commits, err := a.commitsOf(ctx, runner, repo.Dir(), g)
	if err != nil {
		return err
	}
	commits.Case = cases[0]
	for _, p := range patches {
		commits.Try = append(commits.Try, p.Path)
	}
	run, err := a.openRun(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.endRun(run)) }()
	t := &trials.Tester{Runner: runner, Kernels: commits, Cases: cases, Run: run, Dir: filepath.Join(tmp.Path(), "machines")}
	answer, err := t.TryPatch(ctx, trials.PatchRequest{Base: commit, Runs: repeat, Confidence: o.criteria.Confidence})
	a.display.Stop()
	var none *trials.NoKernelError
	if errors.As(err, &none) && none.NotApplied {
		return badRequest(err)
	}
	if err != nil {
		return err
	}
	return a.tellPatch(answer, who, run.Dir(), trials.PatchContext(ctx, answer, r, build, patch, o.caseArgs()), o.report)
}

func (a *app) tellPatch(p trials.PatchAnswer, who, records string, cx bisect.Context, report string) error {
	reply := p.Text(who, cx)
	if report != "" {
		if err := writeWhole(report, reply); err != nil {
			return err
		}
	}
	if a.format == "json" {
		if err := a.printJSON(p); err != nil {
			return err
		}
	} else if p.SameBinary {
		fmt.Fprintf(a.stdout, "the patch %s\n", text.EscapeLines(p.Sentence()))
	} else {
		t := text.Table{Head: []string{"CASE", "FAILED WITHOUT", "FAILED WITH", "THE PATCH"}}
		for _, c := range p.Cases {
			t.Add(c.Case, fmt.Sprintf("%d of %d", c.Base.Fails, c.Base.Runs), fmt.Sprintf("%d of %d", c.Patched.Fails, c.Patched.Runs), c.Does())
		}
		if err := t.Write(a.stdout); err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "\nthe patch %s\n\n%s", text.EscapeLines(p.Sentence()), text.EscapeLines(reply))
	}
	a.say("records: %s", records)
	switch {
	case p.Effect == bisect.Harms, p.Effect == bisect.Nothing && (p.Fails() || p.SameBinary):
		return exitWith(exitFailure)
	case p.Effect == bisect.Unclear:
		return exitWith(exitError)
	}
	return nil
}

// gitUser is who git thinks the user is.
func gitUser(ctx context.Context, repo *gitcmd.Repo) (string, error) {
	name, address, err := repo.User(ctx)
	if err != nil {
		return "", err
	}
	if name == "" || address == "" {
		return "Your Name <your@address>", nil
	}
	return fmt.Sprintf("%s <%s>", name, address), nil
}
