package report

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/nightly"
	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/results/store"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// Options say what a report is of.
type Options struct {
	Of    store.Filter // the trials; the zero value is all
	Title string       // "" makes one of what it is of
	Tool  string       // what makes it: "blockrig v1.2"
	Made  time.Time
	// Looked has what was read of trials' folders for a report before, and gets
	// what is read for this one; nil: all is read.
	Looked *Looked
}

// Looked is what was read of the folders of trials for the last report. What
// stands in one does not change once it is there. The zero value has none.
type Looked struct {
	trials map[string]Trial // by folder; of each only what look adds
}

// look is Trial.look for the next report. next gets what was read without an
// error.
func (k *Looked) look(t *Trial, files fs.FS, next map[string]Trial) error {
	if k == nil || t.Folder == "" {
		return t.look(files)
	}
	was, ok := k.trials[t.Folder]
	if ok {
		t.Legs, t.Attempts, t.First, t.Events, t.Findings = was.Legs, was.Attempts, was.First, was.Events, was.Findings
	} else if err := t.look(files); err != nil {
		return err
	}
	next[t.Folder] = *t
	return nil
}

// mostTold bounds the trials that are told in full.
const mostTold = 400

// Load makes a report of what is recorded. Histories and changes take in older
// trials of the same cases, whatever the report is of. files is the results
// folder, which holds what the store does not: consoles, events, bisections.
func Load(ctx context.Context, s store.Reader, files fs.FS, o Options) (Report, error) {
	l := loader{store: s, files: files, kernels: map[Kernel]int{}, cases: map[store.CaseID]int{}, streams: map[string]string{}, shipped: map[string]bool{}, grid: stats.ComparisonGrid(), looked: o.Looked}
	l.r = Report{Version: Version, Title: o.Title, Made: o.Made.UTC(), Tool: o.Tool}
	for _, f := range []func(context.Context, store.Filter) error{l.runs, l.readNights, l.cells, l.bisections, l.history, l.trials, l.workers} {
		if err := f(ctx, o.Of); err != nil {
			return Report{}, fmt.Errorf("make the report: %w", err)
		}
	}
	if l.r.Title == "" {
		l.r.Title = titleFor(l.r.Runs)
	}
	return l.r, nil
}

// titleFor names a report after the nights that it is of.
func titleFor(runs []Run) string {
	if len(runs) == 0 {
		return "No runs"
	}
	first, last := store.NightOf(runs[0].Started), store.NightOf(runs[len(runs)-1].Started)
	if first == last {
		return "Kernel storage, " + last
	}
	return "Kernel storage, " + first + " to " + last
}

type loader struct {
	store   store.Reader
	files   fs.FS
	r       Report
	kernels map[Kernel]int
	cases   map[store.CaseID]int
	streams map[string]string // of a kernel's reference, where nights know one
	nights  []nightly.Night   // of each config the last one that the report is of
	shipped map[string]bool   // scenarios that come with blockrig
	grid    *stats.Grid       // of comparisons
	told    []string          // trials to tell, those that failed first
	looked  *Looked
}

func (l *loader) runs(ctx context.Context, of store.Filter) error {
	runs, err := l.store.Runs(ctx, of)
	if err != nil {
		return err
	}
	for _, r := range runs {
		l.r.Runs = append(l.r.Runs, Run{
			ID: r.ID, Command: commandLine(r.Command), Started: r.Started.UTC(), Finished: r.Finished,
			Asked: r.Asked, Trials: r.Trials, Failures: r.Failures, Errors: r.Errors,
		})
		if r.Problems > 0 {
			l.r.Problems = append(l.r.Problems, r.Problem)
		}
	}
	if err := l.lostRuns(ctx, of); err != nil {
		return err
	}
	names, err := language.Names()
	for _, n := range names {
		l.shipped[n] = true
	}
	return err
}

// lostRuns names the runs that would be in the report, had their files not lost
// every trial.
func (l *loader) lostRuns(ctx context.Context, of store.Filter) error {
	all, err := l.store.Runs(ctx, store.Filter{})
	if err != nil {
		return err
	}
	for _, r := range all {
		meant := slices.Contains(of.Runs, r.ID) || slices.Contains(of.Nights, r.Night) || !of.Since.IsZero() && !r.Started.Before(of.Since)
		if r.Problems > 0 && r.Trials == 0 && meant {
			l.r.Problems = append(l.r.Problems, r.Problem)
		}
	}
	return nil
}

