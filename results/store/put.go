package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/blockrig/blockrig/scenarios"
)

// A Mark says how far the files of a run's folder are in the store.
type Mark struct {
	Bytes int64 // of trials.jsonl
	Lines int   // of it
	// State names the files as they were then: while it is the same, none needs
	// a look.
	State    string
	Problems int // that they had
}

const markColumns = "bytes, lines, state, problems"

// Marks gives the mark of every run in the store, by its ID.
func (s *Store) Marks(ctx context.Context) (map[string]Mark, error) {
	out := map[string]Mark{}
	var id string
	var m Mark
	err := s.each(ctx, "SELECT id, "+markColumns+" FROM runs", nil, []any{&id, &m.Bytes, &m.Lines, &m.State, &m.Problems}, func() error {
		out[id] = m
		return nil
	})
	return out, err
}

// Mark gives that of one run: the zero mark of one that is not in the store.
func (s *Store) Mark(ctx context.Context, run string) (Mark, error) {
	var m Mark
	err := s.each(ctx, "SELECT "+markColumns+" FROM runs WHERE id = ?", []any{run}, []any{&m.Bytes, &m.Lines, &m.State, &m.Problems}, func() error { return nil })
	return m, err
}

// A Part is what is added to a run at once.
type Part struct {
	Run    Run // its counts are not used
	Builds []Build
	Cases  []CaseID // that the run is to do,
	Refs   []string // on these kernels
	Trials []Trial
	From   Mark // what the store has to have of the run; only bytes and lines count
	To     Mark // what it then has
}

// ErrOther says that the store has another part of a run than was expected:
// somebody else added to it.
var ErrOther = errors.New("the index has another part of the run")

