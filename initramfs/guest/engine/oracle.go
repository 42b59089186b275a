package engine

import (
	"bytes"
	"slices"

	"github.com/blockrig/blockrig/initramfs/protocol"
)

// What stands where data are wrong.
const (
	stale      = "stale"       // what another write put there
	otherPlace = "other-place" // what belongs to another sector
	torn       = "torn"        // parts of several
	zero       = "zero"
	garbage    = "garbage"
)

const sectorSize = 512

// An oracle knows what may stand where.
type oracle struct {
	may  []protocol.Extent
	last uint32 // the newest generation that was ever written
	size int64  // of the file or device
}

// check looks at bytes that were read at an offset. It gives the index of the
// first byte that is wrong, and what stands there; -1 where all may be so.
func (o oracle) check(b []byte, at int64) (int64, string) {
	var want [sectorSize]byte
	for _, e := range o.may {
		lo, hi := max(at, e.Offset), min(at+int64(len(b)), e.Offset+e.Length)
		var whole []uint32 // what all of the extent can be of, so far
		for first := true; lo < hi; first = false {
			end := min(hi, (lo/sectorSize+1)*sectorSize)
			got := b[lo-at : end-at]
			var of []uint32
			best := 0 // the longest beginning that is right
			for _, g := range e.Generations {
				w := want[:len(got)]
				protocol.Fill(w, g, lo)
				n := common(got, w)
				if best = max(best, n); n < len(got) {
					continue
				}
				if of = append(of, g); !e.Whole {
					break
				}
			}
			for _, g := range e.Mixed {
				best = max(best, mixed(got, g, lo))
			}
			if e.Zero {
				best = max(best, zeroes(got))
			}
			if best < len(got) {
				return lo - at + int64(best), o.name(got, lo)
			}
			if e.Whole {
				if !first && len(of) > 0 {
					of = both(whole, of)
				}
				if whole = of; len(of) == 0 && !e.Zero {
					return lo - at, torn
				}
			}
			lo = end
		}
	}
	return -1, ""
}

// mixed is how many bytes at the beginning are what one of two generations puts
// there.
func mixed(b []byte, g uint32, at int64) int {
	for i, c := range b {
		if c != protocol.PatternOf(g, at+int64(i)) && c != protocol.PatternOf(g+1, at+int64(i)) {
			return i
		}
	}
	return len(b)
}

// both gives what two lists have in common.
func both(a, b []uint32) []uint32 {
	return slices.DeleteFunc(slices.Clone(a), func(g uint32) bool { return !slices.Contains(b, g) })
}

func common(a, b []byte) int {
	if bytes.Equal(a, b[:len(a)]) {
		return len(a) // most often, and quickly so
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

func commonEnd(a, b []byte) int {
	for i := range a {
		if a[len(a)-1-i] != b[len(b)-1-i] {
			return i
		}
	}
	return len(a)
}

func zeroes(b []byte) int {
	for i, c := range b {
		if c != 0 {
			return i
		}
	}
	return len(b)
}

// mostSearched bounds the search for the place that a sector belongs to, in
// sectors times generations.
const mostSearched = 4 << 20

// name says what a part of a sector holds that may not stand there.
func (o oracle) name(got []byte, at int64) string {
	if zeroes(got) == len(got) {
		return zero
	}
	var want [sectorSize]byte
	w := want[:len(got)]
	begin, end := zeroes(got), commonEnd(got, w) // w is zero
	for g := range o.last + 1 {
		protocol.Fill(w, g, at)
		if bytes.Equal(got, w) {
			return stale
		}
		begin, end = max(begin, common(got, w)), max(end, commonEnd(got, w))
	}
	if o.elsewhere(got, at) {
		return otherPlace
	}
	// Random bytes are now and then right by accident.
	if max(begin, end) >= 8 && begin+end >= len(got) {
		return torn
	}
	return garbage
}

// elsewhere says whether the bytes belong to another sector.
func (o oracle) elsewhere(got []byte, at int64) bool {
	if len(got) < 8 {
		return false
	}
	sectors := (max(o.size, at+sectorSize) + sectorSize - 1) / sectorSize
	sectors = min(sectors, mostSearched/int64(o.last+1))
	var want [sectorSize]byte
	w := want[:len(got)]
	for g := range o.last + 1 {
		for s := range sectors {
			i := s*sectorSize + at%sectorSize
			if i == at || protocol.PatternOf(g, i) != got[0] || protocol.PatternOf(g, i+1) != got[1] {
				continue
			}
			protocol.Fill(w, g, i)
			if bytes.Equal(got, w) {
				return true
			}
		}
	}
	return false
}
