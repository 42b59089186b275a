// Package programs draws short programs of I/O by number, of values at which
// storage stacks tend to differ. Host and guest draw the same.
package programs

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// Space is how many bytes programs use: 64 blocks of 4096.
const Space = 64 << 12

// Longest is how many operations a program has at most.
const Longest = 6

// A Program is a few operations, done one after the other.
type Program []scenarios.IO

// String says a program in a line.
func (p Program) String() string {
	var all []string
	for _, o := range p {
		all = append(all, Say(o))
	}
	return strings.Join(all, "; ")
}

// Say says an operation in a few words.
func Say(o scenarios.IO) string {
	s := o.Op
	if o.Direct {
		s += " direct"
	}
	if o.Mode != "" {
		s += " " + o.Mode
	}
	if len(o.Flags) > 0 {
		s += " " + strings.Join(o.Flags, "|")
	}
	if o.Op == "fsync" || o.Op == "fdatasync" {
		return s
	}
	s += fmt.Sprintf(" %d@%d", o.Length, o.Offset)
	if o.MemoryOffset != 0 {
		s += fmt.Sprintf(" memory+%d", o.MemoryOffset)
	}
	if len(o.Vectors) > 0 {
		var pieces []string
		for _, v := range o.Vectors {
			pieces = append(pieces, fmt.Sprintf("%d+%d", v.Length, v.MemoryOffset))
		}
		s += " vectors " + strings.Join(pieces, ",")
	}
	if o.Unmapped {
		s += " unmapped"
	}
	return s
}

// Changes says whether it may change what stands on the device.
func (p Program) Changes() bool {
	return slices.ContainsFunc(p, func(o scenarios.IO) bool {
		return o.Writes() || o.Op == "zeroes" || o.Op == "discard" || o.Op == "fallocate"
	})
}

// Moves says whether it writes to disks for sure when all of it goes well.
func (p Program) Moves() bool {
	return slices.ContainsFunc(p, func(o scenarios.IO) bool { return o.Writes() && o.Direct && !o.Unmapped })
}

// A shape is the memory of an operation.
type shape struct {
	offset   int64
	vectors  func(length int64) []scenarios.Vector // nil: one piece at offset
	unmapped bool
}

// pieces cuts a length in so many parts, of which the one at place odd begins at
// a memory offset.
func pieces(n, odd int, offset int64) func(int64) []scenarios.Vector {
	return func(length int64) []scenarios.Vector {
		var out []scenarios.Vector
		each := max(1, length/int64(n)/512*512)
		for i := range n {
			v := scenarios.Vector{Length: min(each, length)}
			if i == n-1 {
				v.Length = length
			}
			if i == odd {
				v.MemoryOffset = offset
			}
			length -= v.Length
			out = append(out, v)
		}
		return out
	}
}

// short is two pieces of which the first has so many bytes.
func short(first int64) func(int64) []scenarios.Vector {
	return func(length int64) []scenarios.Vector {
		first := min(first, length)
		return []scenarios.Vector{{Length: first}, {Length: length - first}}
	}
}

