package trials

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// A RequestError is what is wrong with a request, as opposed to something
// that broke.
type RequestError struct{ error }

func (e RequestError) Unwrap() error { return e.error }

func wrong(format string, args ...any) error {
	return RequestError{fmt.Errorf(format, args...)}
}

// Ends are where a bisection begins, as a user names them.
type Ends struct {
	Good []string
	Bad  string
	Fix  bool // the bad end is the older one: what made it good again?
}

// direction is what is looked for between the ends.
func (e Ends) direction() bisect.Direction {
	if e.Fix {
		return bisect.Fix
	}
	return bisect.Regression
}

// order says which ends are old, and which is new.
func (e Ends) order(good []End, bad End) (old []End, new End) {
	if e.Fix {
		return []End{bad}, good[0]
	}
	return good, bad
}

// backwards is the error of a new end that comes before an old one.
func (e Ends) backwards(old, new string) error {
	if e.Fix {
		return wrong("%s, the end that is good, comes before %s: leave --fix away to find what broke it", new, old)
	}
	return wrong("%s, the end that is bad, comes before %s: give --fix to find what made it good again", new, old)
}

// Commits puts the commits between the ends into the request. What else g
// says stays.
func (r *Request) Commits(ctx context.Context, repo *gitcmd.Repo, e Ends, g GitRequest) error {
	if err := bisect.CheckTerms(g.TermOld, g.TermNew); err != nil {
		return RequestError{err}
	}
	if e.Fix && len(e.Good) != 1 {
		return wrong("--fix looks for the first good commit, so there can be one --good only")
	}
	var ends []End
	for _, name := range append([]string{e.Bad}, e.Good...) {
		hash, err := repo.Resolve(ctx, name)
		if err != nil {
			return RequestError{err}
		}
		ends = append(ends, End{Name: name, Commit: hash})
	}
	g.Repo = repo.Dir()
	g.Old, g.New = e.order(ends[1:], ends[0])
	r.Direction = e.direction()
	switch named := g.TermOld != "" || g.TermNew != ""; {
	case e.Fix && !named:
		// "good" for what fails would be read wrongly in git's log.
		g.TermOld, g.TermNew = "broken", "fixed"
	case !e.Fix && named:
		r.Direction = bisect.Either // which end fails is found out
	}
	for _, o := range g.Old {
		if o.Commit == g.New.Commit {
			return wrong("%s and %s are the same commit", o.Name, g.New.Name)
		}
		_, err := repo.Run(ctx, "merge-base", "--is-ancestor", g.New.Commit, o.Commit)
		if status, ok := gitcmd.Status(err); err != nil && (!ok || status != 1) {
			return RequestError{err}
		}
		if err == nil && r.Direction != bisect.Either {
			return e.backwards(o.Name, g.New.Name)
		}
	}
	for _, path := range g.Paths {
		if err := checkPath(ctx, repo, path, g.Old, g.New); err != nil {
			return err
		}
	}
	r.Git = &g
	return nil
}

// checkPath refuses a path that names nothing: beside others, git takes it for
// one that no commit changes.
func checkPath(ctx context.Context, repo *gitcmd.Repo, path string, old []End, new End) error {
	for _, exclude := range []string{":!", ":^", ":(exclude"} {
		if strings.HasPrefix(path, exclude) {
			return nil // it may leave out what is not there
		}
	}
	between := []string{"rev-list", "--max-count=1", new.Commit}
	for _, end := range append(old, new) {
		if out, err := repo.Run(ctx, "ls-tree", "--full-tree", end.Commit, "--", strings.TrimRight(path, "/")); err == nil && out != "" {
			return nil
		}
		if end != new {
			between = append(between, "^"+end.Commit)
		}
	}
	// It may be a pattern, or have come and gone.
	out, err := repo.Run(ctx, append(between, "--", path)...)
	if _, ofGit := gitcmd.Status(err); err != nil && !ofGit {
		return err
	}
	if err != nil || out == "" {
		return wrong("there is no %s at %s or %s, nor between them", text.OneLine(path), old[0].Name, new.Name)
	}
	return nil
}

// ReleasesBetween puts the releases between the ends, kernel references, into
// the request.
func (r *Request) ReleasesBetween(ctx context.Context, store *kernels.Store, e Ends) error {
	all, err := known(ctx, store)
	if err != nil {
		return err
	}
	var ends []End
	var found []kernels.Version
	for _, ref := range []string{e.Bad, e.Good[0]} {
		v, err := release(ctx, store, all, ref)
		if err != nil {
			return err
		}
		found = append(found, v)
		ends = append(ends, End{Name: ref, Commit: v.Version})
	}
	list, err := released(store, all, found...)
	if err != nil {
		return err
	}
	old, new := e.order(ends[1:], ends[0])
	rr := &ReleaseRequest{Releases: list, Old: old[0], New: new}
	if rr.Old.Commit == rr.New.Commit {
		return wrong("both ends are %s", rr.Old.Commit)
	}
	h, err := bisect.NewReleases(list)
	if err != nil {
		return err
	}
	if _, err := h.Replay(ctx, rr.New.Commit, []string{rr.Old.Commit}, nil); err != nil {
		if _, err := h.Replay(ctx, rr.Old.Commit, []string{rr.New.Commit}, nil); err == nil {
			return e.backwards(rr.Old.Commit, rr.New.Commit)
		}
		return RequestError{err}
	}
	r.Releases, r.Direction = rr, e.direction()
	return nil
}

