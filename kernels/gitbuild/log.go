package gitbuild

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// A log is a file with make's output: the beginning and the end of it, for a
// build can print without end.
type log struct {
	file *os.File
	room int    // of the beginning, in bytes
	end  []byte // what comes after it
	cut  int64  // bytes of that which are left out

	line func(string) // told of each line, if not nil
	part []byte       // of a line
	last []string     // lines that may say something of an error: not all the "CC"
}

const (
	logHalf   = 4 << 20 // bytes of the beginning, and of the end
	lineWidth = 1000    // bytes of a line that are looked at
	lastLines = 400
)

func createLog(name string) (*log, error) {
	f, err := os.Create(name)
	return &log{file: f, room: logHalf}, err
}

func (l *log) Write(p []byte) (int, error) {
	n := min(len(p), l.room)
	if _, err := l.file.Write(p[:n]); err != nil {
		return 0, err
	}
	l.room -= n
	if l.end = append(l.end, p[n:]...); len(l.end) > 2*logHalf {
		l.shorten()
	}
	for line := range bytes.Lines(p) {
		l.part = append(l.part, line[:min(len(line), lineWidth)]...)
		if bytes.HasSuffix(line, []byte("\n")) || len(l.part) > 1<<20 {
			l.endLine()
		}
	}
	return len(p), nil
}

func (l *log) endLine() {
	line := string(bytes.TrimSuffix(l.part[:min(len(l.part), lineWidth)], []byte("\n")))
	l.part = l.part[:0]
	if l.line != nil {
		l.line(line)
	}
	if line == "" || compiledLine(line) {
		return
	}
	if l.last = append(l.last, line); len(l.last) > lastLines {
		l.last = l.last[1:]
	}
}

func (l *log) shorten() {
	if over := len(l.end) - logHalf; over > 0 {
		l.end = append(l.end[:0], l.end[over:]...)
		l.cut += int64(over)
	}
}

// Close writes the end.
func (l *log) Close() error {
	l.shorten()
	if l.cut > 0 {
		l.end = append(fmt.Appendf(nil, "\n[blockrig: %d bytes are left out here]\n", l.cut), l.end...)
	}
	_, err := l.file.Write(l.end)
	return errors.Join(err, l.file.Close())
}
