package store

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/scenarios"
)

// Bits of what names a trial in a query's result: whether it has a folder, its
// run's number, its place. The largest is one with a folder, of the last run.
const (
	taskBits = 30
	runMask  = 1<<31 - 1
	taskMask = 1<<taskBits - 1
)

const lastTrial = `max(((t.dir <> '') << 61) | (t.run << 30) | t.task)`

// pointKey tells the points of a case apart.
type pointKey struct {
	scenario, name string
	kernel         Kernel
	night, run     string
}

// Histories count trials, case by case, in the order of scenario and case.
func (s *Store) Histories(ctx context.Context, f Filter, by By) ([]History, error) {
	f.Limit = 0
	n, err := s.names(ctx, s.db)
	if err != nil {
		return nil, err
	}
	kernel, run := "0", "0"
	switch by {
	case ByKernel:
		kernel = "t.kernel"
	case ByNight, ByRun:
		run = "t.run"
	case ByNightAndKernel:
		kernel, run = "t.kernel", "t.run"
	}
	w := f.where()
	points := map[pointKey]*tallying{}
	var c, k, r, signature, failed, started, last, took, trial int64
	var count int
	var boot, v, said string
	err = each(ctx, s.db, `SELECT t."case", `+kernel+`, `+run+`, t.boot, t.verdict, t.failed, t.signature, t.outcome, count(*), min(t.started), max(t.started), sum(t.took_ms), `+lastTrial+`
FROM trials t`+w.String()+` GROUP BY 1, 2, 3, t.boot, t.verdict, t.signature, t.outcome`, w.args,
		[]any{&c, &k, &r, &boot, &v, &failed, &signature, &said, &count, &started, &last, &took, &trial}, func() error {
			key := pointKey{scenario: n.cases[c][0], name: n.cases[c][1], kernel: n.kernels[k]}
			switch by {
			case ByNight, ByNightAndKernel:
				key.night = n.nights[r]
			case ByRun:
				key.run = n.runs[r]
			}
			p := points[key]
			if p == nil {
				p = &tallying{boots: map[string]*stats.Boot{}, outcomes: map[outcomeKey]*outcome{}}
				points[key] = p
			}
			sig := n.signatures[signature].Failure()
			p.add(seen{
				boot: boot, of: Outcome{Signature: sig, Verdict: scenarios.Verdict(v), Said: said}, count: count, failed: failed != 0,
				first: started, last: last, took: took, trial: trial,
			})
			return nil
		})
	if err != nil {
		return nil, err
	}
	return histories(points, n), nil
}

func histories(points map[pointKey]*tallying, n names) []History {
	at := map[[2]string]int{}
	var out []History
	for key, t := range points {
		of := [2]string{key.scenario, key.name}
		i, ok := at[of]
		if !ok {
			i = len(out)
			at[of] = i
			out = append(out, History{Scenario: key.scenario, Case: key.name})
		}
		out[i].Points = append(out[i].Points, Point{Kernel: key.kernel, Night: key.night, Run: key.run, Tally: t.tally(n)})
	}
	slices.SortFunc(out, func(a, b History) int {
		return cmp.Or(strings.Compare(a.Scenario, b.Scenario), strings.Compare(a.Case, b.Case))
	})
	for _, h := range out {
		slices.SortFunc(h.Points, func(a, b Point) int {
			return cmp.Or(a.First.Compare(b.First), strings.Compare(a.Night, b.Night), strings.Compare(a.Run, b.Run),
				strings.Compare(a.Kernel.Ref, b.Kernel.Ref), strings.Compare(a.Kernel.Exact, b.Kernel.Exact), strings.Compare(a.Kernel.Release, b.Kernel.Release), strings.Compare(a.Kernel.Digest, b.Kernel.Digest))
		})
	}
	return out
}

// seen is that some trials of one boot ended alike.
type seen struct {
	boot        string
	of          Outcome
	count       int
	failed      bool
	first, last int64
	took        int64
	trial       int64
}

// outcomeKey tells outcomes apart.
type outcomeKey struct {
	failure string
	verdict scenarios.Verdict
	said    string
}

func (o Outcome) key() outcomeKey {
	return outcomeKey{o.Signature.Failure().String(), o.Verdict, o.Said}
}

type outcome struct {
	Outcome
	trial int64
}

// tallying is a tally that is being made.
type tallying struct {
	counts      Counts
	first, last int64
	took        int64
	boots       map[string]*stats.Boot
	single      []stats.Boot // of trials that name none
	outcomes    map[outcomeKey]*outcome
}

func (t *tallying) add(s seen) {
	if t.counts.Trials == 0 || s.first < t.first {
		t.first = s.first
	}
	t.last = max(t.last, s.last)
	t.took += s.took
	t.counts.Trials += s.count
	judged := s.of.Verdict != scenarios.Error
	failures := 0
	switch {
	case s.failed:
		failures = s.count
		t.counts.Failures += s.count
	case !judged:
		t.counts.Errors += s.count
	}
	switch {
	case !judged:
	case s.boot == "":
		for range s.count {
			t.single = append(t.single, stats.Boot{Failures: min(failures, 1), Trials: 1})
		}
	default:
		b := t.boots[s.boot]
		if b == nil {
			b = &stats.Boot{}
			t.boots[s.boot] = b
		}
		b.Failures += failures
		b.Trials += s.count
	}
	o := t.outcomes[s.of.key()]
	if o == nil {
		o = &outcome{Outcome: s.of}
		t.outcomes[s.of.key()] = o
	}
	o.Trials += s.count
	o.trial = max(o.trial, s.trial)
}

func (t *tallying) tally(n names) Tally {
	out := Tally{Counts: t.counts, First: timeOf(t.first), Last: timeOf(t.last), TookMS: t.took, Boots: t.single}
	for _, b := range t.boots {
		out.Boots = append(out.Boots, *b)
	}
	slices.SortFunc(out.Boots, func(a, b stats.Boot) int {
		return cmp.Or(cmp.Compare(b.Trials, a.Trials), cmp.Compare(b.Failures, a.Failures))
	})
	for _, o := range t.outcomes {
		o.Trial = TrialName(n.runs[o.trial>>taskBits&runMask], int(o.trial&taskMask))
		out.Outcomes = append(out.Outcomes, o.Outcome)
	}
	slices.SortFunc(out.Outcomes, func(a, b Outcome) int {
		return cmp.Or(cmp.Compare(b.Trials, a.Trials), strings.Compare(a.key().failure, b.key().failure), strings.Compare(a.Said, b.Said))
	})
	return out
}
