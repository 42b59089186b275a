package console

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// Bounds of learning a prefix.
const (
	learnLines  = 8  // at least, of the same prefix
	learnShare  = 60 // percent of the lines of no known form
	sameShare   = 90 // the same, of a prefix without a number
	maxPrefix   = 80 // bytes
	maxShapes   = 4096
	maxCommon   = 8       // shapes that are tried
	maxPerLine  = 4       // ends that a line's prefix may have
	learnEarly  = 128     // lines after which a prefix may be known already
	learnSample = 512     // lines looked at
	learnBytes  = 1 << 18 // of them kept
)

// learning finds what stands before the messages of a log of no known form:
// the longest prefix of one shape, with a number in it, that most lines have,
// or a word that nearly all have.
// The lines that it learns from are kept, since what they say is read once the
// prefix is known. The zero value has learned nothing.
type learning struct {
	shape  string // of the prefix, once it is known; "=" and the word of one without a number
	over   bool
	counts map[string]int
	text   []byte // the lines kept, each with its newline
	lines  []int  // their numbers
}

// keeps takes a line of no known form, and reports whether it is time to look
// what the lines have in common.
func (k *learning) keeps(line []byte, number int) bool {
	if k.over || len(line) == 0 {
		return false
	}
	if k.counts == nil {
		k.counts = map[string]int{}
	}
	k.text = append(append(k.text, line...), '\n')
	k.lines = append(k.lines, number)
	shapes(line, func(shape []byte, end int) bool {
		if bytes.IndexByte(shape, '0') < 0 { // a word alone must be the same on all lines
			shape = append([]byte("="), line[:end]...)
		}
		if c, ok := k.counts[string(shape)]; ok || len(k.counts) < maxShapes {
			k.counts[string(shape)] = c + 1
		}
		return true
	})
	return len(k.lines) == learnEarly || len(k.lines) == learnSample || len(k.text) >= learnBytes
}

// common are the shapes that most of the lines kept have, a word that nearly
// all have included, those first that say more.
func (k *learning) common() []string {
	var all []string
	for shape, n := range k.counts {
		share := learnShare
		if shape[0] == '=' {
			share = sameShare
		}
		if n >= learnLines && n*100 >= len(k.lines)*share {
			all = append(all, shape)
		}
	}
	slices.SortFunc(all, func(a, b string) int {
		if word := a[0] == '='; word != (b[0] == '=') {
			return cmp.Compare(b2i(word), b2i(!word))
		}
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	return all[:min(len(all), maxCommon)]
}

// cut takes the prefix that was learned off a message.
func (k *learning) cut(m *message) {
	if k.shape == "" {
		return
	}
	if word, ok := strings.CutPrefix(k.shape, "="); ok {
		if rest, ok := bytes.CutPrefix(m.text, []byte(word)); ok {
			*m = split(rest)
		}
		return
	}
	shapes(m.text, func(shape []byte, end int) bool {
		if string(shape) != k.shape {
			return true
		}
		stamp := m.text[:end]
		if *m = split(m.text[end:]); len(m.stamp) == 0 {
			m.stamp = stamp
		}
		return false
	})
}

// bestPrefix is the shape of those that the lines kept have in common that
// leaves most of what is the kernel's without it; "" when there is none. In a
// log that one driver floods, its name is no prefix.
func (s *Scanner) bestPrefix() string {
	best, most := "", -1
	var hits [len(seen{}.hits)]uint64
	for _, shape := range s.learning.common() {
		n, one := 0, learning{shape: shape}
		for line := range bytes.SplitSeq(s.learning.text, []byte("\n")) {
			m := message{text: line}
			one.cut(&m)
			text := trimBlanks(m.text)
			if len(text) > 0 && len(m.text) < len(line) && (s.t.heads.find(text, hits[:]) || s.t.speaks(text) || s.phrase(m.text)) {
				n++
			}
		}
		if n > most {
			best, most = shape, n
		}
	}
	return best
}

// learn looks for a prefix in the lines kept; if there is one, it reads them
// again without it. It reports whether it did.
func (s *Scanner) learn() bool {
	k := &s.learning
	k.shape = s.bestPrefix()
	k.over = k.shape != "" || len(k.lines) >= learnSample || len(k.text) >= learnBytes || s.closed
	if !k.over {
		return false
	}
	text, lines, now := k.text, k.lines, s.lines
	k.counts, k.text, k.lines = nil, nil, nil
	if k.shape == "" {
		return false
	}
	s.wrap.row, s.prose = noWrap, 0
	for _, n := range lines {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		text, s.lines = rest, n
		if s.message(line) {
			s.kernelLines++
		}
	}
	s.lines = now
	return true
}

// shapes calls f with the shape of each prefix that line may have, and where
// it ends. In a shape "0" stands for what begins with a digit, "a" for a word,
// and what is in brackets is one thing.
func shapes(line []byte, f func(shape []byte, end int) bool) {
	var buf [maxPrefix]byte
	shape := buf[:0]
	ends := 0
	for i := 0; i < len(line) && i < maxPrefix && ends < maxPerLine; {
		c := line[i]
		end := false
		switch {
		case c == ' ' || c == '\t':
			from := i
			for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
				end = end || line[i] == '\t' // columns
				i++
			}
			end = (end || i-from > 1) && bytes.IndexByte(shape, '0') >= 0
			shape = append(shape, ' ')
		case c == '[' || c == '(' || c == '<' || c == '{':
			j := bytes.IndexByte(line[i:min(len(line), i+maxPrefix)], c+2-b2i(c == '('))
			if j < 0 {
				return
			}
			kind := byte('a')
			if bytes.ContainsAny(line[i:i+j], "0123456789") {
				kind = '0'
			}
			shape = append(shape, c, kind, line[i+j])
			i += j + 1
			end = true
		case isDigit(c):
			for i < len(line) && (isWord(line[i]) || line[i] == '.' || line[i] == '-' || line[i] == '/' || (line[i] == ',' || line[i] == ':') && i+1 < len(line) && isDigit(line[i+1])) {
				i++
			}
			shape = append(shape, '0')
		case isWord(c):
			for i < len(line) && (isWord(line[i]) || line[i] == '.' || line[i] == '-' || line[i] == '/') {
				i++
			}
			shape = append(shape, 'a')
		default:
			shape = append(shape, c)
			i++
			end = c == '|' || c == ';' || c == '>' || c == ')' || c == ',' || (c == ':' || c == '-') && i < len(line) && line[i] == ' '
		}
		if end {
			ends++
			at := i
			for at < len(line) && (line[at] == ' ' || line[at] == '"') {
				at++
			}
			if !f(shape, at) {
				return
			}
		}
	}
}

func b2i(b bool) byte {
	if b {
		return 1
	}
	return 0
}