// release resolves a reference to the release that it is.
func release(ctx context.Context, store *kernels.Store, all []kernels.Version, ref string) (kernels.Version, error) {
	if !strings.HasPrefix(ref, "debian:") {
		return kernels.Version{}, wrong("%s is no released kernel: want debian:VERSION (for commits there is bisect git)", ref)
	}
	k, err := store.Resolve(ctx, ref)
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

// following is a bisection of commits that is to follow one of releases.
type following struct {
	dir     string
	rng     bisect.Range
	answer  *bisect.Answer
	culprit int      // which of the culprits that is, from 0
	wanted  []string // what is looked for in the range, of several things
}

// after are the bisections of commits that follow the one of releases in dir
// with this answer: one for each range.
func (r *Request) after(dir string, a *bisect.Answer) ([]following, error) {
	if r.ThenGit == nil || r.Releases == nil {
		return nil, nil
	}
	releases, err := bisect.NewReleases(r.Releases.Releases)
	if err != nil {
		return nil, err
	}
	var list []following
	culprits := a.Culprits()
	for n, c := range culprits {
		if c.First == nil || c.Grade == bisect.Doubtful {
			continue
		}
		rng, err := releases.Range(c.First.Hash, c.Direction)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(list, func(f following) bool { return f.rng == rng })
		if i < 0 {
			i = len(list)
			next := GitAfter(dir)
			if i > 0 {
				next += fmt.Sprintf("-%d", i+1)
			}
			list = append(list, following{dir: next, rng: rng, answer: c, culprit: n})
		}
		for _, of := range append([]*bisect.Answer{c}, a.With(c)...) {
			list[i].wanted = append(list[i].wanted, of.Target.Wanted())
		}
	}
	if len(culprits) == 1 {
		for i := range list {
			list[i].wanted = nil
		}
	}
	return list, nil
}

// Next begins, or resumes, the bisections that are to follow this one: those
// of the commits between the releases that were found.
func (s *Search) Next(ctx context.Context, found *Outcome) (_ []*Search, err error) {
	list, err := s.Request.after(s.Dir(), found.Answer)
	if err != nil {
		return nil, err
	}
	var out []*Search
	defer func() {
		if err != nil {
			for _, n := range out {
				err = errors.Join(err, n.Close())
			}
		}
	}()
	for _, f := range list {
		next, err := s.follow(ctx, f)
		if err != nil {
			return out, err
		}
		next.Follows, next.Cache = f.culprit, s.Cache
		out = append(out, next)
	}
	return out, nil
}

func (s *Search) follow(ctx context.Context, f following) (*Search, error) {
	if bisect.Begun(f.dir) { // from one that has ended comes its answer
		next, err := Open(f.dir)
		if err != nil {
			return nil, RequestError{err}
		}
		return next, nil
	}
	r, git := s.Request, *s.Request.ThenGit
	repo, err := gitcmd.Open(ctx, s.Cache, git.Repo)
	if err != nil {
		return nil, RequestError{err}
	}
	// The release that was tried, where the repository has it: what a stable
	// release brought is in there too.
	git.New.Name = f.rng.To
	if _, err := repo.Resolve(ctx, "refs/tags/"+f.rng.First); err == nil {
		git.New.Name = f.rng.First
	}
	git.Old = []End{{Name: f.rng.From}}
	for _, e := range []*End{&git.Old[0], &git.New} {
		if e.Commit, err = repo.Resolve(ctx, "refs/tags/"+e.Name); err != nil {
			return nil, wrong("continue with git: %s has no tag %s: fetch Linus's tags, and for stable releases those of the stable repository; then:\n  blockrig bisect git --repo %s --good %s --bad %s …", git.Repo, e.Name, Quoted(git.Repo), f.rng.From, git.New.Name)
		}
	}
	if f.answer.Direction == bisect.Fix {
		git.TermOld, git.TermNew = "broken", "fixed"
	}
	if f.wanted != nil {
		r.For = f.wanted
	}
	r.Git, r.Releases, r.ThenGit = &git, nil, nil
	next, err := Create(f.dir, r)
	if err != nil {
		return nil, RequestError{err}
	}
	return next, nil
}
