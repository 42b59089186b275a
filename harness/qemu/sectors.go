package qemu

import (
	"iter"
	"maps"
	"slices"
)

// sectorsPerPage is how many sectors one page of a sectorSet has: 16 MiB of
// disk in 4 KiB.
const sectorsPerPage = 1 << 15

// A sectorSet is a set of a disk's sectors. The zero value is empty.
type sectorSet struct {
	pages map[int64]*[sectorsPerPage / 64]uint64
}

func (s *sectorSet) has(n int64) bool {
	page := s.pages[n/sectorsPerPage]
	at := n % sectorsPerPage
	return page != nil && page[at/64]&(1<<(at%64)) != 0
}

// add puts the sectors from from to before to into the set.
func (s *sectorSet) add(from, to int64) {
	for n := from; n < to; {
		page := s.pages[n/sectorsPerPage]
		if page == nil {
			page = new([sectorsPerPage / 64]uint64)
			if s.pages == nil {
				s.pages = map[int64]*[sectorsPerPage / 64]uint64{}
			}
			s.pages[n/sectorsPerPage] = page
		}
		for end := min(to, (n/sectorsPerPage+1)*sectorsPerPage); n < end; {
			at := n % sectorsPerPage
			if at%64 == 0 && end-n >= 64 {
				page[at/64] = ^uint64(0)
				n += 64
				continue
			}
			page[at/64] |= 1 << (at % 64)
			n++
		}
	}
}

// among gives those of the set from from to before to, in order.
func (s *sectorSet) among(from, to int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for n := from; n < to; n++ {
			page := s.pages[n/sectorsPerPage]
			switch at := n % sectorsPerPage; {
			case page == nil:
				n += sectorsPerPage - at - 1
			case page[at/64] == 0:
				n += 63 - at%64
			case page[at/64]&(1<<(at%64)) != 0 && !yield(n):
				return
			}
		}
	}
}

// any says whether the set has one of the sectors from from to before to.
func (s *sectorSet) any(from, to int64) bool {
	for range s.among(from, to) {
		return true
	}
	return false
}

// remove takes the sectors from from to before to out of the set.
func (s *sectorSet) remove(from, to int64) {
	for n := range s.among(from, to) {
		s.pages[n/sectorsPerPage][n%sectorsPerPage/64] &^= 1 << (n % 64)
	}
}

// runs gives the sectors in order, as ranges.
func (s *sectorSet) runs(yield func(from, to int64) bool) {
	from, to := int64(0), int64(0)
	for _, number := range slices.Sorted(maps.Keys(s.pages)) {
		for i, word := range s.pages[number] {
			for bit := int64(0); word != 0 && bit < 64; bit++ {
				n := number*sectorsPerPage + int64(i)*64 + bit
				switch {
				case word&(1<<bit) == 0:
				case n == to && to > from:
					to++
				default:
					if to > from && !yield(from, to) {
						return
					}
					from, to = n, n+1
				}
			}
		}
	}
	if to > from {
		yield(from, to)
	}
}
