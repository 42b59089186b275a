package console

import (
	"errors"
	"fmt"
	"io"
)

// ErrNoKernelLines says that a file holds no line of a kernel, so that
// nothing found in it does not mean that all was well.
var ErrNoKernelLines = errors.New("no line of a kernel log in it")

// ErrEmpty says that a file is empty.
var ErrEmpty = errors.New("empty")

// A Log is what a whole kernel log says.
type Log struct {
	Findings    []Finding // in the order of their first lines
	Release     string    // of the kernel (the last boot's), "" when not said
	Lines       int
	KernelLines int // at least 1
	Boots       int
	Dropped     int64 // findings beyond the limit of different ones
	Marks       []Mark
	MarksLost   int // marks beyond the limit
}

// A Mark is a line of blockrig's own guest or host in a kernel log.
type Mark struct {
	Line int    // from 1
	Text string // from "blockrig: " on
}

// maxMarks bounds what a Log keeps.
const maxMarks = 10_000

// maxWindow bounds the memory that a zstd file may ask for, in bytes.
const maxWindow = 512 << 20

// ReadAll reads a log to its end, packed or not, in any form that the package
// knows. It fails with ErrEmpty or ErrNoKernelLines where it can't say anything, and
// with the reader's error; the Log holds what was read up to there. What is
// read also goes, unpacked, to the writers.
func ReadAll(r io.Reader, also ...io.Writer) (*Log, error) {
	log := &Log{}
	s := NewScanner(OnMark(func(line int, text string) {
		if len(log.Marks) >= maxMarks {
			// The last one is what the host says at the end.
			log.MarksLost++
			log.Marks[maxMarks-1] = Mark{line, text}
			return
		}
		log.Marks = append(log.Marks, Mark{line, text})
	}))
	lines, done, err := openLog(r)
	defer done()
	if err != nil {
		return log, err
	}
	n, err := io.CopyBuffer(io.MultiWriter(append(also, s)...), lines, make([]byte, 256<<10))
	s.Close()
	log.Findings, log.Release = s.Findings(), s.Release()
	log.Lines, log.KernelLines, log.Boots, log.Dropped = s.Lines(), s.KernelLines(), s.Boots(), s.Dropped()
	switch {
	case err != nil:
		return log, fmt.Errorf("read kernel log: %w", err)
	case n == 0:
		return log, fmt.Errorf("kernel log: %w", ErrEmpty)
	case log.KernelLines == 0:
		return log, fmt.Errorf("kernel log: %w (%d lines)", ErrNoKernelLines, log.Lines)
	}
	return log, nil
}