// commandLine is a command as its user would write it.
func commandLine(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		if i == 0 {
			a = path.Base(a)
		}
		words[i] = trials.Quoted(a)
	}
	return strings.Join(words, " ")
}

func (l *loader) workers(ctx context.Context, of store.Filter) error {
	all, err := l.store.Workers(ctx, of)
	for _, w := range all {
		l.r.Workers = append(l.r.Workers, Worker{
			Name: w.Name, CPU: w.CPU, Trials: w.Trials, Failures: w.Failures, Errors: w.Errors, Again: w.Again, First: w.First, Last: w.Last,
			TookMS: w.TookMS, WaitMS: w.WaitMS / int64(w.Trials), MostWait: w.MostWait,
		})
	}
	return err
}

// kernel gives the place of a kernel; the first time it is added.
func (l *loader) kernel(k store.Kernel) int {
	key := l.kernelOf(k)
	at, ok := l.kernels[key]
	if !ok {
		at = len(l.r.Kernels)
		l.kernels[key] = at
		l.r.Kernels = append(l.r.Kernels, key)
	}
	return at
}

func (l *loader) kernelOf(k store.Kernel) Kernel {
	return Kernel{Ref: k.Ref, Release: k.Release, Commit: k.Commit, Stream: cmp.Or(l.streams[k.Ref], k.Ref)}
}

// cells makes cases with a cell for each kernel.
func (l *loader) cells(ctx context.Context, of store.Filter) error {
	used, err := l.store.Kernels(ctx, of)
	if err != nil {
		return err
	}
	histories, err := l.store.Histories(ctx, of, store.ByKernel)
	if err != nil {
		return err
	}
	histories, l.r.HuntTrials = results.Cases(histories)
	shown := map[Kernel]bool{}
	for _, h := range histories {
		for _, p := range h.Points {
			shown[l.kernelOf(p.Kernel)] = true
		}
	}
	for _, k := range used { // in their order
		if shown[l.kernelOf(k.Kernel)] {
			l.kernel(k.Kernel)
		}
	}
	var failed, others []string
	for _, h := range histories {
		c := Case{Scenario: h.Scenario, Name: h.Case}
		tallies := map[int][]store.Tally{}
		for _, p := range h.Points {
			at := l.kernel(p.Kernel)
			tallies[at] = append(tallies[at], p.Tally)
		}
		for _, at := range slices.Sorted(maps.Keys(tallies)) {
			t, all := tallied(store.Merge(tallies[at]...))
			cell := Cell{Kernel: at, Tally: t}
			for _, o := range all {
				if o.Verdict == t.Verdict && cell.Trial == "" {
					cell.Trial = o.Trial
				}
				if o.Verdict.Failure() {
					failed = append(failed, o.Trial)
				} else {
					others = append(others, o.Trial)
				}
			}
			c.Cells = append(c.Cells, cell)
		}
		l.cases[store.CaseID{Scenario: h.Scenario, Case: h.Case}] = len(l.r.Cases)
		l.r.Cases = append(l.r.Cases, c)
	}
	l.told = append(failed, others...)
	return nil
}

// tallied is a tally as a report has it, and what was seen: what failed first,
// then what came most often.
func tallied(a store.Tally) (Tally, []store.Outcome) {
	t := Tally{Trials: a.Trials, Failures: a.Failures, Errors: a.Errors, Interval: stats.ByBoot(a.Boots)}
	outcomes := slices.Clone(a.Outcomes)
	slices.SortStableFunc(outcomes, func(a, b store.Outcome) int {
		return cmp.Or(failing(b)-failing(a), cmp.Compare(b.Trials, a.Trials), cmp.Compare(a.Verdict.Rank(), b.Verdict.Rank()))
	})
	t.Verdict = scenarios.Error
	for _, o := range outcomes {
		if o.Verdict != scenarios.Error {
			t.Verdict = o.Verdict
			break
		}
	}
	if t.Trials > 0 {
		t.MS = a.TookMS / int64(t.Trials)
	}
	return t, outcomes
}

