package nightly

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// A Night is the record of one: what was planned, and what came of it. Nights
// are ordered by their number, since a clock can be set back.
type Night struct {
	Number   int       `json:"number"` // from 1
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"` // zero: it is under way, or was interrupted
	Seconds  float64   `json:"seconds"`           // worked, by all processes that did

	Kernels  []Kernel  `json:"kernels"`
	Plan     []Batch   `json:"plan"`
	Tallies  []Tally   `json:"tallies"`
	Findings []Finding `json:"findings"` // what changed first
	// Continued are findings of the night before whose bisection went on.
	Continued []Finding  `json:"continued,omitempty"`
	Lacking   []Backport `json:"lacking,omitempty"`
	Hunt      *Hunted    `json:"hunt,omitempty"`
	Trouble   []string   `json:"trouble,omitempty"` // what could not be done, and why
}

// A Kernel is one that a pattern stands for in a night.
type Kernel struct {
	Stream  string `json:"stream"`
	Ref     string `json:"ref"`               // exact
	Release string `json:"release,omitempty"` // as far as it is known before it was booted
	New     bool   `json:"new,omitempty"`     // no night before looked at it in this stream
}

// name is its release or, as long as that is not known, its reference.
func (k Kernel) name() string { return cmp.Or(k.Release, k.Ref) }

// A CaseName names a case.
type CaseName struct {
	Scenario string `json:"scenario"`
	Case     string `json:"case"`
}

func nameOf(c scenarios.Case) CaseName { return CaseName{c.Scenario.Name, c.ID} }

// String is "scenario case".
func (c CaseName) String() string { return strings.TrimSpace(c.Scenario + " " + c.Case) }

// A Batch is some cases on one kernel, tried by one run.
type Batch struct {
	Kernel  Kernel     `json:"kernel"`
	Cases   []CaseName `json:"cases"`
	Why     string     `json:"why"`     // why it is due
	Seconds float64    `json:"seconds"` // that it will take, as far as is known
	Run     string     `json:"run,omitempty"`
	Done    bool       `json:"done,omitempty"`
}

// A Tally is what the trials of a case on a kernel showed.
type Tally struct {
	Stream  string `json:"stream"`
	Ref     string `json:"ref"`
	Release string `json:"release"`
	CaseName
	Config   []string           `json:"config,omitempty"`   // fragments besides those of the night
	Confirms Way                `json:"confirms,omitempty"` // of trials that confirm what others showed
	Boots    []Boot             `json:"boots"`
	Shown    map[string]Failure `json:"shown,omitempty"`  // by its signature
	Errors   int                `json:"errors,omitempty"` // trials without a verdict
	Reason   string             `json:"reason,omitempty"` // of the first of them
	Seconds  float64            `json:"seconds"`          // all of them together
}

// A Way is how trials confirm something.
type Way string

// Ways.
const (
	FreshBoots Way = "fresh boots" // from machines that were saved anew
	PowerOn    Way = "power-on"
	Elsewhere  Way = "elsewhere"
)

// A Boot is what the trials of one boot showed.
type Boot struct {
	Trials int            `json:"trials"`
	Failed map[string]int `json:"failed,omitempty"` // by signature
}

// A Failure is one way in which a case fails, as its first trial showed it.
type Failure struct {
	Verdict scenarios.Verdict   `json:"verdict"`
	Also    []scenarios.Verdict `json:"also,omitempty"`
	Outcome string              `json:"outcome,omitempty"`
	Title   string              `json:"title,omitempty"` // of the first finding
	Trial   string              `json:"trial,omitempty"` // its folder, below that of the records
}

// tally sums up the records of a case on a kernel.
func tally(stream string, of CaseName, way Way, records []results.Record) Tally {
	t := Tally{Stream: stream, CaseName: of, Confirms: way, Shown: map[string]Failure{}}
	at := map[string]int{}
	for _, r := range records {
		t.Ref = r.Kernel.Ref
		if r.Kernel.Release != "" {
			t.Release = r.Kernel.Release
		}
		t.Seconds += r.Took().Seconds()
		if r.Verdict == scenarios.Error {
			if t.Errors++; t.Errors == 1 {
				t.Reason = r.Reason
			}
			continue
		}
		i, ok := at[r.BootID]
		if !ok || r.BootID == "" {
			i = len(t.Boots)
			at[r.BootID] = i
			t.Boots = append(t.Boots, Boot{})
		}
		b := &t.Boots[i]
		b.Trials++
		if !r.Verdict.Failure() {
			continue
		}
		if b.Failed == nil {
			b.Failed = map[string]int{}
		}
		sig := r.Signature.Failure().String()
		b.Failed[sig]++
		if f, seen := t.Shown[sig]; !seen || f.Trial == "" {
			t.Shown[sig] = failureOf(r)
		}
	}
	return t
}

