package trials

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/kernels/config"
	"github.com/blockrig/blockrig/kernels/gitbuild"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// Folders of a bisection besides those of its [bisect.State].
const (
	dirRuns     = "runs"     // records of its trials, a results store
	dirMachines = "machines" // saved machines of the request under way
	dirFiles    = "files"    // the user's patches and config
)

// A Search is a bisection with its folder.
type Search struct {
	Request Request
	Cache   string // blockrig's own cache folder
	Follows int    // of one that Next gave: which culprit it is about, from 0

	state *bisect.State
}

// Create begins a bisection in the new folder dir.
func Create(dir string, r Request) (*Search, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the bisection's folder: %w", err)
	}
	st, err := bisect.CreateState(dir, r)
	if err != nil {
		return nil, err
	}
	return &Search{Request: r, state: st}, nil
}

// Open resumes the one in dir.
func Open(dir string) (*Search, error) {
	s := &Search{}
	dir, err := filepath.Abs(dir) // a slash at its end goes, too
	if err != nil {
		return nil, fmt.Errorf("find the bisection's folder: %w", err)
	}
	if s.state, err = bisect.OpenState(dir, &s.Request); err != nil {
		return nil, err
	}
	if err := s.Request.Check(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), s.state.Close())
	}
	return s, nil
}

// Dir is the search's folder, an absolute path.
func (s *Search) Dir() string { return s.state.Dir() }

// Close lets go of the folder.
func (s *Search) Close() error { return s.state.Close() }

// Case is the case that the search tries.
func (s *Search) Case() (scenarios.Case, error) { return s.Request.scenarioCase() }

// Unfinished tells whether dir holds a bisection that has not ended.
func Unfinished(dir string) bool {
	if !bisect.Ended(dir) {
		return bisect.Begun(dir)
	}
	// With commits still to be bisected, which has not begun.
	var r Request
	a, err := bisect.ReadState(dir, &r)
	if err != nil {
		return false
	}
	next, err := r.after(dir, a)
	return err == nil && slices.ContainsFunc(next, func(n following) bool { return !bisect.Begun(n.dir) })
}

// A Listed bisection is what a list says of one.
type Listed struct {
	Dir      string `json:"dir"`
	Scenario string `json:"scenario"`
	Case     string `json:"case"`
	Of       string `json:"of"`    // commits or releases
	State    string `json:"state"` // unfinished, its grade, or stopped
	First    string `json:"first,omitempty"`
}

// List gives the bisections in root, the oldest first.
func List(root string) ([]Listed, error) {
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for bisections: %w", err)
	}
	var out []Listed
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		if !bisect.Begun(dir) {
			continue
		}
		var r Request
		a, err := bisect.ReadState(dir, &r)
		l := Listed{Dir: dir, Scenario: r.Scenario.Name, Case: r.Scenario.Case, Of: "releases", State: "stopped"}
		if r.Git != nil {
			l.Of = "commits"
		}
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			l.State = "damaged"
		case Unfinished(dir):
			l.State = "unfinished"
		case err == nil:
			l.State = string(a.Grade)
		}
		if err == nil && a.First != nil {
			l.First = a.First.Hash
		}
		out = append(out, l)
	}
	return out, nil
}

// NewFolder names a new bisection's folder in root.
func NewFolder(root string) string {
	return filepath.Join(root, results.NewID(time.Now()))
}

// LastUnfinished is the folder of the last bisection in root that has not come
// to an end.
func LastUnfinished(root string) (string, error) {
	all, err := List(root)
	if err != nil {
		return "", err
	}
	for _, l := range slices.Backward(all) {
		if l.State == "unfinished" {
			return l.Dir, nil
		}
	}
	return "", wrong("there is no unfinished bisection to resume in %s; name its folder", root)
}

// GitAfter is the folder of the bisection of commits that follows the one of
// releases in dir.
func GitAfter(dir string) string { return filepath.Clean(dir) + "-git" }

// An Outcome is what a bisection came to.
type Outcome struct {
	Answer   *bisect.Answer
	Contexts []bisect.Context // of its culprits, in their order
}

// Each calls f for every culprit.
func (o *Outcome) Each(f func(i int, a *bisect.Answer, cx bisect.Context) error) error {
	for i, a := range o.Answer.Culprits() {
		if err := f(i, a, o.Contexts[i]); err != nil {
			return err
		}
	}
	return nil
}

// Doubtful tells whether the answer for one of the culprits is.
func (o *Outcome) Doubtful() bool {
	return slices.ContainsFunc(o.Answer.Culprits(), func(a *bisect.Answer) bool { return a.Grade == bisect.Doubtful })
}