// The values of single operations: the edges that the queue limits of disks and
// stacks name (dma_alignment, logical and physical block, chunk, max_sectors).
var (
	operations = []string{
		"pread", "pwrite", "preadv2", "pwritev2", "libaio-read", "libaio-write", "io_uring-read", "io_uring-write",
		"mmap-read", "mmap-write", "splice-read", "reread", "zeroes", "discard", "fallocate", "fsync", "fdatasync",
	}
	offsets = []int64{0, 512, 1024, 3584, 4096, 8192 + 512, 65536 - 4096, 65536 - 512, 65536, 131072 - 512, Space - 131072, 1, 511, 4095}
	lengths = []int64{512, 1024, 3584, 4096, 4608, 8192, 65536, 65536 + 512, 131072, 1, 511, 513, 4095, 4097}
	shapes  = []shape{
		{offset: 0},
		{offset: 512},
		{offset: 2048},
		{offset: 3584},
		{offset: 4},
		{offset: 32},
		{offset: 256},
		{offset: 511},
		{offset: 4064},
		{offset: 4095},
		{vectors: pieces(2, -1, 0)},
		{vectors: pieces(2, 0, 32)},
		{vectors: pieces(2, 1, 32)},
		{vectors: pieces(3, 1, 512)},
		{vectors: pieces(5, 0, 4)},
		{vectors: pieces(5, 2, 4)},
		{vectors: pieces(5, 4, 4)},
		{vectors: short(0)},
		{vectors: short(1)},
		{vectors: short(511)},
		{offset: 0, unmapped: true},
		{offset: 32, unmapped: true},
	}
	extras = []string{"", "", "", "NOWAIT", "DSYNC", "SYNC", "HIPRI", "ATOMIC"}
)

// choices are how many values each dimension of a single operation has:
// operation, direct or not, offset, length, memory, flag.
var choices = []int{len(operations), 2, len(offsets), len(lengths), len(shapes), len(extras)}

// operationOf makes an operation of one choice in each dimension. Another choice
// may give the same, where a dimension means nothing for the operation.
func operationOf(c []int) scenarios.IO {
	o := scenarios.IO{Op: operations[c[0]], Direct: c[1] == 1, Count: 1, Depth: 1}
	extra := extras[c[5]]
	switch o.Op {
	case "fsync", "fdatasync":
		return scenarios.IO{Op: o.Op, Length: 4096, Count: 1, Depth: 1}
	case "preadv2", "pwritev2":
		atomic := extra == "ATOMIC" || extra == "DSYNC" || extra == "SYNC"
		if extra != "" && (o.Op == "pwritev2" || !atomic) {
			o.Flags = []string{extra}
		}
	case "fallocate":
		o.Mode = []string{"punch-hole", "zero-range"}[c[5]%2]
	}
	o.Offset, o.Length = offsets[c[2]], min(lengths[c[3]], Space-offsets[c[2]])
	if !o.Transfers() {
		o.Direct = false
		return o
	}
	m := shapes[c[4]]
	switch vectored := o.Op == "preadv2" || o.Op == "pwritev2" || strings.HasPrefix(o.Op, "libaio"); {
	case m.vectors != nil && vectored:
		o.Vectors = m.vectors(o.Length)
	case m.vectors == nil:
		o.MemoryOffset = m.offset
		o.Unmapped = m.unmapped && !strings.HasPrefix(o.Op, "mmap") && o.Op != "splice-read"
	}
	if o.Op == "mmap-read" || o.Op == "mmap-write" || o.Op == "splice-read" || o.Op == "reread" {
		o.Direct = o.Direct && o.Op == "splice-read"
	}
	return o
}

// A Generator gives programs by their number: the same seed, the same programs.
// First come single operations in which each two values of two dimensions meet;
// then, by turns, any single operations and sequences.
type Generator struct {
	seed  uint64
	pairs []Program // nil: they are not needed
	first int       // number of the first program behind them
}

// NewGenerator makes a generator.
func NewGenerator(seed uint64) *Generator {
	pairs := pairwise(seed)
	return &Generator{seed, pairs, len(pairs)}
}

// Pairs is how many programs there are of the first kind.
func (g *Generator) Pairs() int { return g.first }

// Program gives the program with a number, from 0.
func (g *Generator) Program(n int) Program {
	if n < g.first {
		return g.pairs[n]
	}
	return drawn(g.seed, n-g.first)
}

// Drawn says so many programs from a number on.
func (g *Generator) Drawn(first, count int) Drawn { return Drawn{g.seed, g.first, first, count} }

// Drawn are programs of a Generator by their numbers. A control line takes long
// for the programs themselves.
type Drawn struct {
	Seed  uint64 `json:"seed"`
	Pairs int    `json:"pairs"` // of the generator
	First int    `json:"first"`
	Count int    `json:"count"`
}

