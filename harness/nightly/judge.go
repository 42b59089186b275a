package nightly

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/harness/verdict"
)

// A Kind is what a night says of a failure.
type Kind string

// Kinds, what matters most first. The first four are said once: in no later
// night of the same failure in that stream.
const (
	New        Kind = "new"       // it began, surely
	Back       Kind = "back"      // it was fixed, and is there again
	Spread     Kind = "spread"    // it was reported for another stream, and began in this one
	Fixed      Kind = "fixed"     // it is gone, surely
	Expired    Kind = "expired"   // it was known, and is gone
	Changed    Kind = "changed"   // it comes more often, or less
	Unsettled  Kind = "unsettled" // it may be new: that is not sure yet
	Begins     Kind = "begins"    // it was there when the stream was looked at first
	KnownStill Kind = "known"     // it is known, and there
	Still      Kind = "still"     // it was reported, and is there
)

var kinds = []Kind{New, Back, Spread, Fixed, Expired, Changed, Unsettled, Begins, KnownStill, Still}

// Alarming tells whether somebody should look at it.
func (k Kind) Alarming() bool { return k == New || k == Back }

// A Finding is what a night says of one failure of one case in one stream.
type Finding struct {
	Kind    Kind   `json:"kind"`
	Stream  string `json:"stream"`
	Ref     string `json:"ref"`
	Release string `json:"release"`
	CaseName
	Signature     string       `json:"signature"`
	Shown         Failure      `json:"shown,omitzero"` // tonight, where it was
	Tonight       stats.Boot   `json:"tonight"`        // all trials, those that confirm it included
	Change        stats.Change `json:"change"`
	Before        string       `json:"before,omitempty"` // last kernel without it, a reference
	BeforeRelease string       `json:"before_release,omitempty"`
	Note          string       `json:"note,omitempty"`
	Link          string       `json:"link,omitempty"` // of a known failure

	Confirmed map[Way]stats.Boot `json:"confirmed,omitempty"`
	Also      []Where            `json:"also,omitempty"` // other cases and streams of tonight with the same signature
	Elsewhere []Where            `json:"elsewhere,omitempty"`
	Bisection *Bisection         `json:"bisection,omitempty"`
}

// Where is a case on a kernel.
type Where struct {
	Stream  string   `json:"stream,omitempty"`
	Release string   `json:"release"`
	Config  []string `json:"config,omitempty"` // fragments besides those of the night
	CaseName
	Fails stats.Boot `json:"fails"`
	Same  bool       `json:"same"` // with the same signature
}

// Kernel is its release, and how it was built where that was in another way.
func (w Where) Kernel() string {
	if len(w.Config) == 0 {
		return w.Release
	}
	return w.Release + " with " + strings.Join(w.Config, " and ")
}

// A failureKey names a failure wherever it is.
type failureKey struct {
	of        CaseName
	signature string
}

// A watch is what nights before said of a failure in a stream.
type watch struct {
	since    int  // night of the last that was said
	fixed    bool // it was said to be gone
	reported bool // somebody was told; else it was known, or there from the beginning
	known    bool
}

type watchKey struct {
	stream string
	failureKey
}

// watches are what all nights before said.
func (b *archive) watches() map[watchKey]watch {
	out := map[watchKey]watch{}
	for _, n := range b.nights {
		for _, f := range n.Findings {
			key := f.watchKey()
			w := out[key]
			switch f.Kind {
			case New, Back, Spread:
				w = watch{since: n.Number, reported: true}
				for _, also := range f.Also {
					out[watchKey{also.Stream, failureKey{also.CaseName, f.Signature}}] = w
				}
			case Begins:
				w = watch{since: n.Number}
			case KnownStill:
				if w.known && !w.fixed {
					continue
				}
				w = watch{since: n.Number, known: true}
			case Fixed, Expired:
				w.since, w.fixed = n.Number, true
			case Changed:
				w.since = n.Number
			default:
				continue
			}
			out[key] = w
		}
	}
	return out
}

