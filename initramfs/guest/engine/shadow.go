package engine

import (
	"bytes"
	"slices"
)

// mostValues is how many contents of a sector a shadow tells apart. A sector
// that may hold more may hold anything.
const mostValues = 8

// A shadow knows what may stand in each sector at the beginning of a device:
// what was acknowledged; after an error or a discard what was there before, too.
type shadow []sector

// A sector is what one may hold. With no value it may hold anything.
type sector struct {
	may  [][]byte
	past [][]byte // what it held before, to name what is stale
}

func newShadow(space int64) shadow { return make(shadow, space/sectorSize) }

// put notes that b was written at offset at; not sure: or not, sector by
// sector.
func (s shadow) put(at int64, b []byte, sure bool) {
	s.each(at, int64(len(b)), func(i, from, to, off int64) {
		s[i].put(b[off:off+to-from], int(from), sure)
	})
}

// each calls f for every sector of a range, as far as the shadow knows of it:
// with the part of the sector, and the place of that in the range.
func (s shadow) each(at, n int64, f func(i, from, to, off int64)) {
	for off := int64(0); off < n; {
		i, from := (at+off)/sectorSize, (at+off)%sectorSize
		to := min(sectorSize, from+n-off)
		if i < int64(len(s)) {
			f(i, from, to, off)
		}
		off += to - from
	}
}

// forget notes that a range may hold anything.
func (s shadow) forget(at, n int64) {
	s.each(at, n, func(i, _, _, _ int64) {
		s[i].remember()
		s[i].may = nil
	})
}

func (c *sector) put(part []byte, from int, sure bool) {
	old := c.may
	var now [][]byte
	if len(part) == sectorSize {
		v := c.spare()
		copy(v, part)
		if sure {
			c.remember()
			c.may = append(c.may[:0], v)
			return
		}
		now = [][]byte{v}
	} else {
		for _, v := range old {
			v = bytes.Clone(v)
			copy(v[from:], part)
			now = add(now, v)
		}
	}
	c.remember()
	if !sure && len(old) == 0 {
		now = nil
	} else if !sure {
		for _, v := range old {
			now = add(now, v)
		}
	}
	if len(now) > mostValues {
		now = nil
	}
	c.may = now
}

// mostPast is how many contents of before a sector remembers.
const mostPast = 3

// remember notes that what stands there is of the past.
func (c *sector) remember() {
	if len(c.may) == 0 {
		return
	}
	if len(c.past) == mostPast {
		copy(c.past, c.past[1:])
		c.past = c.past[:mostPast-1]
	}
	c.past = append(c.past, c.may[0])
}

// spare gives memory for one more content: that of one which is about to be
// forgotten, where nothing else has it.
func (c *sector) spare() []byte {
	if len(c.past) == mostPast && len(c.may) > 0 {
		v := c.past[0]
		same := func(w []byte) bool { return &w[0] == &v[0] }
		if !slices.ContainsFunc(c.past[1:], same) && !slices.ContainsFunc(c.may, same) {
			return v
		}
	}
	return make([]byte, sectorSize)
}

func add(all [][]byte, v []byte) [][]byte {
	if slices.ContainsFunc(all, func(w []byte) bool { return bytes.Equal(v, w) }) {
		return all
	}
	return append(all, v)
}

// unsure says whether a range has a sector that may hold several things.
func (s shadow) unsure(at, n int64) (found bool) {
	s.each(at, n, func(i, _, _, _ int64) { found = found || len(s[i].may) != 1 })
	return found
}

// check implements checker.
func (s shadow) check(b []byte, at int64) (int64, string) {
	wrong, kind := int64(-1), ""
	s.each(at, int64(len(b)), func(i, from, to, off int64) {
		if wrong < 0 {
			if n, k := s[i].check(b[off:off+to-from], int(from)); n >= 0 {
				wrong, kind = off+n, k
			}
		}
	})
	return wrong, kind
}

func (c *sector) check(got []byte, from int) (int64, string) {
	best := -1
	for _, v := range c.may {
		n := common(got, v[from:])
		if n == len(got) {
			return -1, ""
		}
		best = max(best, n)
	}
	if best < 0 {
		return -1, "" // nothing is known
	}
	if zeroes(got) == len(got) {
		return int64(best), zero
	}
	for _, v := range c.past {
		if bytes.Equal(got, v[from:from+len(got)]) {
			return int64(best), stale
		}
	}
	for _, a := range slices.Concat(c.may, c.past) {
		begin := common(got, a[from:])
		for _, z := range slices.Concat(c.may, c.past) {
			if begin >= 8 && begin+commonEnd(got, z[from:from+len(got)]) >= len(got) {
				return int64(best), torn
			}
		}
	}
	return int64(best), garbage
}
