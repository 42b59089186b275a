package nightly

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// A Worker does nights.
type Worker struct {
	Config *Config
	Root   string // of the records
	Exec   Executor
	Clock  Clock
	// Workers is how many trials run at a time, for the estimates.
	Workers int
	Say     func(format string, args ...any)
	Command []string // that runs are recorded with
}

// ErrUnderWay says that another process does the night.
var ErrUnderWay = errors.New("a night of this config is under way")

// forTrials is the part of the budget that is for what is due, as long as
// something may be new: the rest is for looking closer.
const forTrials = .6

// Dir is where the nights of a config are recorded.
func (w *Worker) Dir() string { return filepath.Join(w.Root, Folder, w.Config.Name) }

// A Forecast is what a night would do.
type Forecast struct {
	Kernels []Kernel `json:"kernels"`
	Plan    []Batch  `json:"plan"`
	LeftOut []Batch  `json:"left_out"` // the time is up before them
	Trials  int      `json:"trials"`   // of the plan
	Seconds float64  `json:"seconds"`
	Budget  float64  `json:"budget"`            // seconds
	Resumes int      `json:"resumes,omitempty"` // the night that would be continued
	Trouble []string `json:"trouble,omitempty"`
	Hunt    string   `json:"hunt,omitempty"` // what is hunted on, and for how long
}

// Forecast says what a night would do now, without doing any of it.
func (w *Worker) Forecast(ctx context.Context) (*Forecast, error) {
	b, unfinished, err := openArchive(w.Dir())
	if err != nil {
		return nil, err
	}
	n := unfinished
	if n == nil {
		if n, err = w.begin(ctx, b); err != nil {
			return nil, err
		}
	}
	f := &Forecast{Kernels: n.Kernels, Budget: w.Config.Time().Seconds(), Trouble: n.Trouble, LeftOut: []Batch{}}
	if of, ref := w.Config.Hunt, w.huntedOn(n); of != nil && ref != "" && (n.Hunt == nil || !n.Hunt.Done) {
		f.Hunt = fmt.Sprintf("%s on %s, up to %s", strings.Join(of.Stacks, ","), ref, of.Budget)
	}
	if unfinished != nil {
		f.Resumes = n.Number
	}
	for _, batch := range n.Plan {
		switch {
		case batch.Done:
		case n.Seconds+f.Seconds+batch.Seconds > f.Budget && len(f.Plan) > 0:
			f.LeftOut = append(f.LeftOut, batch)
		default:
			f.Plan = append(f.Plan, batch)
			f.Seconds += batch.Seconds
			f.Trials += len(batch.Cases) * w.Config.Repeat
		}
	}
	return f, nil
}

// begin plans a new night.
func (w *Worker) begin(ctx context.Context, b *archive) (*Night, error) {
	n := &Night{Number: b.next(), Started: w.Clock.Now().UTC().Truncate(time.Second)}
	f := &finder{exec: w.Exec, archive: b, seen: b.seen()}
	var err error
	if n.Kernels, n.Trouble, err = f.kernels(ctx, w.Config.Kernels); err != nil {
		return nil, err
	}
	n.Plan = plan(b, n.Kernels, w.Config.Cases(), w.Config.Repeat, w.Workers)
	return n, nil
}

// A session is a night under way.
type session struct {
	*Worker
	archive *archive
	night   *Night
	cases   map[CaseName]scenarios.Case
	from    time.Duration // by the clock, when this process began
	spent   float64       // seconds of the night before that
}