// Add adds a part of a run, whole or not at all. The error wraps ErrOther when
// the run is not at p.From in the store. A run that is not there is at the zero
// mark.
func (s *Store) Add(ctx context.Context, p Part) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		no, err := putRun(ctx, tx, p)
		if err != nil {
			return err
		}
		w := writer{ctx: ctx, tx: tx, known: map[any]int64{}}
		for _, b := range p.Builds {
			w.exec(`INSERT OR REPLACE INTO builds VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
				no, b.Kernel, b.Exact, b.Digest, b.CC, b.Config, list(b.Fragments), list(b.Patches))
		}
		for _, c := range p.Cases {
			w.exec(`INSERT OR IGNORE INTO asked_cases VALUES (?, ?)`, no, w.caseNumber(c))
		}
		for _, ref := range p.Refs {
			w.exec(`INSERT OR IGNORE INTO asked_kernels VALUES (?, ?)`, no, ref)
		}
		for _, t := range p.Trials {
			w.trial(no, t)
		}
		return w.err
	})
	if err != nil {
		return fmt.Errorf("add run %s to the index: %w", p.Run.ID, err)
	}
	return nil
}

// putRun writes the row of a run, and gives its number.
func putRun(ctx context.Context, tx *sql.Tx, p Part) (no int64, err error) {
	var at Mark
	err = tx.QueryRowContext(ctx, "SELECT no, bytes, lines FROM runs WHERE id = ?", p.Run.ID).Scan(&no, &at.Bytes, &at.Lines)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	if at.Bytes != p.From.Bytes || at.Lines != p.From.Lines {
		return 0, ErrOther
	}
	var c Counts
	for _, t := range p.Trials {
		c.Trials++
		if t.Verdict.Failure() {
			c.Failures++
		}
		if t.Verdict == scenarios.Error {
			c.Errors++
		}
	}
	r := p.Run
	err = tx.QueryRowContext(ctx, `
INSERT INTO runs (id, command, verb, started, finished, night, asked, digest, trials, failures, errors, problem, problems, bytes, lines, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET command = excluded.command, verb = excluded.verb, started = excluded.started,
	finished = excluded.finished, night = excluded.night, asked = excluded.asked, digest = excluded.digest,
	trials = trials + excluded.trials, failures = failures + excluded.failures, errors = errors + excluded.errors,
	problem = excluded.problem, problems = excluded.problems, bytes = excluded.bytes, lines = excluded.lines, state = excluded.state
RETURNING no`,
		r.ID, list(r.Command), r.Verb, millis(r.Started), millis(r.Finished), r.Night, r.Asked, r.Digest,
		c.Trials, c.Failures, c.Errors, r.Problem, r.Problems, p.To.Bytes, p.To.Lines, p.To.State).Scan(&no)
	return no, err
}

// Drop takes runs out of the store: their folders are gone, or are to be read
// anew.
func (s *Store) Drop(ctx context.Context, runs ...string) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		for _, id := range runs {
			if _, err := tx.ExecContext(ctx, "DELETE FROM runs WHERE id = ?", id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("take runs out of the index: %w", err)
	}
	return nil
}

// Clear takes everything out of the store.
func (s *Store) Clear(ctx context.Context) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		for _, table := range []string{"runs", "kernels", "cases", "outcomes", "boots", "workers", "bisections"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("empty the index: %w", err)
	}
	return nil
}

// DropFolders notes that the folders of some of a run's trials are gone.
func (s *Store) DropFolders(ctx context.Context, run string, dirs ...string) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		for _, dir := range dirs {
			_, err := tx.ExecContext(ctx, "UPDATE trials SET dir = '', kept = 0 WHERE run = (SELECT no FROM runs WHERE id = ?) AND dir = ?", run, dir)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note in the index what was removed: %w", err)
	}
	return nil
}

// BisectionStates gives what PutBisection was told of each, by its name.
func (s *Store) BisectionStates(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	var name, state string
	err := s.each(ctx, "SELECT name, file_state FROM bisections", nil, []any{&name, &state}, func() error {
		out[name] = state
		return nil
	})
	return out, err
}

// PutBisection writes a bisection, or what has become of it. state names the
// files that it was read from.
func (s *Store) PutBisection(ctx context.Context, b Bisection, state string) error {
	_, err := s.db.ExecContext(ctx, "INSERT OR REPLACE INTO bisections VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		b.Name, millis(b.Started), list(b.Command), b.Scenario, b.Case, b.Of, b.Old, b.New,
		b.State, b.First, b.Subject, b.Grade, b.Confidence, b.Trials, state)
	if err != nil {
		return fmt.Errorf("add bisection %s to the index: %w", b.Name, known(err))
	}
	return nil
}

// DropBisection takes one out: its folder is gone.
func (s *Store) DropBisection(ctx context.Context, name string) error {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM bisections WHERE name = ?", name); err != nil {
		return fmt.Errorf("take bisection %s out of the index: %w", name, known(err))
	}
	return nil
}

// writer writes rows until one fails.
type writer struct {
	ctx   context.Context
	tx    *sql.Tx
	known map[any]int64 // numbers of what trials share
	err   error
}

func (w *writer) exec(query string, args ...any) {
	if w.err == nil {
		_, w.err = w.tx.ExecContext(w.ctx, query, args...)
	}
}

// number gives the number of a row that trials share, which is made when it is
// not there.
func (w *writer) number(key any, find, add string, args ...any) int64 {
	if w.err != nil {
		return 0
	}
	if no, ok := w.known[key]; ok {
		return no
	}
	var no int64
	err := w.tx.QueryRowContext(w.ctx, find, args...).Scan(&no)
	if errors.Is(err, sql.ErrNoRows) {
		err = w.tx.QueryRowContext(w.ctx, add, args...).Scan(&no)
	}
	w.err, w.known[key] = err, no
	return no
}

// outcomeRow is a row of outcomes.
type outcomeRow struct{ verdict, also, phase, said, errno, inPhase, inStep, inVerdict, titles string }

func (w *writer) outcomeNumber(t Trial) int64 {
	o := outcomeRow{
		string(t.Verdict), list(t.Also), t.Phase, t.Outcome, t.Errno,
		t.Signature.Phase, t.Signature.Step, string(t.Signature.Verdict), list(t.Signature.Titles),
	}
	return w.number(o,
		`SELECT no FROM outcomes WHERE verdict = ? AND also = ? AND phase = ? AND said = ? AND errno = ? AND in_phase = ? AND in_step = ? AND in_verdict = ? AND titles = ?`,
		`INSERT INTO outcomes (verdict, also, phase, said, errno, in_phase, in_step, in_verdict, titles) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING no`,
		o.verdict, o.also, o.phase, o.said, o.errno, o.inPhase, o.inStep, o.inVerdict, o.titles)
}

// bootID is a boot as a key.
type bootID string

func (w *writer) bootNumber(id string) int64 {
	if id == "" {
		return 0
	}
	return w.number(bootID(id), `SELECT no FROM boots WHERE id = ?`, `INSERT INTO boots (id) VALUES (?) RETURNING no`, id)
}

func (w *writer) caseNumber(c CaseID) int64 {
	return w.number(c,
		`SELECT no FROM cases WHERE scenario = ? AND name = ?`,
		`INSERT INTO cases (scenario, name) VALUES (?, ?) RETURNING no`,
		c.Scenario, c.Case)
}

func (w *writer) trial(run int64, t Trial) {
	k := t.Kernel
	kernel := w.number(k,
		`SELECT no FROM kernels WHERE ref = ? AND exact = ? AND "release" = ? AND digest = ? AND commit_hash = ?`,
		`INSERT INTO kernels (ref, exact, "release", digest, commit_hash) VALUES (?, ?, ?, ?, ?) RETURNING no`,
		k.Ref, k.Exact, k.Release, k.Digest, k.Commit)
	c := w.caseNumber(CaseID{t.Scenario, t.Case})
	outcome, boot := w.outcomeNumber(t), w.bootNumber(t.BootID)
	worker := int64(0)
	if t.Worker != (Worker{}) {
		worker = w.number(t.Worker, `SELECT no FROM workers WHERE name = ? AND cpu = ?`, `INSERT INTO workers (name, cpu) VALUES (?, ?) RETURNING no`, t.Worker.Name, t.Worker.CPU)
	}
	w.exec(`INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		run, t.Line, t.Task, millis(t.Started), kernel, c, outcome, t.Verdict.Failure(), boot, t.Dir != "",
		t.Reason, t.Bytes, t.Accel, t.CPUs, t.Warm, t.BootMS, t.TrialMS, t.GuestMS, t.TookMS, t.Attempts, t.Dir, worker, t.WaitMS)
	for n, f := range t.Findings {
		w.exec("INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?)", run, t.Line, n, string(f.Kind), f.Title, f.Place, f.Line)
	}
}

// list is a list as it stands in a column.
func list[T any](all []T) string {
	if len(all) == 0 {
		return "[]"
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // it is one of strings
	}
	return string(text)
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