// Programs draws them. The pairs take a while; g has them already where it is of
// that seed, or gets them. It begins as a zero one.
func (d Drawn) Programs(g *Generator) []Program {
	switch {
	case d.First < d.Pairs && (g.pairs == nil || g.seed != d.Seed):
		*g = *NewGenerator(d.Seed)
	case g.seed != d.Seed || g.first != d.Pairs:
		*g = Generator{seed: d.Seed, first: d.Pairs}
	}
	out := make([]Program, max(0, d.Count))
	for i := range out {
		out[i] = g.Program(d.First + i)
	}
	return out
}

// A Set is programs as they are, or what they are drawn by. One of the two is set.
type Set struct {
	Programs []Program `json:"programs,omitempty"`
	Drawn    *Drawn    `json:"drawn,omitempty"`
}

// Len is how many there are.
func (s Set) Len() int {
	if s.Drawn != nil {
		return max(0, s.Drawn.Count)
	}
	return len(s.Programs)
}

// Slice is those from one place to another.
func (s Set) Slice(from, to int) Set {
	if s.Drawn != nil {
		d := *s.Drawn
		d.First, d.Count = d.First+from, to-from
		return Set{Drawn: &d}
	}
	return Set{Programs: s.Programs[from:to]}
}

func drawn(seed uint64, n int) Program {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	if n%2 == 0 {
		return Program{operationOf(draw(r))}
	}
	return sequence(r)
}

func draw(r *rand.Rand) []int { return redraw(r, make([]int, len(choices))) }

// redraw draws into what was drawn before.
func redraw(r *rand.Rand, c []int) []int {
	for i, n := range choices {
		c[i] = r.IntN(n)
	}
	return c
}

// sequence draws operations that meet: each begins near where the one before
// did.
func sequence(r *rand.Rand) Program {
	var p Program
	place := r.IntN(len(offsets))
	for range 2 + r.IntN(Longest-1) {
		c := draw(r)
		if r.IntN(3) > 0 {
			c[2] = min(len(offsets)-1, max(0, place+r.IntN(3)-1))
		}
		p = append(p, operationOf(c))
	}
	return p
}

// pairwise gives choices in which every two values of two dimensions meet at
// least once, by a greedy search: of some drawn ones the one in which most meet
// that have not met.
func pairwise(seed uint64) []Program {
	r := rand.New(rand.NewPCG(seed, 1<<63))
	type pair struct{ a, va, b, vb int }
	var order []pair
	var first [][]int // by two dimensions: the place of their first pair
	for a := range choices {
		first = append(first, make([]int, len(choices)))
		for b := a + 1; b < len(choices); b++ {
			first[a][b] = len(order)
			for va := range choices[a] {
				for vb := range choices[b] {
					order = append(order, pair{a, va, b, vb})
				}
			}
		}
	}
	met := make([]bool, len(order)) // by place: a map is slow where the processor is emulated
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	// meets counts the pairs of a choice that have not met, and notes that they have.
	meets := func(c []int, note bool) (n int) {
		for a := range c {
			for b := a + 1; b < len(c); b++ {
				if i := first[a][b] + c[a]*choices[b] + c[b]; !met[i] {
					n++
					met[i] = note
				}
			}
		}
		return n
	}
	var out []Program
	had := map[string]bool{}
	best, c := make([]int, len(choices)), make([]int, len(choices))
	for _, must := range order {
		if met[first[must.a][must.b]+must.va*choices[must.b]+must.vb] {
			continue
		}
		most := -1
		for range 24 {
			c = redraw(r, c)
			c[must.a], c[must.b] = must.va, must.vb
			if n := meets(c, false); n > most {
				best, c, most = c, best, n
			}
		}
		meets(best, true)
		p := Program{operationOf(best)}
		if said := p.String(); !had[said] {
			had[said] = true
			out = append(out, p)
		}
	}
	return out
}