func failing(o store.Outcome) int {
	if o.Verdict.Failure() {
		return 1
	}
	return 0
}

// history gives cases theirs, and says what changed in it.
func (l *loader) history(ctx context.Context, of store.Filter) error {
	all := store.Filter{Scenario: of.Scenario, Case: of.Case}
	histories, err := l.store.Histories(ctx, all, store.ByNightAndKernel)
	if err != nil {
		return err
	}
	for _, h := range histories {
		i, ok := l.cases[store.CaseID{Scenario: h.Scenario, Case: h.Case}]
		if !ok {
			continue
		}
		c := &l.r.Cases[i]
		type place struct {
			night  string
			kernel int
		}
		var order []place
		tallies := map[place][]store.Tally{}
		for _, p := range h.Points {
			key := place{p.Night, l.kernel(p.Kernel)}
			if tallies[key] == nil {
				order = append(order, key)
			}
			tallies[key] = append(tallies[key], p.Tally)
		}
		var nights []night
		for _, key := range order {
			all := store.Merge(tallies[key]...)
			t, seen := tallied(all)
			c.History = append(c.History, Point{key.night, key.kernel, t})
			nights = append(nights, night{sideFor(key.night, key.kernel, t, seen), seen, all})
		}
		l.compare(c, nights)
	}
	l.judged()
	sortChanges(l.r.Changes)
	return nil
}

func sideFor(night string, kernel int, t Tally, seen []store.Outcome) Side {
	s := Side{Kernel: kernel, Night: night, Tally: t}
	for _, o := range seen {
		if o.Verdict == t.Verdict {
			s.Said = o.Said
			if o.Verdict.Failure() {
				s.Signature = o.Signature.String()
			}
			break
		}
	}
	return s
}

// trials tells those that cells and changes name.
func (l *loader) trials(ctx context.Context, _ store.Filter) error {
	var first []string
	for _, c := range l.r.Changes {
		first = append(first, c.Trial)
	}
	told := map[string]bool{}
	next := map[string]Trial{}
	for _, name := range append(first, l.told...) {
		if name == "" || told[name] || len(told) == mostTold {
			continue
		}
		t, err := l.store.Trial(ctx, name)
		if err != nil {
			return err
		}
		told[name] = true
		full := l.trial(t)
		if err := l.looked.look(&full, l.files, next); err != nil {
			l.r.Problems = append(l.r.Problems, err.Error())
		}
		l.r.Trials = append(l.r.Trials, full)
	}
	if l.looked != nil {
		l.looked.trials = next
	}
	for i := range l.r.Cases {
		for j := range l.r.Cases[i].Cells {
			if c := &l.r.Cases[i].Cells[j]; !told[c.Trial] {
				c.Trial = ""
			}
		}
	}
	for i := range l.r.Changes {
		if c := &l.r.Changes[i]; !told[c.Trial] {
			c.Trial = ""
		}
	}
	return nil
}

func (l *loader) trial(t store.Trial) Trial {
	out := Trial{
		Name: t.Name(), Kernel: l.kernel(t.Kernel), Scenario: t.Scenario, Case: t.Case, Started: t.Started.UTC(),
		Verdict: t.Verdict, Also: t.Also, Phase: t.Phase, Reason: t.Reason, Outcome: t.Outcome, Errno: t.Errno,
		Signature: t.Signature.String(), Accel: t.Accel, CPUs: t.CPUs, Warm: t.Warm, BootID: t.BootID, BootMS: t.BootMS, TrialMS: t.TrialMS, GuestMS: t.GuestMS,
	}
	for _, f := range t.Findings {
		out.Findings = append(out.Findings, Finding{Kind: f.Kind, Title: f.Title, Place: f.Place, Line: f.Line})
	}
	if t.Dir != "" {
		out.Folder = path.Join(t.Run, t.Dir)
	}
	out.Commands = l.commands(t)
	return out
}

