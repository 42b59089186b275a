package nightly

import (
	"cmp"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/scenarios"
)

// What things take as long as nothing better is known, in seconds.
const (
	aTrial     = 8   // under emulation, with its share of the boot
	aPackage   = 90  // to fetch and unpack
	aBuild     = 600 // of a commit
	mostAtOnce = 900 // of a batch: what may be left undone when time is up
)

// Why a batch is due, the most urgent first.
const (
	dueNew    = "new kernel"
	dueFailed = "failed last"
	dueAge    = "age"
)

var dues = []string{dueNew, dueFailed, dueAge}

// An item is one case on one kernel, with what decides when it is tried.
type item struct {
	kernel  int // place among tonight's
	of      CaseName
	why     string
	age     int     // nights since it was tried last in the stream
	unknown float64 // width of what is known of its rate
	seconds float64
}

// never is the age of what was never tried.
const never = 1 << 20

// plan says what is due tonight and in which order: new kernels first, then
// what failed last, then by age and by what is least known.
func plan(b *archive, kernels []Kernel, cases []scenarios.Case, repeat, workers int) []Batch {
	costs := b.costs()
	var items []item
	oldest := make([]int, len(kernels))
	for i, k := range kernels {
		for _, c := range cases {
			it := item{kernel: i, of: nameOf(c), why: dueAge, age: never, unknown: 1}
			it.seconds = costs.of(it.of) * float64(repeat) / float64(max(1, workers))
			h := b.history(k.Stream, it.of)
			if len(h) > 0 {
				last := h[len(h)-1]
				it.age = b.next() - last.night
				it.unknown = width(h)
				if failures, _ := last.trials(); failures > 0 {
					it.why = dueFailed
				}
			}
			if k.New {
				it.why = dueNew
			}
			oldest[i] = max(oldest[i], it.age)
			items = append(items, it)
		}
	}
	slices.SortStableFunc(items, func(a, b item) int {
		return cmp.Or(
			cmp.Compare(slices.Index(dues, a.why), slices.Index(dues, b.why)),
			cmp.Compare(oldest[b.kernel], oldest[a.kernel]), // a kernel's cases stay together
			cmp.Compare(a.kernel, b.kernel),
			cmp.Compare(b.age, a.age),
			cmp.Compare(b.unknown, a.unknown),
		)
	})
	return batches(items, kernels)
}

// batches puts what follows each other on one kernel together.
func batches(items []item, kernels []Kernel) []Batch {
	var out []Batch
	begun := map[string]bool{}
	for _, it := range items {
		k := kernels[it.kernel]
		last := len(out) - 1
		if last < 0 || out[last].Kernel != k || out[last].Why != it.why || out[last].Seconds+it.seconds > mostAtOnce {
			b := Batch{Kernel: k, Why: it.why}
			if k.New && !begun[k.Ref] {
				b.Seconds = preparing(k.Ref)
			}
			begun[k.Ref] = true
			out = append(out, b)
			last++
		}
		out[last].Cases = append(out[last].Cases, it.of)
		out[last].Seconds += it.seconds
	}
	return out
}

func preparing(ref string) float64 {
	switch {
	case strings.HasPrefix(ref, "git:"):
		return aBuild
	case strings.HasPrefix(ref, "debian:"):
		return aPackage
	}
	return 0
}

// costs are the seconds of a trial of each case, as the last night that tried
// it saw them.
type costs map[CaseName]float64

func (b *archive) costs() costs {
	out := costs{}
	for _, n := range b.nights {
		for _, t := range n.Tallies {
			if _, trials := t.trials(); trials+t.Errors > 0 && t.Seconds > 0 {
				out[t.CaseName] = t.Seconds / float64(trials+t.Errors)
			}
		}
	}
	return out
}

func (c costs) of(name CaseName) float64 { return cmp.Or(c[name], aTrial) }

// An entry is a tally with its night.
type entry struct {
	night int
	Tally
}

// history is what nights before showed of a case in a stream, the oldest
// first.
func (b *archive) history(stream string, of CaseName) []entry {
	if b.entries == nil {
		b.entries = map[cell][]entry{}
		for _, n := range b.nights {
			for _, t := range n.Tallies {
				if t.Confirms != Elsewhere {
					c := t.cell()
					b.entries[c] = append(b.entries[c], entry{n.Number, t})
				}
			}
		}
	}
	return b.entries[cell{stream, of}]
}

// A cell is a case in a stream: what has a history.
type cell struct {
	stream string
	of     CaseName
}

func (t Tally) cell() cell { return cell{t.Stream, t.CaseName} }

// nightsOf makes of entries what is looked at for changes: those of one night
// and one kernel are one.
func nightsOf(entries []entry, signature string) []stats.Night {
	var out []stats.Night
	for i, e := range entries {
		if i > 0 && entries[i-1].night == e.night && entries[i-1].Ref == e.Ref {
			last := &out[len(out)-1]
			last.Boots = append(last.Boots, e.count(signature)...)
			continue
		}
		out = append(out, stats.Night{Boots: e.count(signature), Changed: i > 0 && entries[i-1].Ref != e.Ref})
	}
	return slices.DeleteFunc(out, func(n stats.Night) bool {
		_, trials := stats.Total(n.Boots)
		return trials == 0
	})
}

// width is how little is known of the rate that a case has now. For that, the
// last nights are enough.
func width(h []entry) float64 {
	h = h[max(0, len(h)-stats.Recent):]
	now := stats.FindChange(nightsOf(h, ""), stats.Recent).Now
	return now.High - now.Low
}
