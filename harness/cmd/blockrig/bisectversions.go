package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/kernels"
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
	f.StringVar(&thenGit, "then-git", "", "go on with a git bisection of the range found, in the repository `REPO`")
	g.buildFlags(f)
	o.flags(f)
	return c
}

// newVersions asks Debian which releases there are and makes the bisection.
func (a *app) newVersions(ctx context.Context, o *bisectOptions, good, bad string, fix bool, then *trials.GitRequest, name string) (*trials.Search, error) {
	cases, err := a.casesFor(name, o.only, o.set)
	if err != nil {
		return nil, badRequest(err)
	}
	defer a.show()()
	r := o.request(cases[0])
	rig, err := a.rig(r.Machine, cases[0].Scenario.Machine.Memory)
	if err != nil {
		return nil, err
	}
	store := rig.Preparer.Kernels
	goodEnd, err := release(ctx, store, good)
	if err != nil {
		return nil, err
	}
	badEnd, err := release(ctx, store, bad)
	if err != nil {
		return nil, err
	}
	list, err := trials.Released(ctx, store, goodEnd, badEnd)
	if err != nil {
		return nil, err
	}
	rr := &trials.ReleaseRequest{Releases: list}
	rr.Old, rr.New, r.Direction = trials.End{Name: good, Commit: goodEnd.Version}, trials.End{Name: bad, Commit: badEnd.Version}, bisect.Regression
	if fix {
		rr.Old, rr.New, r.Direction = rr.New, rr.Old, bisect.Fix
	}
	if err := rr.Check(ctx); err != nil {
		other := trials.ReleaseRequest{Releases: list, Old: rr.New, New: rr.Old}
		if other.Check(ctx) == nil {
			err = fmt.Errorf("%s, the end that is %s, comes before %s: %s", rr.New.Commit, ifElse(fix, "good", "bad"), rr.Old.Commit,
				ifElse(fix, "leave --fix away to find what broke it", "give --fix to find what made it good again"))
		}
		return nil, badRequest(err)
	}
	refs := map[string]string{}
	for _, rel := range list {
		refs[rel.Version] = rel.Ref
	}
	k := &trials.Releases{Preparer: rig.Preparer, Scenario: cases[0].Scenario, Refs: refs}
	cs, err := a.choose(ctx, rig, k, cases, bisect.Subject{Commit: badEnd.Version}, bisect.Subject{Commit: goodEnd.Version}, false, o)
	if err != nil {
		return nil, err
	}
	r.Scenario, r.Releases, r.ThenGit = trials.ScenarioOf(cs), rr, then
	return a.newSearch(r, o)
}

func ifElse(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

// release resolves an end to the release that it is.
func release(ctx context.Context, store *kernels.Store, ref string) (kernels.Version, error) {
	if !strings.HasPrefix(ref, "debian:") {
		return kernels.Version{}, badRequest(fmt.Errorf("%s is no released kernel: want debian:VERSION (for commits there is bisect git)", ref))
	}
	k, err := store.Resolve(ctx, ref)
	if err != nil {
		return kernels.Version{}, err
	}
	all, err := trials.Known(ctx, store)
	if err != nil {
		return kernels.Version{}, err
	}
	for _, v := range all {
		if v.Ref == k.Exact {
			return v, nil
		}
	}
	return kernels.Version{}, fmt.Errorf("%s is %s, which is not in the list of Debian's kernels", ref, k.Exact)
}

// searchAll does a bisection, and the one of commits that is to follow it.
func (a *app) searchAll(ctx context.Context, s *trials.Search, report string) error {
	found, err := a.search(ctx, s, report)
	if err != nil {
		return err
	}
	if s.Request.ThenGit == nil || found.Answer.Grade == bisect.Doubtful {
		return exitOfAnswer(found)
	}
	return a.goOnWithGit(ctx, s, found, report)
}

// goOnWithGit bisects the range that the releases leave.
func (a *app) goOnWithGit(ctx context.Context, s *trials.Search, found *trials.Outcome, report string) error {
	// One that was begun before is gone on with; from one that has ended comes
	// its answer.
	dir := trials.GitAfter(s.Dir())
	if bisect.Begun(dir) {
		gs, err := trials.Open(dir)
		if err != nil {
			return badRequest(err)
		}
		return a.searchAll(ctx, gs, report)
	}
	rng := found.Context.Range
	if rng == nil {
		return errors.New("the releases leave no range to go on with")
	}
	git := *s.Request.ThenGit
	repo, err := openRepo(ctx, git.Repo)
	if err != nil {
		return badRequest(err)
	}
	// The release that was tried, where the repository has it: what a stable
	// release brought is in there too.
	to := rng.To
	if _, err := repo.Resolve(ctx, "refs/tags/"+rng.First); err == nil {
		to = rng.First
	}
	ends := [2]*trials.End{{Name: rng.From}, &git.New}
	git.New.Name = to
	for _, e := range ends {
		if e.Commit, err = repo.Resolve(ctx, "refs/tags/"+e.Name); err != nil {
			return badRequest(fmt.Errorf("go on with git: %s has no tag %s: fetch Linus's tags, and for stable releases those of the stable repository; then:\n  blockrig bisect git --repo %s --good %s --bad %s …", git.Repo, e.Name, trials.Quoted(git.Repo), rng.From, to))
		}
	}
	git.Old = []trials.End{*ends[0]}
	if found.Answer.Direction == bisect.Fix {
		git.TermOld, git.TermNew = "broken", "fixed"
	}
	r := s.Request
	r.Git, r.Releases, r.ThenGit = &git, nil, nil
	a.say("going on with the commits of %s..%s", rng.From, to)
	gs, err := trials.Create(dir, r)
	if err != nil {
		return badRequest(err)
	}
	return a.searchAll(ctx, gs, report)
}
