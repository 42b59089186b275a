package protocol

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strings"
)

// hostPrefix begins what the host appends to a console log once the machine
// is gone.
const hostPrefix = "blockrig: host: "

// HostLine is a line of the host's that says something in JSON.
func HostLine(json []byte) string { return hostPrefix + strings.TrimSpace(string(json)) + "\n" }

// IsHostLine says whether a line of a console log is the host's.
func IsHostLine(line string) bool { return strings.HasPrefix(line, hostPrefix) }

// A Trailer is a line of the host's in a console log. It counts in the log
// that it was written for, at its end; anybody can put one behind another.
type Trailer struct {
	Line  int    // in the log, from 1
	Text  []byte // JSON
	After string // names the log before this line; see LogSum.Sum
	Last  bool   // nothing but other trailers follows
}

// maxTrailers and maxTrailer bound the memory that a log can claim.
const (
	maxTrailers = 100
	maxTrailer  = 1 << 20
)

// A LogSum names a console log by what its lines say, and finds the trailers
// in it, which are nothing of the log. Line ends and empty lines do not count
// either: they change on a log's way through mails and editors. Write never fails. The zero value is empty.
type LogSum struct {
	sum      uint32
	lines    int    // that have ended
	begun    []byte // of the line that has not ended: as long as it may be a trailer
	plain    bool   // it is none
	content  bool   // something of it was summed
	returns  int    // carriage returns that may be its end
	trailers []Trailer
}

func (l *LogSum) Write(p []byte) (int, error) {
	n := len(p)
	for {
		p = p[l.whole(p):]
		part, rest, ended := bytes.Cut(p, []byte("\n"))
		l.add(part)
		if !ended {
			return n, nil
		}
		l.end()
		p = rest
	}
}

// whole sums the lines that p begins with as far as each counts as it stands,
// its end included, and returns their length: nearly all lines do, and to sum
// them at once is cheaper.
func (l *LogSum) whole(p []byte) int {
	if l.plain || l.content || l.returns > 0 || len(l.begun) > 0 { // within a line
		return 0
	}
	n := 0
	for {
		i := bytes.IndexByte(p[n:], '\n')
		if i <= 0 || p[n] == hostPrefix[0] || p[n+i-1] == '\r' {
			break
		}
		n += i + 1
		l.lines++
	}
	if n > 0 {
		l.sum = crc32.Update(l.sum, castagnoli, p[:n])
		l.follow()
	}
	return n
}

// follow notes that something of the log follows the trailers.
func (l *LogSum) follow() {
	for i := range l.trailers {
		l.trailers[i].Last = false
	}
}

// add takes a part of a line.
func (l *LogSum) add(part []byte) {
	if l.plain {
		l.count(part)
		return
	}
	if len(l.begun) == 0 && len(part) >= len(hostPrefix) && !bytes.HasPrefix(part, []byte(hostPrefix)) {
		l.plain = true
		l.count(part)
		return
	}
	l.begun = append(l.begun, part...)
	if len(l.begun) >= len(hostPrefix) && !bytes.HasPrefix(l.begun, []byte(hostPrefix)) || len(l.begun) > maxTrailer {
		l.plain = true
		l.count(l.begun)
	}
}

// end ends a line.
func (l *LogSum) end() {
	l.lines++
	trailer, ok := bytes.CutPrefix(l.begun, []byte(hostPrefix))
	switch {
	case l.plain:
	case ok:
		if len(l.trailers) == maxTrailers {
			l.trailers = l.trailers[:maxTrailers-1]
		}
		trailer = bytes.Clone(bytes.TrimRight(trailer, "\r"))
		l.trailers = append(l.trailers, Trailer{Line: l.lines, Text: trailer, After: l.Sum(), Last: true})
	default:
		l.count(l.begun)
	}
	if l.content {
		l.sum = crc32.Update(l.sum, castagnoli, []byte{'\n'})
		l.follow()
	}
	l.begun, l.plain, l.content, l.returns = l.begun[:0], false, false, 0
}

// count sums a part of a line, without the carriage returns at its end.
func (l *LogSum) count(part []byte) {
	text := bytes.TrimRight(part, "\r")
	if len(text) > 0 {
		for ; l.returns > 0; l.returns-- { // they were not the end
			l.sum = crc32.Update(l.sum, castagnoli, []byte{'\r'})
		}
		l.sum = crc32.Update(l.sum, castagnoli, text)
		l.content = true
	}
	l.returns += len(part) - len(text)
}

// castagnoli is what a processor computes by itself: a log is summed many times
// faster than it is judged. It has to tell logs apart, not to keep out liars.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum names the log up to the last line that has ended.
func (l *LogSum) Sum() string { return fmt.Sprintf("%08x", l.sum) }

// Close ends the last line.
func (l *LogSum) Close() {
	if len(l.begun) > 0 || l.plain {
		l.end()
	}
}

// Trailers are those of the lines that have ended, in their order.
func (l *LogSum) Trailers() []Trailer { return l.trailers }
