package store

import (
	"strings"
	"time"
)

// where is a condition on trials (t) with its arguments.
type where struct {
	terms []string
	args  []any
}

func (w *where) add(term string, args ...any) {
	w.terms = append(w.terms, term)
	w.args = append(w.args, args...)
}

// anyOf adds that a column has one of some values, if there are any.
func anyOf[T any](w *where, before string, values []T, after string) {
	if len(values) == 0 {
		return
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v // database/sql takes named types of strings, too
	}
	w.add(before+" IN (?"+strings.Repeat(", ?", len(values)-1)+")"+after, args...)
}

func (w *where) String() string {
	if len(w.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.terms, " AND ")
}

// where gives the filter as a condition.
func (f Filter) where() *where {
	w := &where{}
	anyOf(w, "t.run IN (SELECT no FROM runs WHERE id", f.Runs, ")")
	anyOf(w, "t.run IN (SELECT no FROM runs WHERE night", f.Nights, ")")
	if len(f.Kernels) > 0 {
		one := `(ref = ? AND exact = ? AND "release" = ? AND digest = ? AND commit_hash = ?)`
		var args []any
		for _, k := range f.Kernels {
			args = append(args, k.Ref, k.Exact, k.Release, k.Digest, k.Commit)
		}
		w.add("t.kernel IN (SELECT no FROM kernels WHERE "+one+strings.Repeat(" OR "+one, len(f.Kernels)-1)+")", args...)
	}
	switch {
	case f.Scenario != "" && f.Case != nil:
		w.add(`t."case" IN (SELECT no FROM cases WHERE scenario = ? AND name = ?)`, f.Scenario, *f.Case)
	case f.Scenario != "":
		w.add(`t."case" IN (SELECT no FROM cases WHERE scenario = ?)`, f.Scenario)
	case f.Case != nil:
		w.add(`t."case" IN (SELECT no FROM cases WHERE name = ?)`, *f.Case)
	}
	if !f.Since.IsZero() {
		w.add("t.started >= ?", ceilMillis(f.Since))
	}
	if !f.Before.IsZero() {
		w.add("t.started < ?", ceilMillis(f.Before))
	}
	anyOf(w, "t.outcome IN (SELECT no FROM outcomes WHERE verdict", f.Verdicts, ")")
	if f.Failures {
		w.add("t.failed")
	}
	if s := f.Signature; s != nil {
		w.add("t.outcome IN (SELECT no FROM outcomes WHERE in_phase = ? AND in_step = ? AND in_verdict = ?)", s.Phase, s.Step, string(s.Verdict))
	}
	if f.Kept {
		w.add("t.kept")
	}
	return w
}

// all tells whether the filter takes everything.
func (f Filter) all() bool { return len(f.where().terms) == 0 && f.Limit == 0 }

// ceilMillis rounds up: what began in the millisecond of a time began before
// it or at it.
func ceilMillis(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	return ms
}

// order is that in which trials are given, with the limit.
func (f Filter) order() (string, []any) {
	way := ""
	if f.Newest {
		way = " DESC"
	}
	text := " ORDER BY t.started" + way + ", t.run" + way + ", t.line" + way
	if f.Limit > 0 {
		return text + " LIMIT ?", []any{f.Limit}
	}
	return text, nil
}
