package results

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// TrialsFile holds the record of every trial of a run, one a line, in the
// order in which they ended. A trial whose folder was kept has the folder's
// name in run_dir, every other "".
const TrialsFile = "trials.jsonl"

// maxTrials is the size of the largest TrialsFile that is read, in bytes.
const maxTrials = 1 << 30

// append adds a line to TrialsFile, whole or not at all. The caller holds
// r.mu.
func (r *Run) append(rec Record) (err error) {
	if rec.RunDir != "" {
		rec.RunDir = filepath.Base(rec.RunDir) // a store may be moved
	}
	line, err := encode(rec)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(r.Dir(), TrialsFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
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

// cutUnfinishedLine cuts off a last line that a process did not finish.
func cutUnfinishedLine(dir string) (err error) {
	f, err := os.OpenFile(filepath.Join(dir, TrialsFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	part := make([]byte, 64<<10)
	for end := info.Size(); end > 0; {
		begin := max(0, end-int64(len(part)))
		p := part[:end-begin]
		if _, err := f.ReadAt(p, begin); err != nil {
			return err
		}
		if i := bytes.LastIndexByte(p, '\n'); i >= 0 {
			return f.Truncate(begin + int64(i) + 1)
		}
		end = begin
	}
	return f.Truncate(0)
}

// sumFile gives the SHA-256 of a file.
func sumFile(path string) (_ string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// readTrials reads a TrialsFile. A last line without its newline is one that
// a process died at, and no error. sum is that of all that was read.
func readTrials(in io.Reader, broken func(line int, err error)) (out []Record, sum string) {
	h := sha256.New()
	in = io.TeeReader(io.LimitReader(in, maxTrials), h)
	lines := bufio.NewReaderSize(in, 64<<10)
	for n := 1; ; n++ {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			return out, hex.EncodeToString(h.Sum(nil))
		}
		if err != nil {
			broken(n, err)
			return out, ""
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
