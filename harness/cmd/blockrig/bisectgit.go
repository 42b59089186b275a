package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/kernels/config"
	"github.com/blockrig/blockrig/kernels/gitbuild"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// gitOptions are the flags about commits and how they are built.
type gitOptions struct {
	repo        string
	good        []string
	bad         string
	fix         bool
	firstParent bool
	termOld     string
	termNew     string
	paths       []string
	builders    int
	compiler    string // of the hub's workers, which build; "": this machine does

	buildOptions
}

// buildOptions are the flags about how commits are built.
type buildOptions struct {
	apply     []string
	config    string
	fragments []string
	cc        string
	make      int
}

func (g *buildOptions) buildFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&g.apply, "apply", nil, "apply `PATCH` to every commit before it is built, where it applies; may be given several times")
	f.StringVar(&g.config, "config", "", "begin with the kernel config `FILE` (a distribution's), its modules left out but for those needed")
	f.StringArrayVar(&g.fragments, "fragment", nil, "build with blockrig's config fragment `NAME` too, such as debug or kasan; may be given several times")
	f.StringVar(&g.cc, "cc", "", "`COMPILER` to build with (default gcc)")
	numberVar(f, &g.make, "make-jobs", 0, 1, mostJobs, "jobs of make (default: one for each CPU)")
}

// needGit refuses flags about building when nothing is built.
func needGit(f *pflag.FlagSet, refs ...string) error {
	if slices.ContainsFunc(refs, func(ref string) bool { return strings.HasPrefix(ref, "git:") }) {
		return nil
	}
	for _, name := range []string{"apply", "config", "fragment", "cc", "make-jobs"} {
		if f.Changed(name) {
			return fmt.Errorf("--%s is about kernels that are built from git, and none is", name)
		}
	}
	return nil
}

// build takes the files of the flags into a request.
func (g *buildOptions) build() (trials.Build, error) {
	b := trials.Build{CC: g.cc, Jobs: g.make, Fragments: g.fragments}
	if _, err := config.Read(g.fragments); err != nil {
		return b, fmt.Errorf("--fragment: %w", err)
	}
	for _, p := range g.apply {
		f, err := trials.ReadFile("--apply", p)
		if err != nil {
			return b, err
		}
		b.Patches = append(b.Patches, f)
	}
	if g.config != "" {
		f, err := trials.ReadFile("--config", g.config)
		if err != nil {
			return b, err
		}
		b.Config = &f
	}
	return b, nil
}

// openRepo opens a repository of the user's.
func openRepo(ctx context.Context, path string) (*gitcmd.Repo, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	return gitcmd.Open(ctx, cache, path)
}

