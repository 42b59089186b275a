package console

import "hash/maphash"

// quoteOfSeen reports whether this very line, time included, was seen before
// in another piece of the log: a mail quotes a part of what it shows whole,
// and a console that starts late repeats what was said before.
func (s *Scanner) quoteOfSeen(m *message, text []byte) bool {
	if len(m.stamp) == 0 {
		return false
	}
	sum := maphash.Bytes(s.seed, text)
	if m.precise {
		sum += uint64(m.usec) * 0x9e3779b97f4a7c15 // spreads the bits (2^64 by the golden ratio)
	} else {
		sum += maphash.Bytes(s.seed, m.stamp) * 31
	}
	section, ok := s.stamps[sum]
	if ok {
		repeated := s.lastStamp == sum
		s.lastStamp = sum
		return section != s.section || m.precise && !repeated
	}
	s.lastStamp = sum
	if len(s.ring) < maxStamps {
		s.ring = append(s.ring, sum)
	} else {
		delete(s.stamps, s.ring[s.ringAt])
		s.ring[s.ringAt] = sum
		s.ringAt = (s.ringAt + 1) % maxStamps
	}
	s.stamps[sum] = s.section
	return false
}