func (f Finding) key() failureKey { return failureKey{f.CaseName, f.Signature} }

func (f Finding) watchKey() watchKey { return watchKey{f.Stream, f.key()} }

// A judge says what is new tonight.
type judge struct {
	archive *archive
	known   []Known
	watched map[watchKey]watch
	open    map[failureKey]bool // reported, and not fixed, in any stream
}

func newJudge(b *archive, known []Known) *judge {
	j := &judge{archive: b, known: known, watched: b.watches(), open: map[failureKey]bool{}}
	for key, w := range j.watched {
		if !w.fixed && w.reported {
			j.open[key.failureKey] = true
		}
	}
	return j
}

// findings are what tonight's trials say, one of each failure in each stream,
// what matters most first.
func (j *judge) findings(n Night) []Finding {
	var order []cell
	tonight := map[cell][]entry{}
	for _, t := range n.Tallies {
		if t.Confirms == Elsewhere {
			continue
		}
		c := t.cell()
		if tonight[c] == nil {
			order = append(order, c)
		}
		tonight[c] = append(tonight[c], entry{n.Number, t})
	}
	var out []Finding
	for _, c := range order {
		for _, sig := range j.signatures(c, tonight[c]) {
			if f, ok := j.judge(c, sig, j.archive.history(c.stream, c.of), tonight[c]); ok {
				out = append(out, f)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), cmp.Compare(b.Change.Up, a.Change.Up))
	})
	return out
}