// Run searches to the end. The error is a *bisect.StopError when there is no
// answer. It may be called once.
func (s *Search) Run(ctx context.Context, runner *Runner, progress func(bisect.Event)) (_ *Outcome, err error) {
	c, err := s.Case()
	if err != nil {
		return nil, err
	}
	dir := s.Dir()
	// What a killed one left; the folder is ours alone.
	machines := filepath.Join(dir, dirMachines)
	if err := os.RemoveAll(machines); err != nil {
		return nil, fmt.Errorf("clear the saved machines: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(machines)) }()
	store := filepath.Join(dir, dirRuns)
	if err := results.Sweep(ctx, store); err != nil {
		return nil, err
	}
	run, err := results.Create(ctx, store, results.Request{Command: s.Request.Command, Apart: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, run.Close()) }()

	cfg, err := s.config()
	if err != nil {
		return nil, err
	}
	cfg.Progress = progress
	t := &Tester{Runner: runner, Cases: []scenarios.Case{c}, Run: run, Base: dir, Dir: machines}
	var h bisect.History
	var tester bisect.Tester
	switch r := s.Request; {
	case r.Git != nil:
		commits, err := s.commits(ctx, runner)
		if err != nil {
			return nil, err
		}
		commits.Case = c
		git, err := s.git(ctx, commits.Spec.Repo)
		if err != nil {
			return nil, err
		}
		defer func() {
			// One that was interrupted keeps its repository: git bisect log
			// works there.
			if ctx.Err() == nil {
				err = errors.Join(err, git.Remove())
			}
		}()
		t.Kernels = commits
		h, tester = git, inspecting{t, commits}
		cfg.TakenBack = s.takenBack
	default:
		releases, err := bisect.NewReleases(r.Releases.Releases)
		if err != nil {
			return nil, err
		}
		t.Kernels = NewReleases(runner, r.Releases.Releases, c)
		h, tester = releases, t
	}
	a, err := s.state.Run(ctx, cfg, h, tester)
	if err != nil {
		return nil, err
	}
	o := &Outcome{Answer: a}
	for _, culprit := range a.Culprits() {
		cx, err := s.context(ctx, culprit, c, h, t.Kernels)
		if err != nil {
			return nil, err
		}
		for _, m := range a.With(culprit) {
			cx.Also = append(cx.Also, m.Target.Does(cx.Failing))
		}
		o.Contexts = append(o.Contexts, cx)
	}
	return o, nil
}

func (s *Search) config() (bisect.Config, error) {
	r := s.Request
	rules, err := r.Rules()
	if err != nil {
		return bisect.Config{}, err
	}
	cfg := bisect.Config{Direction: r.Direction, Rules: rules, Confidence: r.Confidence, MaxSkips: r.MaxSkips}
	if g := r.Git; g != nil {
		cfg.New, cfg.Builders = g.New.Commit, g.Build.Builders
		for _, o := range g.Old {
			cfg.Old = append(cfg.Old, o.Commit)
		}
		return cfg, nil
	}
	cfg.New, cfg.Old, cfg.Releases = r.Releases.New.Commit, []string{r.Releases.Old.Commit}, true
	return cfg, nil
}

// git is the history, in the state's worktree.
func (s *Search) git(ctx context.Context, path string) (*bisect.Git, error) {
	repo, err := gitcmd.Open(ctx, s.Cache, path)
	if err != nil {
		return nil, err
	}
	g := s.Request.Git
	return bisect.OpenGit(ctx, repo, s.state.Worktree(), bisect.GitOptions{
		FirstParent: g.FirstParent, Paths: g.Paths, TermOld: g.TermOld, TermNew: g.TermNew, At: g.New.Commit,
	})
}

// commits are the request's kernels.
func (s *Search) commits(ctx context.Context, runner *Runner) (*Commits, error) {
	b := s.Request.Git.Build
	spec := gitbuild.Spec{Repo: s.Request.Git.Repo, Fragments: config.With(b.Fragments)}
	dir := filepath.Join(s.Dir(), dirFiles)
	for i, p := range b.Patches {
		name, err := putFile(dir, fmt.Sprintf("%04d-%s", i+1, p.Name), p.Text)
		if err != nil {
			return nil, err
		}
		spec.Patches = append(spec.Patches, name)
	}
	if b.Config != nil {
		name, err := putFile(dir, "config", b.Config.Text)
		if err != nil {
			return nil, err
		}
		spec.ConfigFile = name
	}
	return NewCommits(ctx, runner, s.Cache, spec, gitbuild.Options{CC: b.CC, Jobs: b.Jobs, AtOnce: b.Builders, Nice: BuildNice, Log: runner.Log, Compiler: b.Compiler})
}

// BuildNice is how much builds stand back behind what else the machine does.
const BuildNice = 5

// NewCommits opens the build cache below cache, and makes the runner's kernel
// store build its git: references. With a compiler in its options, that is one
// of the runner's other machines, which build.
func NewCommits(ctx context.Context, runner *Runner, cache string, spec gitbuild.Spec, opts gitbuild.Options) (*Commits, error) {
	opts.Progress = func(phase string, files int) {
		what := ""
		if files > 0 {
			what = fmt.Sprintf("%d files", files)
		}
		runner.progress(phase, what)
	}
	if opts.Compiler != "" {
		if opts.Away = runner.Away; opts.Away == nil {
			return nil, errors.New("its kernels are built by a hub's workers, and there is no hub")
		}
	}
	b, err := gitbuild.Open(ctx, cache, opts)
	if err != nil {
		return nil, err
	}
	c := &Commits{Preparer: runner.Preparer, Builder: b, Spec: spec, Say: runner.say}
	runner.Preparer.Kernels.Builder = c
	return c, nil
}

// putFile writes a file of the request's where make and git can read it.
func putFile(dir, name string, text []byte) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	err = root.WriteFile(name, text, 0o644)
	if err := errors.Join(err, root.Close()); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return filepath.Join(dir, name), nil
}