// commands are those with which a trial can be seen again.
func (l *loader) commands(t store.Trial) []Command {
	scenario := t.Scenario
	if !l.shipped[scenario] {
		if t.Dir == "" {
			return nil
		}
		scenario = path.Join(t.Run, t.Dir, results.ScenarioFile)
	}
	args := []string{"blockrig", "run", scenario, "-k", cmp.Or(t.Kernel.Exact, t.Kernel.Ref)}
	if t.Case != "" {
		args = append(args, "--case", t.Case)
	}
	out := []Command{{Does: "Try the case again", Line: commandLine(args)}}
	if rate, ok := l.rate(t); ok {
		if n := stats.RunsToTrust(rate, bisect.Reproduced); n > 1 {
			again := append(slices.Clone(args), "--repeat", fmt.Sprint(n))
			out[0] = Command{Does: fmt.Sprintf("Try the case again: it failed in some trials only, and %d show it with a probability of %d%%", n, int(100*bisect.Reproduced)), Line: commandLine(again)}
		}
	}
	return append(out, Command{Does: "Show all that is recorded", Line: commandLine([]string{"blockrig", "results", "show", t.Run, fmt.Sprint(t.Task + 1)})})
}

// rate is how often the case of a trial that failed does so on its kernel.
func (l *loader) rate(t store.Trial) (float64, bool) {
	i, ok := l.cases[store.CaseID{Scenario: t.Scenario, Case: t.Case}]
	if !ok {
		return 0, false
	}
	at := l.kernel(t.Kernel)
	for _, cell := range l.r.Cases[i].Cells {
		if cell.Kernel == at {
			return cell.Rate(), cell.Mixed() && t.Verdict.Failure()
		}
	}
	return 0, false
}

// Bounds of the files of a bisection, in bytes.
const (
	maxAnswer = 16 << 20
	maxText   = 256 << 10
)

// bisections reads those of cases that the report tells of.
func (l *loader) bisections(ctx context.Context, _ store.Filter) error {
	all, err := l.store.Bisections(ctx)
	if err != nil {
		return err
	}
	for _, b := range all {
		if _, told := l.cases[store.CaseID{Scenario: b.Scenario, Case: b.Case}]; !told {
			continue
		}
		out := Bisection{
			Name: b.Name, Scenario: b.Scenario, Case: b.Case, Of: b.Of, Old: b.Old, New: b.New, State: b.State,
			Grade: bisect.Grade(b.Grade), Confidence: b.Confidence, Trials: b.Trials,
		}
		if err := l.answer(&out); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.r.Problems = append(l.r.Problems, fmt.Sprintf("read bisection %s: %s", text.Escape(b.Name), err))
		}
		l.r.Bisections = append(l.r.Bisections, out)
	}
	return nil
}

// answer adds what the folder of a bisection says.
func (l *loader) answer(b *Bisection) error {
	if l.files == nil {
		return fs.ErrNotExist
	}
	dir := path.Join(results.BisectionsDir, b.Name)
	src, err := readFile(l.files, path.Join(dir, bisect.AnswerFile), maxAnswer)
	if err != nil {
		return err
	}
	var a bisect.Answer
	if err := json.Unmarshal(src, &a); err != nil {
		return err
	}
	b.Direction, b.First, b.Grade, b.Confidence, b.Why, b.Checks = string(a.Direction), a.First, a.Grade, a.Confidence, a.Why, a.Checks
	b.Steps = steps(a)
	text, err := readFile(l.files, path.Join(dir, bisect.ReportFile), maxText)
	if err == nil {
		b.Text = string(text)
	}
	return nil
}

// steps are the ends, and what was tried between them.
func steps(a bisect.Answer) []Step {
	var out []Step
	add := func(r bisect.Record, end bool) {
		if !slices.ContainsFunc(out, func(s Step) bool { return s.Commit == r.Commit }) {
			out = append(out, Step{
				Commit: r.Commit, Mark: r.Mark, Fails: r.Fails, End: end, Hits: r.Hits, Runs: r.Runs, P: r.P, Why: r.Why, Release: r.Release,
			})
		}
	}
	for _, r := range a.Ends {
		add(r, true)
	}
	for _, r := range a.Marks {
		add(r, false)
	}
	return out
}