// signatures are those of tonight, and those that are watched.
func (j *judge) signatures(c cell, tonight []entry) []string {
	all := map[string]bool{}
	for _, e := range tonight {
		for _, b := range e.Boots {
			for sig := range b.Failed {
				all[sig] = true
			}
		}
	}
	for key, w := range j.watched {
		if key.stream == c.stream && key.of == c.of && !w.fixed {
			all[key.signature] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// judge says what there is to say of one failure; ok is false when that is
// nothing.
func (j *judge) judge(c cell, sig string, before, tonight []entry) (f Finding, ok bool) {
	last := tonight[len(tonight)-1]
	f = Finding{
		Stream: c.stream, Ref: last.Ref, Release: last.Release, CaseName: c.of, Signature: sig,
		Confirmed: map[Way]stats.Boot{},
	}
	for _, e := range tonight {
		failures, trials := stats.Total(e.count(sig))
		f.Tonight.Failures += failures
		f.Tonight.Trials += trials
		if e.Confirms != "" {
			w := f.Confirmed[e.Confirms]
			f.Confirmed[e.Confirms] = stats.Boot{Failures: w.Failures + failures, Trials: w.Trials + trials}
		}
		if shown, is := e.Shown[sig]; is {
			if f.Shown.Verdict == "" {
				f.Shown = shown
			}
			f.Ref, f.Release = e.Ref, e.Release
		}
	}
	if f.Tonight.Trials == 0 {
		return f, false
	}
	w, watched := j.watched[f.watchKey()]
	all := slices.Concat(before, tonight)
	nights := nightsOf(all, sig)
	// What was said already is not said again: only what came after it counts.
	within := stats.Recent
	if watched {
		within = min(within, len(nightsOf(after(all, w.since), sig)))
	}
	f.Change = stats.FindChange(nights[max(0, len(nights)-remembered):], within)
	f.Before, f.BeforeRelease = lastWithout(before, sig, f.Ref)
	known, isKnown := j.knownAs(f)
	f.Link = known.Link
	had := len(nightsOf(before, "")) > 0
	if c := f.Confirmed; c[PowerOn].Trials > 0 && c[PowerOn].Failures == 0 && c[FreshBoots].Failures > 0 {
		f.Note = "it shows from saved machines only, not from power-on"
	}
	if watched && !w.fixed {
		return f, j.watchedAs(&f, w, isKnown)
	}
	switch {
	case f.Tonight.Failures == 0:
		return f, false
	case isKnown && !watched:
		f.Kind = KnownStill
	case !had:
		f.Kind = Begins
	case !f.Change.Confirmed():
		f.Kind = Unsettled
	case watched:
		f.Kind = Back
		if w.known {
			f.Note = "it was a known failure, which had expired"
		}
	case j.open[f.key()]:
		f.Kind = Spread
	default:
		f.Kind = New
		if f.Note != "" {
			break
		}
		if failed, _ := stats.Total(boots(before)); failed > 0 {
			f.Note = "this case failed before, in another way"
		}
	}
	return f, true
}

// watchedAs says what there is to say of a failure that was spoken of before.
func (j *judge) watchedAs(f *Finding, w watch, isKnown bool) bool {
	switch {
	case f.Tonight.Failures == 0 && f.Change.Better():
		f.Kind = Fixed
		if w.known || isKnown {
			f.Kind = Expired
		}
	case w.known && !isKnown && f.Tonight.Failures > 0:
		f.Kind, f.Note = New, "it is no longer among the known failures, and is still there"
	case isKnown:
		f.Kind = KnownStill
	case f.Change.Worse() || f.Change.Better():
		f.Kind = Changed
	default:
		f.Kind = Still
	}
	return true
}

// after are the entries of later nights.
func after(entries []entry, night int) []entry {
	i := slices.IndexFunc(entries, func(e entry) bool { return e.night > night })
	if i < 0 {
		return nil
	}
	return entries[i:]
}

func boots(entries []entry) []stats.Boot {
	var out []stats.Boot
	for _, e := range entries {
		out = append(out, e.count("")...)
	}
	return out
}

// lastWithout is the last other kernel on which the case was tried and did
// not fail so.
func lastWithout(before []entry, sig, ref string) (string, string) {
	for _, e := range slices.Backward(before) {
		failures, trials := stats.Total(e.count(sig))
		if e.Ref == ref || trials == 0 {
			continue
		}
		if failures > 0 {
			return "", ""
		}
		return e.Ref, e.Release
	}
	return "", ""
}

// knownAs finds the known failure that it is.
func (j *judge) knownAs(f Finding) (Known, bool) {
	for _, k := range j.known {
		sig, err := verdict.ParseSignature(k.Signature)
		if err == nil && k.Scenario == f.Scenario && (k.Case == "" || k.Case == f.Case) && sig.Failure().String() == f.Signature {
			return k, true
		}
	}
	return Known{}, false
}

// toConfirm tells whether more trials are to say what a finding is: a failure
// that may be new, for as long as it is not certain, or one that may be gone.
func (f Finding) toConfirm() bool {
	n := f.confirmations()
	switch f.Kind {
	case New, Back, Spread, Unsettled:
		return f.Change.ToConfirm(n)
	case Fixed, Expired, Still, KnownStill:
		return n == 0 && f.Tonight.Failures == 0 && f.Change.MayBeGone()
	}
	return false
}

// confirmations is how many trials were made to confirm it.
func (f Finding) confirmations() (n int) {
	for _, b := range f.Confirmed {
		n += b.Trials
	}
	return n
}

// remembered is how many nights a rate is judged by.
const remembered = 150

// grouped puts failures of one scenario with one signature that are new tonight
// below the first of them: they are one bug as long as nothing says otherwise.
func grouped(all []Finding) []Finding {
	type group struct {
		scenario, signature string
		kind                Kind
	}
	at := map[group]int{}
	var out []Finding
	for _, f := range all {
		g := group{f.Scenario, f.Signature, f.Kind}
		if i, ok := at[g]; ok && f.Kind.Alarming() {
			out[i].Also = append(out[i].Also, Where{Stream: f.Stream, Release: f.Release, CaseName: f.CaseName, Fails: f.Tonight, Same: true})
			continue
		}
		at[g] = len(out)
		out = append(out, f)
	}
	return out
}

// short is the verdict of a signature, for people.
func short(signature string) string { return signature[strings.LastIndexByte(signature, '/')+1:] }