// Run does a night, or the rest of one that was interrupted, and gives its
// record. One that can't go on (its context ends, a disk is full) is kept as
// far as it came, and given with the error.
func (w *Worker) Run(ctx context.Context) (_ *Night, err error) {
	if err := os.MkdirAll(w.Dir(), 0o777); err != nil {
		return nil, fmt.Errorf("make a place for the nights: %w", err)
	}
	unlock, err := cachedir.TryLock(filepath.Join(w.Dir(), lockFile))
	if errors.Is(err, cachedir.ErrBusy) {
		return nil, fmt.Errorf("%w: %s", ErrUnderWay, w.Config.Name)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	b, n, err := openArchive(w.Dir())
	if err != nil {
		return nil, err
	}
	j := &session{Worker: w, archive: b, cases: map[CaseName]scenarios.Case{}, from: w.Clock.Elapsed()}
	for _, c := range w.Config.Cases() {
		j.cases[nameOf(c)] = c
	}
	if n == nil {
		if n, err = w.begin(ctx, b); err != nil {
			return nil, err
		}
	} else {
		w.say("resuming the night %d of %s", n.Number, n.Started.Format(time.DateOnly))
	}
	j.night, j.spent = n, n.Seconds
	if err := j.keep(); err != nil {
		return n, err
	}
	if err := j.work(ctx); err != nil {
		return n, errors.Join(err, j.keep())
	}
	n.Lacking = b.backports(*n, w.Config.Cases())
	n.Finished = w.Clock.Now().UTC().Truncate(time.Second)
	return n, j.keep()
}

func (w *Worker) say(format string, args ...any) {
	if w.Say != nil {
		w.Say(format, args...)
	}
}

// elapsed is how many seconds were worked on the night.
func (j *session) elapsed() float64 { return j.spent + (j.Clock.Elapsed() - j.from).Seconds() }

// left is what is left of a part of the budget.
func (j *session) left(part float64) time.Duration {
	return time.Duration((part*j.Config.Time().Seconds() - j.elapsed()) * float64(time.Second))
}

// keep writes down how far the night is.
func (j *session) keep() error {
	j.night.Seconds = j.elapsed()
	return j.archive.put(j.night)
}

// work does what is due, looks closer at what may be new, and then at what is
// left of the plan.
func (j *session) work(ctx context.Context) error {
	for _, part := range []float64{forTrials, 1} {
		for i := range j.night.Plan {
			b := &j.night.Plan[i]
			// The first one is always tried: else a budget that is too small
			// would never see anything.
			if b.Done || i > 0 && time.Duration(b.Seconds*float64(time.Second)) > j.left(part) {
				continue
			}
			if err := j.try(ctx, b); err != nil {
				return err
			}
		}
		if err := j.lookCloser(ctx); err != nil {
			return err
		}
		if err := j.hunt(ctx); err != nil {
			return err
		}
	}
	return j.goOn(ctx)
}

// goOn continues the bisections that the night before had no time to end.
func (j *session) goOn(ctx context.Context) error {
	if len(j.archive.nights) == 0 {
		return nil
	}
	last := j.archive.nights[len(j.archive.nights)-1]
	for _, f := range slices.Concat(last.Findings, last.Continued) {
		if f.Bisection == nil || !f.Bisection.Unfinished || slices.ContainsFunc(j.night.Continued, func(o Finding) bool { return o.watchKey() == f.watchKey() }) {
			continue
		}
		b := *f.Bisection
		f.Bisection = &b
		if j.left(1) > 0 {
			if err := j.bisect(ctx, &f); err != nil {
				return err
			}
		}
		j.night.Continued = append(j.night.Continued, f)
		if err := j.keep(); err != nil {
			return err
		}
	}
	return nil
}

// try makes the trials of a batch.
func (j *session) try(ctx context.Context, b *Batch) error {
	records, err := j.run(ctx, b, b.Kernel.Ref, b.Cases, j.Config.Repeat, "")
	if err != nil {
		return err
	}
	j.enter(b.Kernel.Stream, b.Cases, "", records)
	b.Done = true
	return j.keep()
}

// enter adds what trials showed to the night.
func (j *session) enter(stream string, cases []CaseName, way Way, records []results.Record) {
	for _, of := range cases {
		var mine []results.Record
		for _, r := range records {
			if r.Scenario == of.Scenario && r.Case == of.Case {
				mine = append(mine, r)
			}
		}
		if len(mine) > 0 {
			j.night.Tallies = append(j.night.Tallies, tally(stream, of, way, mine))
		}
	}
}

// run makes trials of cases on one kernel. Those of a batch are resumed where
// they stopped. A kernel that is built gets more fragments, too. One that can't be
// had is trouble of its own, and no reason to end the night.
func (j *session) run(ctx context.Context, b *Batch, ref string, cases []CaseName, repeat int, way Way, more ...string) ([]results.Record, error) {
	var all []scenarios.Case
	for _, of := range cases {
		c, ok := j.cases[of]
		if !ok { // the config was changed since the night began
			continue
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, nil
	}
	r := Run{Request: results.Request{
		Verb: results.VerbRun, Command: j.Command, Scenarios: results.ScenariosOf(all), Kernels: results.KernelsOf(ref),
		Repeat: repeat, Boots: bootsOf(repeat, way), Accel: j.Config.Accel, CPUs: j.Config.CPUs, Jobs: j.Config.Jobs,
		Tools: j.Config.Tools, Cold: way == PowerOn, CacheSize: results.DefaultCacheSize, Build: results.Build{Fragments: slices.Concat(j.Config.Fragments, more)},
	}, Fresh: way == FreshBoots}
	if b != nil {
		r.Resume = b.Run
		r.Begun = func(id string) error {
			b.Run = id
			return j.keep()
		}
	}
	records, err := j.Exec.Run(ctx, r)
	if errors.Is(err, results.ErrNoRun) && r.Resume != "" { // it was removed, or recorded nothing
		r.Resume = ""
		records, err = j.Exec.Run(ctx, r)
	}
	if err == nil {
		return records, nil
	}
	if ctx.Err() != nil || stops(err) {
		return nil, err
	}
	j.trouble("%s: %v", ref, err)
	return records, nil
}

// bootsOf spreads trials over boots: those that confirm have one each.
func bootsOf(repeat int, way Way) int {
	if way != "" {
		return repeat
	}
	return stats.BootsFor(repeat)
}

// stops tells whether nothing can be done any more: what would be tried next
// fails in the same way.
func stops(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, results.ErrFolder} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (j *session) trouble(format string, args ...any) {
	what := text.OneLine(fmt.Sprintf(format, args...))
	if !slices.Contains(j.night.Trouble, what) {
		j.night.Trouble = append(j.night.Trouble, what)
	}
}

// lookCloser confirms what may be new, tries where else it is, and bisects it.
// What is done already of a finding is not done again.
func (j *session) lookCloser(ctx context.Context) error {
	judge := newJudge(j.archive, j.Config.Known)
	given := map[cell]bool{} // all that can be had of it was
	for {
		j.adopt(judge.findings(*j.night))
		i := slices.IndexFunc(j.night.Findings, func(f Finding) bool {
			return f.toConfirm() && !given[cell{f.Stream, f.CaseName}]
		})
		if i < 0 || j.left(1) <= 0 {
			break
		}
		f := j.night.Findings[i]
		n, err := j.confirm(ctx, f)
		if err != nil {
			return err
		}
		given[cell{f.Stream, f.CaseName}] = n == 0
	}
	j.night.Findings = grouped(j.night.Findings)
	for i := range j.night.Findings {
		f := &j.night.Findings[i]
		if !f.Kind.Alarming() {
			continue
		}
		if err := j.follow(ctx, f); err != nil {
			return err
		}
	}
	return j.keep()
}

// adopt takes findings that were judged anew; what was found out about them
// stays.
func (j *session) adopt(found []Finding) {
	for i := range found {
		f := &found[i]
		at := slices.IndexFunc(j.night.Findings, func(o Finding) bool { return o.watchKey() == f.watchKey() })
		if at >= 0 {
			f.Elsewhere, f.Bisection = j.night.Findings[at].Elsewhere, j.night.Findings[at].Bisection
		}
	}
	j.night.Findings = found
}

// confirm tries a case again, from machines saved anew and, the first time, from
// power-on, and gives how many verdicts that brought.
func (j *session) confirm(ctx context.Context, f Finding) (n int, err error) {
	j.say("%s on %s (%s): looking closer", f.CaseName, f.Release, short(f.Signature))
	for _, way := range []Way{FreshBoots, PowerOn} {
		if way == PowerOn && f.Confirmed[PowerOn].Trials > 0 {
			continue
		}
		records, err := j.run(ctx, nil, f.Ref, []CaseName{f.CaseName}, j.Config.Confirm, way)
		if err != nil {
			return n, err
		}
		for _, r := range records {
			if r.Verdict != scenarios.Error {
				n++
			}
		}
		j.enter(f.Stream, []CaseName{f.CaseName}, way, records)
		if err := j.keep(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// follow finds out where else a new failure is, and what brought it.
func (j *session) follow(ctx context.Context, f *Finding) error {
	if f.Elsewhere == nil {
		if err := j.elsewhere(ctx, f); err != nil {
			return err
		}
	}
	if f.Bisection != nil && !f.Bisection.Unfinished || j.left(1) <= 0 {
		return j.keep()
	}
	return errors.Join(j.bisect(ctx, f), j.keep())
}

// elsewhere tries a failing case on tonight's other kernels, on other stacks
// (scenarios that have a case of the same parameters), and on the same kernel
// built in other ways.
func (j *session) elsewhere(ctx context.Context, f *Finding) error {
	found := []Where{}
	seen := func(ref string, of CaseName, more []string) *Tally {
		for i, t := range j.night.Tallies {
			if t.Ref == ref && t.CaseName == of && slices.Equal(t.Config, more) && (t.Confirms == "" || t.Confirms == Elsewhere) {
				return &j.night.Tallies[i]
			}
		}
		return nil
	}
	add := func(stream string, t Tally) {
		w := Where{Stream: stream, Release: t.Release, Config: t.Config, CaseName: t.CaseName}
		w.Fails.Failures, w.Fails.Trials = t.trials()
		same, _ := stats.Total(t.count(f.Signature))
		w.Same = same > 0
		if w.Fails.Trials > 0 {
			found = append(found, w)
		}
	}
	look := func(k Kernel, of CaseName, more ...string) error {
		if t := seen(k.Ref, of, more); t != nil {
			add(k.Stream, *t)
			return nil
		}
		if j.left(1) <= 0 {
			return nil
		}
		records, err := j.run(ctx, nil, k.Ref, []CaseName{of}, j.Config.Repeat, "", more...)
		if err != nil {
			return err
		}
		if len(records) > 0 {
			j.enter(k.Stream, []CaseName{of}, Elsewhere, records)
			t := &j.night.Tallies[len(j.night.Tallies)-1]
			t.Config = more
			add(k.Stream, *t)
		}
		return nil
	}
	for _, k := range j.night.Kernels {
		if k.Ref == f.Ref {
			continue
		}
		if err := look(k, f.CaseName); err != nil {
			return err
		}
	}
	for _, of := range j.neighbours(f.CaseName) {
		if err := look(Kernel{Stream: f.Stream, Ref: f.Ref}, of); err != nil {
			return err
		}
	}
	if _, built := kernels.CutGit(f.Ref); built {
		for _, more := range j.Config.Configs {
			if err := look(Kernel{Stream: f.Stream, Ref: f.Ref}, f.CaseName, more...); err != nil {
				return err
			}
		}
	}
	f.Elsewhere = found
	return nil
}

// neighbours are the other stacks that have a case of the same parameters.
func (j *session) neighbours(of CaseName) []CaseName {
	var out []CaseName
	for name := range j.cases {
		if name.Case == of.Case && name.Case != "" && name.Scenario != of.Scenario {
			out = append(out, name)
		}
	}
	slices.SortFunc(out, func(a, b CaseName) int { return strings.Compare(a.Scenario, b.Scenario) })
	return out
}

// bisect searches between the last kernel without the failure and the one
// with it, as long as there is time.
func (j *session) bisect(ctx context.Context, f *Finding) error {
	c := j.Config.Bisect
	kind, ok := sameKind(f.Before, f.Ref)
	of, tried := j.cases[f.CaseName]
	switch {
	case !tried: // the config was changed since
		return nil
	case f.Before == "":
		f.Bisection = &Bisection{Found: Found{Why: "no kernel without it is known"}}
		return nil
	case !ok:
		f.Bisection = &Bisection{Good: f.Before, Bad: f.Ref, Found: Found{Why: "the last kernel without it is of another kind"}}
		return nil
	case kind == "debian" && !c.Releases:
		return nil
	}
	if f.Bisection == nil {
		f.Bisection = &Bisection{
			Dir: trials.NewFolder(filepath.Join(j.Root, results.BisectionsDir)), Good: f.Before, Bad: f.Ref, Found: Found{Unfinished: true},
		}
		if err := j.keep(); err != nil {
			return err
		}
	}
	s := Search{
		Dir: f.Bisection.Dir, Case: of, Good: f.Bisection.Good, Bad: f.Bisection.Bad, For: short(f.Signature), ThenRepo: c.Repo,
		Machine:   trials.Machine{Accel: j.Config.Accel, CPUs: j.Config.CPUs, Jobs: j.Config.Jobs, Tools: j.Config.Tools},
		Fragments: j.Config.Fragments,
	}
	j.say("%s: bisecting between %s and %s", f.CaseName, f.BeforeRelease, f.Release)
	timed, cancel := context.WithTimeout(ctx, j.left(1))
	defer cancel()
	found, err := j.Exec.Bisect(timed, s)
	switch {
	case ctx.Err() != nil:
		return err
	case timed.Err() != nil:
		found.Unfinished, err = true, nil
	case err != nil && stops(err):
		return err
	case err != nil:
		found.Why = text.OneLine(err.Error())
	}
	f.Bisection.Found = found
	return nil
}

// sameKind tells whether two references can be the ends of a bisection.
func sameKind(a, b string) (kind string, ok bool) {
	if b, ok := kernels.CutGit(b); ok {
		a, ok := kernels.CutGit(a)
		return "git", ok && a.Repo == b.Repo
	}
	kind, _, _ = strings.Cut(b, ":")
	return kind, kind == "debian" && strings.HasPrefix(a, "debian:")
}
