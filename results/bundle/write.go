package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/initramfs"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// Names in a bundle.
const (
	Folder = "blockrig-bundle"

	fileScript    = "reproduce.sh"
	fileSums      = "SHA256SUMS"
	fileVerdict   = "verdict.json"
	fileTrial     = "trial.json"
	fileJob       = "job.json"
	fileScenario  = "scenario.yaml"
	fileConsole   = "console.log"
	fileKernel    = "kernel"
	fileInitramfs = "initramfs.cpio"
	fileMember    = "script.cpio" // of the first boot; see memberOf
	dirPrograms   = "programs/"
)

// A Content is what a bundle is made of.
type Content struct {
	Record   results.Record
	Job      trial.Job
	Kernel   string // path of the bzImage
	Initrd   string // path of the initramfs, a cpio that is not packed
	Console  string // path
	Programs []initramfs.Program
	Script   *trial.Script // nil: it can't be made again without blockrig
	Why      string        // it can't
}

// memberOf is the script of a boot, from 0.
func memberOf(boot int) string {
	if boot == 0 {
		return fileMember
	}
	name, ext, _ := strings.Cut(fileMember, ".")
	return fmt.Sprintf("%s-%d.%s", name, boot+1, ext)
}

// A Verdict is what a bundle says of its trial.
type Verdict struct {
	Expected scenarios.Verdict   `json:"expected"`
	Seen     scenarios.Verdict   `json:"seen"`
	Also     []scenarios.Verdict `json:"also"`
	Reason   string              `json:"reason"`
	// Signature without its titles, which follow.
	Signature verdict.Signature `json:"signature"`
	Titles    []string          `json:"titles"`
	Findings  []results.Finding `json:"findings"`
}

// verdictOf is that of a record.
func verdictOf(r results.Record) Verdict {
	return Verdict{
		Expected: scenarios.Pass, Seen: r.Verdict, Also: results.OrEmpty(r.Also), Reason: r.Reason,
		Signature: r.Signature.Failure(), Titles: results.OrEmpty(r.Signature.Titles), Findings: results.OrEmpty(r.Findings),
	}
}

// member is a file of a bundle: what is in memory, or a file.
type member struct {
	name string
	mode int64
	data []byte
	path string // "": data
}

func (m member) open() (io.ReadCloser, int64, error) {
	if m.path == "" {
		return io.NopCloser(bytes.NewReader(m.data)), int64(len(m.data)), nil
	}
	f, err := os.Open(m.path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", m.path)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// Write writes a bundle.
func Write(w io.Writer, c Content) error {
	members, err := c.members()
	if err != nil {
		return fmt.Errorf("make a bundle: %w", err)
	}
	// One worker: the same bytes on every machine.
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return fmt.Errorf("make a bundle: %w", err)
	}
	out := tar.NewWriter(z)
	for _, m := range members {
		if err := m.write(out); err != nil {
			return fmt.Errorf("make a bundle: %s: %w", m.name, err)
		}
	}
	if err := errors.Join(out.Close(), z.Close()); err != nil {
		return fmt.Errorf("make a bundle: %w", err)
	}
	return nil
}

// WriteFile writes a bundle into a file, whole or not at all.
func WriteFile(path string, c Content) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".blockrig-bundle-")
	if err != nil {
		return fmt.Errorf("make a bundle: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	err = Write(f, c)
	if err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (m member) write(out *tar.Writer) (err error) {
	in, size, err := m.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	err = out.WriteHeader(&tar.Header{
		Name: Folder + "/" + m.name, Mode: m.mode, Size: size, Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0), Format: tar.FormatPAX,
	})
	if err == nil {
		_, err = io.Copy(out, in)
	}
	return err
}

// members are the files of the bundle, small ones first, with the sums of all.
func (c Content) members() ([]member, error) {
	rec := c.Record
	rec.RunDir = "" // of the machine that it was made on
	var errs []error
	line := func(v any) []byte {
		src, err := text.JSONLine(v)
		errs = append(errs, err)
		return src
	}
	all := []member{
		{name: fileVerdict, data: line(verdictOf(rec))},
		{name: fileTrial, data: line(rec)},
		{name: fileJob, data: line(c.Job)},
		{name: fileScenario, data: []byte(c.Job.Source)},
	}
	for _, p := range c.Programs {
		all = append(all, member{name: dirPrograms + p.Name, data: p.Data})
	}
	all = append(all,
		member{name: fileConsole, path: c.Console},
		member{name: fileKernel, path: c.Kernel},
		member{name: fileInitramfs, path: c.Initrd},
	)
	if c.Script != nil {
		info, err := os.Stat(c.Initrd)
		if err != nil {
			return nil, err
		}
		for i, boot := range c.Script.Boots {
			data, err := initramfs.ScriptMember(info.Size(), boot)
			errs = append(errs, err)
			all = append(all, member{name: memberOf(i), data: data})
		}
	}
	all = slices.Insert(all, 0, member{name: fileScript, mode: 0o755, data: []byte(c.shell())})
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var sums strings.Builder
	for i, m := range all {
		if m.mode == 0 {
			all[i].mode = 0o644
		}
		sum, err := m.sum()
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, m.name)
	}
	return slices.Insert(all, 1, member{name: fileSums, mode: 0o644, data: []byte(sums.String())}), nil
}

func (m member) sum() (_ string, err error) {
	in, _, err := m.open()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(h, in); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
