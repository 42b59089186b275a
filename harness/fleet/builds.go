package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/kernels/gitbuild"
)

// Compiler is the one that most builds of the hub's workers can be made with at
// a time; "" when no worker builds.
func (c *Client) Compiler(ctx context.Context) (string, error) {
	all, err := c.builders(ctx)
	if err != nil || len(all) == 0 {
		return "", err
	}
	return all[0].Compiler, nil
}

// builders are the classes of workers that build, the largest first.
func (c *Client) builders(ctx context.Context) (out []ClassOf, err error) {
	var a classAnswer
	err = until(ctx, func() (err error) {
		a, err = ask(ctx, c.conn, "classes", struct{}{}, func(a classAnswer) string { return a.Error })
		return err
	})
	for _, of := range a.Classes {
		if of.builds() {
			out = append(out, of)
		}
	}
	return out, err
}

// Build implements gitbuild.Away: a worker that has the job's compiler does it.
func (c *Client) Build(ctx context.Context, j gitbuild.Job, src *gitbuild.Sources, dir string) (err error) {
	b, err := c.begin(ctx, "build")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	b.make = func(ctx context.Context, _ int) (Task, error) { return c.build(ctx, j, src) }
	b.started = func(_ int, worker string) { src.Progress("on " + worker) }
	if err := b.submit(ctx, []int{0}); err != nil {
		return err
	}
	r, from, err := b.next(ctx, gitbuild.EntryFiles)
	if err != nil {
		return err
	}
	b.confirm = append(b.confirm, r.N)
	var said struct {
		built
		Reason string `json:"reason"`
	}
	worker := text.Cut(text.OneLine(r.Worker), 100)
	switch err := json.Unmarshal(r.Result.Outcome, &said); {
	case err != nil || from == "":
		return fmt.Errorf("what worker %s says is no outcome", worker)
	case said.Built == "" && worker == "": // the hub says so
		return errors.New(text.Cut(text.OneLine(said.Reason), 500))
	case said.Built == "":
		return fmt.Errorf("worker %s: %s", worker, text.Cut(text.OneLine(said.Reason), 500))
	}
	return move(r.Result, from, dir)
}

// build makes of a job what is sent, and sees to it that the hub has its files.
func (c *Client) build(ctx context.Context, j gitbuild.Job, src *gitbuild.Sources) (t Task, err error) {
	if t.Job, err = json.Marshal(j); err != nil {
		return t, err
	}
	t.Group, t.Class = "build-"+j.Key(), Class{Compiler: j.Compiler}
	packs, done, err := src.Packs(ctx)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, done()) }()
	for _, p := range packs {
		a, err := c.give(ctx, p.Path)
		if err != nil {
			return t, err
		}
		t.Packs = append(t.Packs, pack{p.Tree, a})
	}
	if src.Start != nil {
		t.Config = artefactOfBytes(src.Start)
		if !c.gave(t.Config) {
			if err := c.giveFrom(ctx, t.Config, "the config", bytes.NewReader(src.Start)); err != nil {
				return t, err
			}
		}
	}
	all, err := c.builders(ctx)
	for _, of := range all {
		if of.Class == t.Class {
			t.Near = src.Nearest(ctx, of.Commits)
		}
	}
	return t, err
}

// GivenBuild is a build's job with its files on this machine.
type GivenBuild struct {
	Job   gitbuild.Job
	Start []byte // see gitbuild.Sources
	Packs []gitbuild.Pack
	Dir   string // for files of gitbuild.EntryFiles; it is not there yet
}

// built does a build. What is wrong with the job itself is an error.
func (w *Worker) built(ctx context.Context, l Lease, dir string) (o built, err error) {
	if err := l.Task.check(); err != nil {
		return o, err
	}
	if w.Build == nil {
		return o, &troubleError{errors.New("nothing is built here")}
	}
	g := GivenBuild{Dir: dir}
	if err := json.Unmarshal(l.Task.Job, &g.Job); err != nil {
		return o, fmt.Errorf("a job that can't be read: %w", err)
	}
	if g.Job.Compiler != l.Task.Class.Compiler {
		return o, errors.New("a job of two compilers")
	}
	if c := l.Task.Config; c.Size > 0 {
		f, err := w.open(ctx, c)
		if err == nil {
			g.Start, err = io.ReadAll(f)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return o, &troubleError{err}
		}
	}
	for _, p := range l.Task.Packs {
		g.Packs = append(g.Packs, gitbuild.Pack{Tree: p.Tree, Open: func(ctx context.Context) (io.ReadCloser, error) { return w.open(ctx, p.Artefact) }})
	}
	if err := w.Build(ctx, g); err != nil {
		if full := room(w.Cache); full != nil || !errors.Is(err, gitbuild.ErrJob) {
			return o, &troubleError{errors.Join(err, full)}
		}
		return o, err
	}
	o.Built = builtYes
	if failed, err := gitbuild.Failed(dir); err != nil || failed {
		o.Built = builtNo
		return o, err
	}
	return o, nil
}

// open gives what is in an artefact, from the cache or the hub.
func (w *Worker) open(ctx context.Context, a Artefact) (io.ReadCloser, error) {
	e, err := w.fetched(ctx, a)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(e.Path(), artefactName))
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return &heldFile{f, e.Close}, nil
}

// A heldFile is one of an entry of a cache, which is held until it is closed.
type heldFile struct {
	*os.File
	release func() error
}

func (f *heldFile) Close() error { return errors.Join(f.File.Close(), f.release()) }

// Builds makes real builds for a worker.
type Builds struct {
	Builder *gitbuild.Builder
	Sources *gitbuild.Store
}

// Do does a job.
func (b *Builds) Do(ctx context.Context, g GivenBuild) error {
	return b.Builder.Do(ctx, b.Sources, g.Job, g.Start, g.Packs, g.Dir)
}

// Commits are those of which there are object trees.
func (b *Builds) Commits() []string {
	all := b.Builder.Commits(b.Sources)
	return all[:min(len(all), maxNear)]
}
