package console

import "bytes"

// Bounds of learning a prefix.
const (
	learnLines  = 8  // at least, of the same prefix
	learnShare  = 60 // percent of the lines of no known form
	maxPrefix   = 80 // bytes
	maxShapes   = 4096
	maxPerLine  = 4   // ends that a line's prefix may have
	learnSample = 512 // lines looked at
)

// learn finds what stands before the messages of a log of no known form: the
// longest prefix of one shape, with a number in it, that most lines have. It
// returns the shape, "" when there is none.
func learn(sample []byte) string {
	counts := map[string]int{}
	unknown := 0
	for n := 0; n < learnSample; n++ {
		line, rest, ok := bytes.Cut(sample, []byte("\n"))
		if !ok {
			break
		}
		sample = rest
		line = bytes.TrimRight(line, "\r ")
		if len(line) == 0 || split(line).origin != originUnknown {
			continue
		}
		unknown++
		shapes(line, func(shape []byte, _ int) bool {
			if c, ok := counts[string(shape)]; ok || len(counts) < maxShapes {
				counts[string(shape)] = c + 1
			}
			return true
		})
	}
	best := ""
	for shape, n := range counts {
		if n >= learnLines && n*100 >= unknown*learnShare && bytes.IndexByte([]byte(shape), '0') >= 0 &&
			(len(shape) > len(best) || len(shape) == len(best) && shape < best) {
			best = shape
		}
	}
	return best
}

// cutPrefix takes off a prefix of the learned shape.
func cutPrefix(line []byte, learned string) (rest []byte, ok bool) {
	shapes(line, func(shape []byte, end int) bool {
		if string(shape) == learned {
			rest, ok = line[end:], true
		}
		return !ok
	})
	return rest, ok
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
			for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
				i++
			}
			shape = append(shape, ' ')
			continue
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
			for i < len(line) && (isWord(line[i]) || line[i] == '.' || line[i] == '-' || line[i] == '/' || line[i] == ',' || line[i] == ':' && i+1 < len(line) && isDigit(line[i+1])) {
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
			end = c == '|' || c == ';' || c == '>' || (c == ':' || c == '-') && i < len(line) && line[i] == ' '
		}
		if end {
			ends++
			at := i
			for at < len(line) && line[at] == ' ' {
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
