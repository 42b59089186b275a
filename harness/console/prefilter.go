package console

import "encoding/binary"

// The bytes of each literal that a prefilter indexes: the more, the further it
// skips. No literal may be shorter.
const (
	window     = 5
	wideWindow = 9
)

// A prefilter says which of many literals a line holds, looking at most
// bytes at most once: the method of Wu and Manber ("A fast algorithm for
// multi-pattern searching", 1994) with blocks of three bytes, hashed. Where the
// block at the end of the window ends no literal's window, it skips as far as
// it may.
type prefilter struct {
	shift    [blocks]uint8     // by the block at the end of the window; 0: look closer
	bucket   [blocks]uint16    // by the same block: index into lists
	lists    [][]prefilterItem // lists[0] is empty
	literals []string
	window   int // bytes of each literal that are indexed
}

type prefilterItem struct {
	head    uint32 // the first four bytes of the window
	literal string
	before  int // bytes of literal before the window
	id      int // index of the literal
}

func newPrefilter(literals []string, window int) *prefilter {
	p := &prefilter{literals: literals, window: window, lists: [][]prefilterItem{nil}}
	for i := range p.shift {
		p.shift[i] = uint8(window - 2)
	}
	for id, lit := range literals {
		if len(lit) < window {
			panic("console: literal too short for the prefilter: " + lit)
		}
		before := rarestWindow(lit, window)
		w := lit[before : before+window]
		for i := 2; i < window; i++ {
			b := block(w[i], w[i-1], w[i-2])
			p.shift[b] = min(p.shift[b], uint8(window-1-i))
		}
		last := block(w[window-1], w[window-2], w[window-3])
		if p.bucket[last] == 0 {
			p.bucket[last] = uint16(len(p.lists))
			p.lists = append(p.lists, nil)
		}
		n := p.bucket[last]
		p.lists[n] = append(p.lists[n], prefilterItem{binary.LittleEndian.Uint32([]byte(w)), lit, before, id})
	}
	return p
}

// blocks is how many hashes of blocks there are: so few that what is looked up
// for each stays in the processor's first cache.
const blocks = 1 << 13

// block is a hash of three bytes, the last one first: most differ in their low
// five bits.
func block(a, b, c byte) uint16 {
	return (uint16(a) ^ uint16(b)<<4 ^ uint16(c)<<8) % blocks
}

// rarestWindow returns where in lit the window stands whose last two bytes
// are rarest in kernel logs: capitals and punctuation are rarer than small
// letters, which are rarer than blanks and digits beside them.
func rarestWindow(lit string, window int) int {
	best, bestCost := 0, 1<<30
	for o := 0; o+window <= len(lit); o++ {
		cost := byteCost(lit[o+window-1]) * byteCost(lit[o+window-2])
		if cost < bestCost {
			best, bestCost = o, cost
		}
	}
	return best
}

func byteCost(c byte) int {
	switch {
	case c >= 'A' && c <= 'Z':
		return 2
	case c >= 'a' && c <= 'z':
		switch c {
		case 'e', 't', 'a', 'i', 'n', 'o', 's', 'r', 'd', 'c':
			return 8
		case 'j', 'k', 'q', 'v', 'w', 'x', 'y', 'z', 'b', 'g':
			return 3
		}
		return 5
	case c >= '0' && c <= '9':
		return 9
	case c == ' ' || c == ':' || c == '0':
		return 8
	}
	return 3
}

// find returns the ids of the literals in s, appended to ids, and where each
// begins, appended to at, in no order. It looks through both halves of s at
// once: neither has to wait for what the other reads.
func (p *prefilter) find(s []byte, ids []int, at []int) ([]int, []int) {
	i, half := p.window-1, (p.window+len(s))/2
	j := half
	for i < half && j < len(s) {
		a, b := p.shift[block(s[i], s[i-1], s[i-2])], p.shift[block(s[j], s[j-1], s[j-2])]
		if a == 0 {
			ids, at = p.check(s, i, ids, at)
			a = 1
		}
		if b == 0 {
			ids, at = p.check(s, j, ids, at)
			b = 1
		}
		i, j = i+int(a), j+int(b)
	}
	for i < min(half, len(s)) {
		a := p.shift[block(s[i], s[i-1], s[i-2])]
		if a == 0 {
			ids, at = p.check(s, i, ids, at)
			a = 1
		}
		i += int(a)
	}
	for j < len(s) {
		b := p.shift[block(s[j], s[j-1], s[j-2])]
		if b == 0 {
			ids, at = p.check(s, j, ids, at)
			b = 1
		}
		j += int(b)
	}
	return ids, at
}

// check appends the literals whose windows end with s[i].
func (p *prefilter) check(s []byte, i int, ids []int, at []int) ([]int, []int) {
	head := binary.LittleEndian.Uint32(s[i-p.window+1:])
	for _, it := range p.lists[p.bucket[block(s[i], s[i-1], s[i-2])]] {
		if it.head != head {
			continue
		}
		pos := i - (p.window - 1) - it.before
		if pos >= 0 && pos+len(it.literal) <= len(s) && string(s[pos:pos+len(it.literal)]) == it.literal {
			ids, at = append(ids, it.id), append(at, pos)
		}
	}
	return ids, at
}
