package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// A Moment is a point in a Recording at which the power may fail: just after
// a request was finished, or a mark made.
type Moment struct {
	At     int       `json:"at"`             // number of the event, from 1
	Op     Operation `json:"op"`             // that was finished; "" for a mark
	Disk   string    `json:"disk,omitempty"` // ID
	Offset int64     `json:"offset,omitempty"`
	Length int64     `json:"length,omitempty"`
	FUA    bool      `json:"fua,omitempty"`  // it is durable, without a flush
	Mark   string    `json:"mark,omitempty"` // the last one made by then
}

// Moments are all there are, in order. One of which the machine's end came
// first is not among them.
func (r *Recording) Moments() []Moment {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Moment
	for _, t := range r.tapes {
		for _, e := range t.entries {
			if e.finished > 0 {
				all = append(all, Moment{At: e.finished, Op: e.op, Disk: t.disk.ID, Offset: e.offset, Length: e.length, FUA: e.fua})
			}
		}
	}
	for _, m := range r.marks {
		all = append(all, Moment{At: m.at, Mark: m.name})
	}
	slices.SortFunc(all, func(a, b Moment) int { return cmp.Compare(a.At, b.At) })
	last := ""
	for i := range all {
		last = cmp.Or(all[i].Mark, last)
		all[i].Mark = last
	}
	return all
}

// Loss is what a power cut does to writes that a disk need not have kept: those
// that were in its volatile cache, or under way.
type Loss string

// Losses.
const (
	LoseNone Loss = "none" // all of them are on the disk
	LoseAll  Loss = "all"  // none is
	LoseTail Loss = "tail" // of each disk the first ones are, up to a seeded one
	LoseSome Loss = "some" // each is or isn't, by the seed: later ones may have been written before earlier ones
)

// A Choice is one of the ways in which a power cut can go.
type Choice struct {
	Lose Loss   `json:"lose"`
	Torn bool   `json:"torn,omitempty"` // of LoseTail, the first write that is lost is in part there; of LoseSome, a third of all: each physical block is or isn't
	Seed uint64 `json:"seed,omitempty"`
}

// Image makes the disks, all at one moment, as the choice leaves them: new raw
// files ID.raw in the folder dir, for a new machine. What was flushed, or
// written with FUA, or to a disk without a volatile cache, is on them. So is
// what was written to a disk of NVMe and answered: QEMU's doesn't tell FUA. It
// is for a machine that has ended: one that runs stands still meanwhile.
func (r *Recording) Image(ctx context.Context, at Moment, c Choice, dir string) ([]Disk, error) {
	switch c.Lose {
	case LoseNone, LoseAll:
		if c.Torn {
			return nil, fmt.Errorf("power cut: nothing is torn when %s of the writes are lost", c.Lose)
		}
	case LoseTail, LoseSome:
	default:
		return nil, fmt.Errorf("power cut: lose %q: want %s, %s, %s or %s", c.Lose, LoseNone, LoseAll, LoseTail, LoseSome)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.log == nil {
		return nil, errors.New("power cut: the recording was closed")
	}
	if at.At < 0 || at.At > r.events {
		return nil, fmt.Errorf("power cut: moment %d: the recording has %d", at.At, r.events)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("power cut: %w", err)
	}
	defer root.Close()
	var out []Disk
	for i, t := range r.tapes {
		d := t.disk
		name := d.ID + ".raw"
		d.Path = filepath.Join(dir, name)
		err := writeNew(root, name, func(f *os.File) error {
			if err := t.base.copyTo(ctx, f); err != nil {
				return err
			}
			return t.apply(ctx, layers{{file: f}}, t.left(at.At, c, uint64(i)))
		})
		if err != nil {
			for _, made := range out {
				err = errors.Join(err, root.Remove(made.ID+".raw"))
			}
			return nil, fmt.Errorf("power cut: disk %s: %w", d.ID, err)
		}
		out = append(out, d)
	}
	return out, nil
}

// A piece is what is on the disk of a write or discard.
type piece struct {
	*entry
	blocks func(i int64) bool // which of its physical blocks; nil: all
}

// left says what a power cut after event at leaves, in the order in which it
// goes over what was there.
func (t *tape) left(at int, c Choice, disk uint64) []piece {
	seen := slices.DeleteFunc(slices.Clone(t.entries), func(e *entry) bool { return e.arrived > at || e.aborted })
	ended := func(e *entry) bool { return e.finished > 0 && e.finished <= at }
	// A flush is for what was finished when it arrived.
	flushed := 0
	for _, e := range seen {
		if e.op == FlushOp && ended(e) {
			flushed = max(flushed, e.arrived)
		}
	}
	seen = slices.DeleteFunc(seen, func(e *entry) bool { return e.op == FlushOp })
	// The file shows them in the order of their ends; what had not ended comes
	// last, if at all.
	slices.SortStableFunc(seen, func(a, b *entry) int {
		switch x, y := ended(a), ended(b); {
		case x && y:
			return cmp.Compare(a.finished, b.finished)
		case x:
			return -1
		case y:
			return 1
		}
		return cmp.Compare(a.arrived, b.arrived)
	})
	safe := func(e *entry) bool { return ended(e) && (e.finished < flushed || e.fua) }
	volatile := 0
	for _, e := range seen {
		if !safe(e) {
			volatile++
		}
	}

	random := rand.New(rand.NewPCG(c.Seed, disk))
	torn := func() func(int64) bool {
		seed := random.Uint64()
		return func(i int64) bool { return rand.New(rand.NewPCG(seed, uint64(i))).IntN(2) == 0 }
	}
	tail := volatile // how many are kept, of LoseTail
	if c.Lose == LoseTail {
		tail = random.IntN(volatile + 1)
	}
	var out []piece
	n := -1 // of the volatile ones
	for _, e := range seen {
		if safe(e) {
			out = append(out, piece{entry: e})
			continue
		}
		n++
		switch c.Lose {
		case LoseNone:
			out = append(out, piece{entry: e})
		case LoseTail:
			if n < tail {
				out = append(out, piece{entry: e})
			} else if n == tail && c.Torn {
				out = append(out, piece{e, torn()})
			}
		case LoseSome:
			ways := 2 // lost, kept
			if c.Torn {
				ways = 3
			}
			switch random.IntN(ways) {
			case 1:
				out = append(out, piece{entry: e})
			case 2:
				out = append(out, piece{e, torn()})
			}
		}
	}
	return out
}

// apply writes what is left into an image.
func (t *tape) apply(ctx context.Context, to layers, pieces []piece) error {
	atom := t.disk.atom()
	for _, p := range pieces {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if p.blocks == nil {
			if err := t.copy(to, p.entry, p.offset, p.offset+p.length); err != nil {
				return err
			}
			continue
		}
		for at, i := p.offset, int64(0); at < p.offset+p.length; i++ {
			end := min(at-at%atom+atom, p.offset+p.length)
			if p.blocks(i) {
				if err := t.copy(to, p.entry, at, end); err != nil {
					return err
				}
			}
			at = end
		}
	}
	return nil
}

// copy writes the bytes from from to before to of an entry into an image.
func (t *tape) copy(into layers, e *entry, from, to int64) error {
	for from < to {
		n := min(to-from, 1<<20)
		if e.data < 0 {
			n = to - from
			if err := into.zero(from, n); err != nil {
				return err
			}
		} else {
			buf := make([]byte, n)
			if _, err := t.rec.log.ReadAt(buf, e.data+from-e.offset); err != nil {
				return err
			}
			if err := into.write(buf, from); err != nil {
				return err
			}
		}
		from += n
	}
	return nil
}
