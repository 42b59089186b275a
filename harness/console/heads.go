package console

import "slices"

// heads finds the rows that a message may match by how it begins: most rows
// begin with text, and to compare the beginning is cheaper than to search the
// line.
type heads struct {
	four  [1 << fourBits]uint16 // by a hash of the first four bytes: index into lists
	lists [][]headItem          // lists[0] is empty
	short [256][]string         // by first byte: heads too short to tell rows apart
}

// fourBits is how many bits the hash of four bytes has.
const fourBits = 14

// hashFour is a hash of the first four bytes of s, which must have as many.
func hashFour[T []byte | string](s T) uint32 {
	four := uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
	return four * 2654435761 >> (32 - fourBits) // Knuth's multiplicative hash
}

type headItem struct {
	text string // the message begins so
	rows []uint16
}

// Bounds of a beginning that tells rows from others, in bytes: a shorter one
// begins too many lines, and the rest of a longer one is left to the pattern.
const (
	minHead = 5
	maxHead = 24
)

func newHeads() *heads { return &heads{lists: [][]headItem{nil}} }

// add files a row under all beginnings that its pattern allows. It reports
// false for a pattern that may begin with nearly anything.
func (h *heads) add(p *pattern, row uint16) bool {
	texts := p.beginnings()
	for _, t := range texts {
		if len(t) < minHead {
			return false
		}
	}
	for _, t := range texts {
		h.file(t[:min(len(t), maxHead)], row)
	}
	return len(texts) > 0
}

// addShort notes that rows begin with a head that is too short to tell them
// apart, so that lines which begin so are looked into. It reports false for a
// pattern that may begin with anything.
func (h *heads) addShort(p *pattern) bool {
	texts := p.beginnings()
	for _, t := range texts {
		if list := &h.short[t[0]]; !slices.Contains(*list, t) {
			*list = append(*list, t)
		}
	}
	return len(texts) > 0
}

// beginsShort reports whether s begins with a head that addShort was told.
func (h *heads) beginsShort(s []byte) bool {
	if len(s) == 0 {
		return false
	}
	for _, t := range h.short[s[0]] {
		if len(s) >= len(t) && string(s[:len(t)]) == t {
			return true
		}
	}
	return false
}

func (h *heads) file(text string, row uint16) {
	at := &h.four[hashFour(text)]
	if *at == 0 {
		*at = uint16(len(h.lists))
		h.lists = append(h.lists, nil)
	}
	list := &h.lists[*at]
	for i := range *list {
		if (*list)[i].text == text {
			(*list)[i].rows = append((*list)[i].rows, row)
			return
		}
	}
	*list = append(*list, headItem{text, []uint16{row}})
}

// find sets the bits of the rows that s may match, and reports whether there
// is any.
func (h *heads) find(s []byte, bits []uint64) bool {
	if len(s) < minHead {
		return false
	}
	list := h.lists[h.four[hashFour(s)]]
	any := false
	for i := range list {
		it := &list[i]
		// Rows of one driver differ at the end.
		if last := len(it.text) - 1; len(s) <= last || s[last] != it.text[last] || string(s[:len(it.text)]) != it.text {
			continue
		}
		any = setBits(bits, it.rows)
	}
	return any
}

// beginnings are the texts that a message must begin with one of to match;
// none where it may begin with anything.
func (p *pattern) beginnings() []string { return beginnings(p.tokens) }

func beginnings(tokens []token) []string {
	if len(tokens) == 0 || tokens[0].text == "" {
		return nil
	}
	if tokens[0].mode != '?' {
		return []string{tokens[0].text}
	}
	rest := beginnings(tokens[1:])
	var all []string
	for _, r := range rest {
		all = append(all, tokens[0].text+r, r)
	}
	return all
}