func failureOf(r results.Record) Failure {
	f := Failure{Verdict: r.Verdict, Also: r.Also, Outcome: r.Outcome}
	if len(r.Findings) > 0 {
		f.Title = r.Findings[0].Title
	}
	if r.RunDir != "" {
		f.Trial = filepath.Join(filepath.Base(filepath.Dir(r.RunDir)), filepath.Base(r.RunDir))
	}
	return f
}

// count gives the boots as failures of one signature; of any with "".
func (t Tally) count(signature string) []stats.Boot {
	out := make([]stats.Boot, len(t.Boots))
	for i, b := range t.Boots {
		out[i].Trials = b.Trials
		for sig, n := range b.Failed {
			if signature == "" || sig == signature {
				out[i].Failures += n
			}
		}
	}
	return out
}

func (t Tally) trials() (failures, trials int) { return stats.Total(t.count("")) }

// An archive holds the nights of a config, in a folder.
type archive struct {
	dir    string
	nights []Night // that are over, the oldest first

	entries map[cell][]entry // of all nights; see history
}

const (
	// Folder has a folder for each config of nights, in that of the results.
	Folder = "nightly"
	// MaxRecord is the size of the largest record of a night, in bytes.
	MaxRecord = 64 << 20

	lockFile = "lock"
)

func fileOf(number int) string { return fmt.Sprintf("%06d.json", number) }

// openArchive reads the nights in dir, which need not be there, and gives the one
// that was not finished, too, if any. What can't be read is an error: without
// it, old failures would be called new.
func openArchive(dir string) (*archive, *Night, error) {
	b := &archive{dir: dir}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the nights before: %w", err)
	}
	defer root.Close() // only read from
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, nil, fmt.Errorf("read the nights before: %w", err)
	}
	var unfinished *Night
	for _, e := range entries {
		var number int
		if n, err := fmt.Sscanf(e.Name(), "%06d.json", &number); n != 1 || err != nil || e.Name() != fileOf(number) {
			continue
		}
		night, err := readNight(root, e.Name())
		if err != nil {
			return nil, nil, fmt.Errorf("read the night %s: %w; restore the file, or move it away to go on without what it knows", filepath.Join(dir, e.Name()), err)
		}
		night.Number = number
		if night.Finished.IsZero() {
			unfinished = &night
			continue
		}
		b.nights = append(b.nights, night)
	}
	slices.SortFunc(b.nights, func(x, y Night) int { return x.Number - y.Number })
	return b, unfinished, nil
}

func readNight(root *os.Root, name string) (n Night, err error) {
	info, err := root.Stat(name)
	switch {
	case err != nil:
		return n, err
	case !info.Mode().IsRegular() || info.Size() > MaxRecord:
		return n, errors.New("it is no record of a night")
	}
	src, err := root.ReadFile(name)
	if err != nil {
		return n, err
	}
	if err := json.Unmarshal(src, &n); err != nil {
		return n, fmt.Errorf("it is damaged: %w", err)
	}
	return n, nil
}

// next is the number of a new night.
func (b *archive) next() int {
	if len(b.nights) == 0 {
		return 1
	}
	return b.nights[len(b.nights)-1].Number + 1
}

// put writes a night, whole or not at all.
func (b *archive) put(n *Night) error {
	line, err := text.JSONLine(n)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(b.dir)
	if err == nil {
		err = errors.Join(cachedir.WriteFile(root, fileOf(n.Number), line), root.Close())
	}
	if err != nil {
		return fmt.Errorf("keep what the night did: %w", err)
	}
	return nil
}

// A streamRef is a kernel in a stream.
type streamRef struct{ stream, ref string }

// seen are the kernels that nights before looked at. One of which there is no
// verdict is still new.
func (b *archive) seen() map[streamRef]bool {
	out := map[streamRef]bool{}
	for _, n := range b.nights {
		for _, t := range n.Tallies {
			if _, trials := t.trials(); trials > 0 && t.Confirms == "" {
				out[streamRef{t.Stream, t.Ref}] = true
			}
		}
	}
	return out
}
