package store

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/scenarios"
)

// pointKey tells the points of histories apart.
type pointKey struct {
	of, kernel int64
	night      string
	run        int64
}

// Histories count trials, case by case, in the order of scenario and case.
func (s *Store) Histories(ctx context.Context, f Filter, by By) ([]History, error) {
	n, err := s.names(ctx)
	if err != nil {
		return nil, err
	}
	w := f.where()
	points := map[pointKey][]seen{}
	var c, k, run int64
	var t seen
	var task int
	var kept bool
	// All of it stands in one index. It is grouped here, since SQLite takes
	// longer to sort for that.
	err = s.each(ctx, `SELECT t."case", t.kernel, t.run, t.boot, t.outcome, t.started, t.took_ms, t.task, t.kept FROM trials t`+w.String(), w.args,
		[]any{&c, &k, &run, &t.boot, &t.outcome, &t.started, &t.tookMS, &task, &kept}, func() error {
			key := pointKey{of: c}
			switch by {
			case ByKernel:
				key.kernel = k
			case ByNight:
				key.night = n.nights[run]
			case ByNightAndKernel:
				key.kernel, key.night = k, n.nights[run]
			case ByRun:
				key.run = run
			}
			t.trial = trialAt{kept, run, task}
			points[key] = append(points[key], t)
			return nil
		})
	if err != nil {
		return nil, err
	}
	return histories(points, n), nil
}

func histories(points map[pointKey][]seen, n names) []History {
	at := map[int64]int{}
	var out []History
	for key, trials := range points {
		i, ok := at[key.of]
		if !ok {
			i = len(out)
			at[key.of] = i
			out = append(out, History{Scenario: n.cases[key.of].Scenario, Case: n.cases[key.of].Case})
		}
		out[i].Points = append(out[i].Points, Point{Kernel: n.kernels[key.kernel], Night: key.night, Run: n.runs[key.run], Tally: tally(trials, n)})
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

// seen is what a trial showed, by number.
type seen struct {
	boot, outcome, started, tookMS int64
	trial                          trialAt
}

// trialAt names a trial.
type trialAt struct {
	kept bool
	run  int64
	task int
}

// before tells whether o is the better one to show: one with a folder, of a
// later run.
func (t trialAt) before(o trialAt) bool {
	if t.kept != o.kept {
		return o.kept
	}
	return cmp.Or(cmp.Compare(t.run, o.run), cmp.Compare(t.task, o.task)) < 0
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

// tally counts trials. It may change their order.
func tally(trials []seen, n names) Tally {
	out := Tally{First: timeOf(trials[0].started), Last: timeOf(trials[0].started)}
	slices.SortFunc(trials, func(a, b seen) int { return cmp.Compare(a.boot, b.boot) })
	// Of each outcome: few of a case differ, and most points have one.
	var keys []outcomeKey
	var best []trialAt
	var lastBoot int64 // that of the last of out.Boots
	for _, t := range trials {
		e := n.outcomes[t.outcome]
		start := timeOf(t.started)
		if start.Before(out.First) {
			out.First = start
		}
		if start.After(out.Last) {
			out.Last = start
		}
		out.TookMS += t.tookMS
		out.Trials++
		one, k := e.outcome, e.key
		o := slices.Index(keys, k)
		if o < 0 {
			o = len(keys)
			keys, best, out.Outcomes = append(keys, k), append(best, t.trial), append(out.Outcomes, one)
		}
		out.Outcomes[o].Trials++
		if best[o].before(t.trial) {
			best[o] = t.trial
		}
		boot := stats.Boot{Trials: 1}
		switch {
		case e.verdict == scenarios.Error:
			out.Errors++
			continue
		case e.verdict.Failure():
			out.Failures++
			boot.Failures = 1
		}
		if last := len(out.Boots) - 1; t.boot != 0 && t.boot == lastBoot {
			out.Boots[last].Trials++
			out.Boots[last].Failures += boot.Failures
			continue
		}
		out.Boots, lastBoot = append(out.Boots, boot), t.boot
	}
	for i, b := range best {
		out.Outcomes[i].Trial = TrialName(n.runs[b.run], b.task)
	}
	out.sort()
	return out
}

// Merge is the tally of all that several count, which have no trial in common.
func Merge(all ...Tally) Tally {
	var out Tally
	at := map[outcomeKey]int{}
	for _, t := range all {
		if t.Trials == 0 {
			continue
		}
		if out.Trials == 0 || t.First.Before(out.First) {
			out.First = t.First
		}
		if t.Last.After(out.Last) {
			out.Last = t.Last
		}
		out.TookMS += t.TookMS
		out.Trials += t.Trials
		out.Failures += t.Failures
		out.Errors += t.Errors
		out.Boots = append(out.Boots, t.Boots...)
		for _, o := range t.Outcomes {
			if i, ok := at[o.key()]; ok {
				out.Outcomes[i].Trials += o.Trials
				continue
			}
			at[o.key()] = len(out.Outcomes)
			out.Outcomes = append(out.Outcomes, o)
		}
	}
	out.sort()
	return out
}

// sort puts boots and outcomes in an order that does not depend on how they
// were found.
func (t *Tally) sort() {
	slices.SortFunc(t.Boots, func(a, b stats.Boot) int {
		return cmp.Or(cmp.Compare(b.Trials, a.Trials), cmp.Compare(b.Failures, a.Failures))
	})
	slices.SortFunc(t.Outcomes, func(a, b Outcome) int {
		return cmp.Or(cmp.Compare(b.Trials, a.Trials), strings.Compare(a.key().failure, b.key().failure), strings.Compare(a.Said, b.Said))
	})
}
