package results

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/blockrig/blockrig/harness/text"
)

// TrialsFile holds the record of every trial of a run, one a line, in the
// order in which they ended. A trial whose folder was kept has the folder's
// name in run_dir, every other "".
const TrialsFile = "trials.jsonl"

// maxTrials is the size of the largest TrialsFile that is read, in bytes.
const maxTrials = 1 << 30

// Record adds the record of a trial of which no folder is kept.
func (r *Run) Record(rec Record) error {
	rec.RunDir = ""
	line, err := text.JSONLine(rec)
	if err == nil {
		_, err = decode(line) // what could not be read again must not be stored
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && r.closed {
		err = fmt.Errorf("run %s has ended", r.info.ID)
	}
	if err == nil {
		err = r.append(rec)
	}
	if err != nil {
		return fmt.Errorf("record a trial: %w", err)
	}
	r.stored++
	return nil
}

// append adds a line to TrialsFile, whole or not at all. The caller holds
// r.mu.
func (r *Run) append(rec Record) (err error) {
	if rec.RunDir != "" {
		rec.RunDir = filepath.Base(rec.RunDir) // a store may be moved
	}
	line, err := text.JSONLine(rec)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(r.dir, TrialsFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err = f.Write(line); err == nil {
		err = f.Sync()
	}
	if err != nil {
		err = errors.Join(err, f.Truncate(info.Size()))
	}
	return err
}

// mendTrials cuts off a last line that a process did not finish.
func mendTrials(dir string) (err error) {
	f, err := os.OpenFile(filepath.Join(dir, TrialsFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	whole, _, err := lastNewline(f)
	if err != nil {
		return err
	}
	return f.Truncate(whole)
}

// lastNewline gives the place behind the last newline of a file, and the
// file's size.
func lastNewline(f *os.File) (whole, size int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	size = info.Size()
	part := make([]byte, 64<<10)
	for end := size; end > 0; {
		begin := max(0, end-int64(len(part)))
		p := part[:end-begin]
		if _, err := f.ReadAt(p, begin); err != nil {
			return 0, 0, err
		}
		if i := bytes.LastIndexByte(p, '\n'); i >= 0 {
			return begin + int64(i) + 1, size, nil
		}
		end = begin
	}
	return 0, size, nil
}

// readTrials reads a TrialsFile. A last line without its newline is one that
// a process died at, and no error.
func readTrials(in io.Reader, broken func(line int, err error)) []Record {
	var out []Record
	lines := bufio.NewReaderSize(io.LimitReader(in, maxTrials), 64<<10)
	for n := 1; ; n++ {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			broken(n, err)
			return out
		}
		rec, err := decode(line)
		if err != nil {
			broken(n, err)
			continue
		}
		out = append(out, rec)
	}
}

// readLine reads a line that is not too long. io.EOF: there is no whole one.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxStored:
			return nil, fmt.Errorf("it has a line of more than %d bytes", maxStored)
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