func (a *app) bisectGit() *cobra.Command {
	var (
		o bisectOptions
		g gitOptions
	)
	c := &cobra.Command{
		Use:   "git --repo REPO --good REV --bad REV SCENARIO [-- PATH…]",
		Short: "Find the commit of a repository that changed what a scenario shows",
		Long: `Find the first bad commit between --good and --bad in the kernel repository
REPO, or with --fix, the first good one. Kernels are built in a folder of
blockrig's own: the repository's files and index are not touched. git's own
bisect runs in a repository of its own in the bisection's folder, where git
bisect log and git bisect visualize work meanwhile. Nothing that the repository's
config or hooks name is run.

With --builders N, each round builds N commits at once, in folders of their own,
and takes the range to a part of N+1. That takes more builds in all, so it pays
where one build leaves CPUs idle, as small ones do on a large machine, or where
several machines build.

With --hub, those of its workers that have a compiler build the commits, as many
at once as there are workers and builders; all of them with the same compiler, so
that kernels are compared and not compilers.`,
		Example: `  blockrig bisect git --repo ~/linux --good v6.17 --bad v6.18 lvm-mirror-dio-read --case length=512,memory_offset=32
  blockrig bisect git --repo ~/linux --good v6.17 --bad v6.18 md-raid1-dio-read -- block drivers/md fs/iomap
  blockrig bisect git --repo ~/linux --fix --bad v6.18 --good master lvm-mirror-dio-read --bad-when 'verdict in (eio, hang)'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			// What comes after "--" are paths.
			dash := c.ArgsLenAtDash()
			switch {
			case dash < 0 && len(args) > 1:
				return badRequest(fmt.Errorf("bisect git: %q comes after the scenario; paths of the repository come after --", args[1]))
			case dash >= 0 && dash != 1:
				return badRequest(errors.New("bisect git: want one scenario before --"))
			}
			g.paths = args[1:]
			if g.repo == "" || len(g.good) == 0 || g.bad == "" {
				return badRequest(errors.New("bisect git: want --repo, --good and --bad"))
			}
			if err := o.check(); err != nil {
				return badRequest(err)
			}
			s, err := a.newGit(c.Context(), &o, &g, args[0])
			if err != nil {
				return err
			}
			return a.searchAll(c.Context(), s, o.report)
		},
	}
	f := c.Flags()
	f.StringVar(&g.repo, "repo", "", "the kernel's git repository, a local `FOLDER`")
	f.StringArrayVar(&g.good, "good", nil, "commit `REV` that passes; may be given several times")
	f.StringVar(&g.bad, "bad", "", "commit `REV` that fails")
	f.BoolVar(&g.fix, "fix", false, "the bad commit is the older one: find the first that is good again")
	f.BoolVar(&g.firstParent, "first-parent", false, "follow only the first parent of merges")
	f.StringVar(&g.termOld, "term-old", "", "git bisect's `WORD` for the older state (default good)")
	f.StringVar(&g.termNew, "term-new", "", "git bisect's `WORD` for the newer state (default bad)")
	numberVar(f, &g.builders, "builders", 1, 1, mostBuilders, "commits to build, and then try, at once: the `N` that together tell most; fewer rounds, more builds")
	g.buildFlags(f)
	o.flags(f)
	o.lab.hubFlag(f)
	return c
}

// mostBuilders is how many commits a round has at most.
const mostBuilders = 64

// newGit makes a bisection of commits.
func (a *app) newGit(ctx context.Context, o *bisectOptions, g *gitOptions, name string) (*trials.Search, error) {
	cases, err := a.bisectCases(name, o)
	if err != nil {
		return nil, badRequest(err)
	}
	repo, err := openRepo(ctx, g.repo)
	if err != nil {
		return nil, badRequest(err)
	}
	git := trials.GitRequest{FirstParent: g.firstParent, Paths: g.paths, TermOld: g.termOld, TermNew: g.termNew}
	if git.Build, err = g.build(); err != nil {
		return nil, badRequest(err)
	}
	if g.builders > 1 {
		git.Build.Builders = g.builders
	}
	r := o.request(cases[0])
	if err := a.onHub(ctx, o, &r); err != nil {
		return nil, err
	}
	if g.compiler, _, err = a.builders(ctx, g.cc); err != nil {
		return nil, err
	}
	git.Build.Compiler = g.compiler
	if err := r.Commits(ctx, repo, trials.Ends{Good: g.good, Bad: g.bad, Fix: g.fix}, git); err != nil {
		return nil, err
	}
	if len(cases) == 1 {
		return a.newSearch(r, o)
	}
	defer a.show()()
	runner, err := a.runner(ctx, r.Machine, cases[0].Setup.Machine.Memory)
	if err != nil {
		return nil, err
	}
	k, err := a.commitsOf(ctx, runner, repo.Dir(), g)
	if err != nil {
		return nil, err
	}
	k.Case = cases[0]
	return a.choose(ctx, runner, k, cases, r, o)
}

// commitsOf builds kernels of a repository by the flags.
func (a *app) commitsOf(ctx context.Context, runner *trials.Runner, repo string, g *gitOptions) (*trials.Commits, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	opts, err := g.options()
	if err != nil {
		return nil, err
	}
	spec := gitbuild.Spec{Repo: repo, Fragments: opts.Fragments, ConfigFile: opts.ConfigFile, Patches: opts.Patches}
	opts.Log, opts.Compiler = a.log, g.compiler
	return trials.NewCommits(ctx, runner, cache, spec, opts)
}

// options are the flags for the room that builds.
func (g *buildOptions) options() (gitbuild.Options, error) {
	opts := gitbuild.Options{CC: g.cc, Jobs: g.make, Nice: trials.BuildNice, Fragments: config.With(g.fragments)}
	for _, p := range g.apply {
		abs, err := filepath.Abs(p)
		if err != nil {
			return opts, fmt.Errorf("--apply %s: %w", p, err)
		}
		opts.Patches = append(opts.Patches, abs)
	}
	if g.config != "" {
		abs, err := filepath.Abs(g.config)
		if err != nil {
			return opts, fmt.Errorf("--config %s: %w", g.config, err)
		}
		opts.ConfigFile = abs
	}
	return opts, nil
}
