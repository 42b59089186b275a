package console

import "hash/maphash"

// quoteOfSeen reports whether this very line, time included, was seen before
// in another piece of the log: a mail quotes a part of what it shows whole,
// and a console that starts late repeats what was said before.
func (s *Scanner) quoteOfSeen(m *message, text []byte) bool {
	if len(m.stamp) == 0 {
		return false
	}
	sum := maphash.Bytes(s.seed, m.stamp)*31 + maphash.Bytes(s.seed, text)
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
