package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/child"
	"github.com/blockrig/blockrig/scenarios"
)

// The case in which the misaligned read gives EIO.
const (
	scenario = "lvm-mirror-dio-read"
	caseID   = "length=512,memory_offset=32"
)

// tries is the scenario and the case that show a plan's failures.
func (p plan) tries() (name, id string) {
	if p.several || p.conflict {
		return "plain-dio-read", "length=8192,memory_offset=0"
	}
	return scenario, caseID
}

// wants are the commits to be found, by the verdict that each is looked for by.
func (p plan) wants() map[scenarios.Verdict]role {
	switch {
	case p.several:
		return map[scenarios.Verdict]role{scenarios.Errno: roleCulprit, scenarios.Warn: roleWarnDIO}
	case p.conflict:
		return map[scenarios.Verdict]role{scenarios.Errno: roleCulprit}
	case p.grow:
		return map[scenarios.Verdict]role{scenarios.EIO: roleCulprit, scenarios.Degraded: roleSecond}
	}
	return map[scenarios.Verdict]role{scenarios.EIO: roleCulprit}
}

// defaultSeed gives a history whose bisection meets a commit that does not
// build and one that does not boot.
const defaultSeed = 8

// defaultSuite has newer kernel sources than a stable release.
const defaultSuite = "trixie-backports"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := demo(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bisect-demo:", err)
		}
		os.Exit(1)
	}
}

func demo(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var p plan
	f := flag.NewFlagSet("bisect-demo", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&p.commits, "commits", 24, "commits of the history")
	f.Uint64Var(&p.seed, "seed", defaultSeed, "order of the commits")
	f.BoolVar(&p.grow, "grow", false, "a symptom that grows on the way")
	f.BoolVar(&p.several, "several", false, "a short history whose failing end shows several things")
	f.BoolVar(&p.conflict, "conflict", false, "a short history whose culprit can't be reverted")
	only := f.Bool("history", false, "make the history and print it, no more")
	command := f.String("blockrig", "bin/blockrig", "the command to bisect with")
	suite := f.String("suite", defaultSuite, "Debian suite with the sources")
	hub := f.String("hub", "", "`ADDRESS:PORT` of a hub whose workers build and make the trials")
	builders := f.Int("builders", 1, "commits to build at once")
	state := f.String("state", "", "folder of the bisection (default: a new one, removed when all went well)")
	if err := f.Parse(args); err != nil {
		return err
	}
	say := func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("find the cache folder: %w", err)
	}
	s, err := fetch(ctx, filepath.Join(cache, "blockrig"), *suite, say)
	if err != nil {
		return err
	}
	h, err := p.make(ctx, s)
	if err != nil {
		return err
	}
	if *only {
		for _, c := range h.commits {
			fmt.Fprintf(stdout, "%s %-9s %s\n", c.hash[:12], c.role, c.title)
		}
		fmt.Fprintln(stdout, s.repo.Dir())
		return nil
	}
	say("%d commits on top of %s; looking for %s", len(h.commits), s.version, h.with(roleCulprit).hash[:12])
	with := []string{"--builders", strconv.Itoa(*builders)}
	if *hub != "" {
		with = append(with, "--hub", *hub)
	}
	r, err := bisectWith(ctx, *command, *state, h, p, with, stdout, stderr)
	if err != nil {
		return err
	}
	return r.judge(h, p, stdout)
}

// A run is what a bisection left: its answer, and what each commit took.
type run struct {
	answer bisect.Answer
	steps  []step
	took   time.Duration
}

// A step is what one commit cost, in seconds.
type step struct {
	commit        string
	build, trials float64
}

