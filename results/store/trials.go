package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

// names are what rows of trials name by number.
type names struct {
	runs     map[int64]string
	nights   map[int64]string
	kernels  map[int64]Kernel
	cases    map[int64]CaseID
	outcomes map[int64]ending
}

// ending is how a trial ended.
type ending struct {
	verdict            scenarios.Verdict
	also               []scenarios.Verdict
	phase, said, errno string
	signature          verdict.Signature
	outcome            Outcome // what counts of it in a tally
	key                outcomeKey
}

// names reads all of them: they are few beside the trials.
func (s *Store) names(ctx context.Context) (names, error) {
	n := names{map[int64]string{}, map[int64]string{}, map[int64]Kernel{}, map[int64]CaseID{}, map[int64]ending{}}
	var no int64
	var a, b, c, d, e string
	err := s.each(ctx, "SELECT no, id, night FROM runs", nil, []any{&no, &a, &b}, func() error {
		n.runs[no], n.nights[no] = a, b
		return nil
	})
	if err == nil {
		err = s.each(ctx, `SELECT no, ref, exact, "release", digest, commit_hash FROM kernels`, nil, []any{&no, &a, &b, &c, &d, &e}, func() error {
			n.kernels[no] = Kernel{a, b, c, d, e}
			return nil
		})
	}
	if err == nil {
		err = s.each(ctx, "SELECT no, scenario, name FROM cases", nil, []any{&no, &a, &b}, func() error {
			n.cases[no] = CaseID{a, b}
			return nil
		})
	}
	if err == nil {
		var also, titles string
		var o ending
		err = s.each(ctx, "SELECT no, verdict, also, phase, said, errno, in_phase, in_step, in_verdict, titles FROM outcomes", nil,
			[]any{&no, (*string)(&o.verdict), &also, &o.phase, &o.said, &o.errno, &o.signature.Phase, &o.signature.Step, (*string)(&o.signature.Verdict), &titles}, func() error {
				one := o
				var err1, err2 error
				one.also, err1 = listOf[scenarios.Verdict](also)
				one.signature.Titles, err2 = listOf[string](titles)
				one.outcome = Outcome{Signature: one.signature.Failure(), Verdict: one.verdict, Said: one.said}
				one.key = one.outcome.key()
				n.outcomes[no] = one
				return cmp.Or(err1, err2)
			})
	}
	return n, err
}

// each scans row by row into the places that into points to, and calls do.
func (s *Store) each(ctx context.Context, query string, args, into []any, do func() error) error {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return readError(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return readError(err)
		}
		if err := do(); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return readError(err)
	}
	return nil
}

func readError(err error) error { return fmt.Errorf("read the index: %w", known(err)) }

// listOf reads a list from a column.
func listOf[T any](text string) ([]T, error) {
	if text == "[]" {
		return nil, nil
	}
	var out []T
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return nil, fmt.Errorf("read the index: %w: %w", ErrCorrupt, err)
	}
	return out, nil
}

const trialQuery = `SELECT t.run, t.line, t.task, t.started, t.kernel, t."case", t.outcome, t.reason, t.bytes, t.accel, t.cpus, t.warm,
	coalesce(b.id, ''), t.boot_ms, t.trial_ms, t.guest_ms, t.took_ms, t.attempts, t.dir,
	coalesce(u.name, ''), coalesce(u.cpu, ''), t.wait_ms
FROM trials t LEFT JOIN boots b ON b.no = t.boot LEFT JOIN workers u ON u.no = t.worker`

// Trials gives trials one by one, without their findings.
func (s *Store) Trials(ctx context.Context, f Filter) iter.Seq2[Trial, error] {
	return func(yield func(Trial, error) bool) {
		n, err := s.names(ctx)
		if err != nil {
			yield(Trial{}, err)
			return
		}
		w := f.where()
		order, limit := f.order()
		err = s.trials(ctx, n, w.String()+order, append(w.args, limit...), func(_ int64, t Trial) error {
			if !yield(t, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && err != errEnough {
			yield(Trial{}, err)
		}
	}
}

// errEnough ends an iteration that its reader has ended.
var errEnough = errors.New("enough")

func (s *Store) trials(ctx context.Context, n names, condition string, args []any, do func(run int64, t Trial) error) error {
	var run, started, kernel, c, outcome int64
	var t Trial
	into := []any{
		&run, &t.Line, &t.Task, &started, &kernel, &c, &outcome, &t.Reason, &t.Bytes, &t.Accel, &t.CPUs, &t.Warm,
		&t.BootID, &t.BootMS, &t.TrialMS, &t.GuestMS, &t.TookMS, &t.Attempts, &t.Dir, &t.Worker.Name, &t.Worker.CPU, &t.WaitMS,
	}
	return s.each(ctx, trialQuery+condition, args, into, func() error {
		out, o := t, n.outcomes[outcome]
		out.Run, out.Started, out.Kernel = n.runs[run], timeOf(started), n.kernels[kernel]
		out.Scenario, out.Case = n.cases[c].Scenario, n.cases[c].Case
		out.Verdict, out.Also, out.Phase, out.Outcome, out.Errno = o.verdict, o.also, o.phase, o.said, o.errno
		out.Signature, out.Titles = o.signature, o.signature.Titles
		return do(run, out)
	})
}

// Trial is one, with its findings, by what Trial.Name gives. The error wraps
// ErrNone.
func (s *Store) Trial(ctx context.Context, name string) (Trial, error) {
	run, number, _ := strings.Cut(name, "/")
	task, err := strconv.Atoi(number)
	if err != nil || task < 1 {
		return Trial{}, fmt.Errorf("trial %q: %w; a trial is named RUN/NUMBER", name, ErrNone)
	}
	n, err := s.names(ctx)
	if err != nil {
		return Trial{}, err
	}
	var found *Trial
	var no int64
	err = s.trials(ctx, n, " WHERE t.run = (SELECT no FROM runs WHERE id = ?) AND t.task = ? ORDER BY t.line LIMIT 1", []any{run, task - 1}, func(run int64, t Trial) error {
		found, no = &t, run
		return nil
	})
	if err == nil && found == nil {
		err = fmt.Errorf("trial %q: %w", name, ErrNone)
	}
	if err != nil {
		return Trial{}, err
	}
	var f Finding
	err = s.each(ctx, "SELECT kind, title, place, at_line FROM findings WHERE run = ? AND line = ? ORDER BY no", []any{no, found.Line},
		[]any{(*string)(&f.Kind), &f.Title, &f.Place, &f.Line}, func() error {
			found.Findings = append(found.Findings, f)
			return nil
		})
	return *found, err
}