// bisectWith has blockrig do the work, with more flags.
func bisectWith(ctx context.Context, command, state string, h *history, p plan, flags []string, stdout, stderr io.Writer) (_ *run, err error) {
	keep := state != ""
	if !keep {
		tmp, err := os.MkdirTemp("", "blockrig-demo-")
		if err != nil {
			return nil, fmt.Errorf("make a folder for the bisection: %w", err)
		}
		state = filepath.Join(tmp, "state")
		defer func() {
			if err == nil {
				err = os.RemoveAll(tmp)
			} else {
				err = fmt.Errorf("%w (its record is in %s)", err, state)
			}
		}()
	}
	began := time.Now()
	name, id := p.tries()
	args := append([]string{"bisect", "git", "--repo", h.repo.Dir(), "--good", h.base, "--bad", h.tip(), "--case", id, "--state", state, name}, flags...)
	cmd := exec.Command(command, args...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := child.Run(ctx, cmd, child.Options{Grace: time.Minute}); err != nil {
		return nil, fmt.Errorf("bisect git: %w", err)
	}
	r := &run{took: time.Since(began)}
	data, err := os.ReadFile(filepath.Join(state, "answer.json"))
	if err == nil {
		err = json.Unmarshal(data, &r.answer)
	}
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	r.steps, err = costs(filepath.Join(state, "trials.jsonl"), r.answer)
	return r, err
}

// costs adds up what the steps between the ends took.
func costs(file string, a bisect.Answer) ([]step, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read what the trials took: %w", err)
	}
	defer f.Close()
	all := map[string]*step{}
	for dec := json.NewDecoder(f); ; {
		var line struct {
			Commit   string           `json:"commit"`
			Revert   string           `json:"revert"`
			Apply    string           `json:"apply"`
			Prepared *bisect.Prepared `json:"prepared"`
			Trial    *bisect.Outcome  `json:"trial"`
		}
		err := dec.Decode(&line)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if line.Revert+line.Apply != "" {
			continue
		}
		s := all[line.Commit]
		if s == nil {
			s = &step{commit: line.Commit}
			all[line.Commit] = s
		}
		if line.Prepared != nil {
			s.build += line.Prepared.Seconds
		} else {
			s.trials += line.Trial.Seconds
		}
	}
	var steps []step
	for _, m := range a.Marks {
		if s := all[m.Commit]; s != nil {
			steps = append(steps, *s)
		}
	}
	return steps, nil
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	if len(list) == 0 {
		return 0
	}
	return list[len(list)/2]
}

// provenAlone wants that a revert was not possible, that what could be taken
// back did not help, that the change alone failed, and so does what may have
// undone it.
func provenAlone(checks []bisect.Check) error {
	for name, want := range map[string]bisect.Result{
		bisect.CheckRevert: bisect.NotPossible, bisect.CheckPartly: bisect.Fail, bisect.CheckAlone: bisect.Pass,
		bisect.CheckSince: bisect.Pass,
	} {
		i := slices.IndexFunc(checks, func(c bisect.Check) bool { return c.Name == name })
		if i < 0 || checks[i].Result != want {
			return fmt.Errorf("want %s of %q, there are %+v", want, name, checks)
		}
	}
	return nil
}

// judge says whether the answer is the right one.
func (r *run) judge(h *history, p plan, out io.Writer) error {
	a := r.answer
	for v, role := range p.wants() {
		want := h.with(role)
		all := append([]*bisect.Answer{&a}, a.More...)
		i := slices.IndexFunc(all, func(a *bisect.Answer) bool { return a.Target.Signature.Verdict == v })
		if i < 0 {
			return fmt.Errorf("nothing is said of %s", v)
		}
		switch found := all[i]; {
		case found.First == nil:
			return fmt.Errorf("%s: the answer names no single commit", &found.Target)
		case found.First.Hash != want.hash:
			return fmt.Errorf("%s: the answer is %s (%s), and it was %s (%s)", &found.Target, found.First.Hash[:12], found.First.Title, want.hash[:12], want.title)
		case found.Grade != bisect.Proven:
			return fmt.Errorf("%s: the answer is right and called %s, not proven: %v", &found.Target, found.Grade, found.Why)
		case p.conflict:
			if err := provenAlone(found.Checks); err != nil {
				return fmt.Errorf("%s: %w", &found.Target, err)
			}
		}
	}
	var whole, trials []float64
	for _, s := range r.steps {
		whole, trials = append(whole, s.build+s.trials), append(trials, s.trials)
	}
	fmt.Fprintf(out, "\nright, and proven: %d steps in %s; the median step took %.1f s, of which trials %.1f s\n",
		a.Steps, r.took.Round(time.Second), median(whole), median(trials))
	return nil
}
