package bundle

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// ErrBundle says that a file is no bundle that can be used.
var ErrBundle = errors.New("not a bundle")

// most bounds the files of a bundle, in bytes. Those with no limit here have
// that of a small one.
var most = map[string]int64{
	fileKernel: 512 << 20, fileInitramfs: 2 << 30, fileConsole: 1 << 30,
}

const (
	mostSmall    = 4 << 20
	mostMember   = 64 << 20
	mostProgram  = 64 << 20
	mostPrograms = 32
)

// needed are the files that every bundle has.
var needed = []string{fileScript, fileSums, fileVerdict, fileTrial, fileJob, fileScenario, fileConsole, fileKernel, fileInitramfs}

var programName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,100}$`)

// limitOf is how long the file of a name may be; false: a bundle has none.
func limitOf(name string) (int64, bool) {
	if n, ok := most[name]; ok {
		return n, true
	}
	if p, ok := strings.CutPrefix(name, dirPrograms); ok {
		return mostProgram, programName.MatchString(p)
	}
	for _, n := range needed {
		if n == name {
			return mostSmall, true
		}
	}
	for boot := range trial.MaxBoots {
		if memberOf(boot) == name {
			return mostMember, true
		}
	}
	return 0, false
}

// A Bundle is one that was unpacked, and whose checksums are right.
type Bundle struct {
	dir     string
	Record  results.Record
	Job     trial.Job // its disks, stack, steps and source are those of Case
	Verdict Verdict
	Case    scenarios.Case
}

// Files are what the machine of its job is started with.
func (b *Bundle) Files() trial.Files {
	return trial.Files{Image: filepath.Join(b.dir, fileKernel), Initrd: filepath.Join(b.dir, fileInitramfs)}
}

// Open unpacks a bundle into an empty folder of blockrig's own, and checks all
// of it. The error wraps ErrBundle when it is none that can be used.
func Open(ctx context.Context, path, dir string) (*Bundle, error) {
	b, err := open(ctx, path, dir)
	if err != nil {
		return nil, fmt.Errorf("read bundle %s: %w", path, err)
	}
	return b, nil
}

func open(ctx context.Context, path, dir string) (*Bundle, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening another may block
		return nil, fmt.Errorf("%w: it is no regular file", ErrBundle)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read from
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	sums, err := unpack(ctx, f, root)
	if err == nil {
		err = check(root, sums)
	}
	if err != nil {
		return nil, err
	}
	return read(root, dir)
}

// unpack writes a bundle's files, and gives their sums by name.
func unpack(ctx context.Context, in io.Reader, root *os.Root) (map[string]string, error) {
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	sums := map[string]string{}
	for programs, src := 0, tar.NewReader(z); ; {
		h, err := src.Next()
		if errors.Is(err, io.EOF) {
			return sums, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBundle, err)
		}
		name, ok := strings.CutPrefix(h.Name, Folder+"/")
		limit, known := limitOf(name)
		switch {
		case !ok || !known:
			return nil, fmt.Errorf("%w: no bundle has a %s", ErrBundle, text.Cut(text.OneLine(h.Name), 60))
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("%w: %s is no regular file", ErrBundle, name)
		case sums[name] != "":
			return nil, fmt.Errorf("%w: it has %s twice", ErrBundle, name)
		case h.Size > limit:
			return nil, fmt.Errorf("%w: %s has %d bytes, more than the %d that it can have", ErrBundle, name, h.Size, limit)
		}
		if strings.HasPrefix(name, dirPrograms) {
			if programs++; programs > mostPrograms {
				return nil, fmt.Errorf("%w: it has more than %d programs", ErrBundle, mostPrograms)
			}
			if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				return nil, err
			}
		}
		if sums[name], err = unpackFile(ctx, src, root, name); err != nil {
			return nil, fmt.Errorf("unpack %s: %w", name, err)
		}
	}
}

// unpackFile writes a file, and gives its sum. Whatever a bundle says, none can
// be executed here.
func unpackFile(ctx context.Context, src io.Reader, root *os.Root, name string) (_ string, err error) {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	for {
		if err := context.Cause(ctx); err != nil {
			return "", err
		}
		_, err := io.CopyN(io.MultiWriter(f, h), src, 4<<20)
		var path *fs.PathError
		switch {
		case errors.Is(err, io.EOF):
			return hex.EncodeToString(h.Sum(nil)), nil
		case errors.As(err, &path): // the disk's trouble
			return "", err
		case err != nil:
			return "", fmt.Errorf("%w: it was damaged or cut short: %w", ErrBundle, err)
		}
	}
}

// check compares the sums with those that the bundle has.
func check(root *os.Root, sums map[string]string) error {
	for _, name := range needed {
		if sums[name] == "" {
			return fmt.Errorf("%w: it has no %s", ErrBundle, name)
		}
	}
	src, err := root.ReadFile(fileSums)
	if err != nil {
		return err
	}
	listed := map[string]bool{fileSums: true}
	for in := bufio.NewScanner(bytes.NewReader(src)); in.Scan(); {
		sum, name, ok := strings.Cut(in.Text(), "  ")
		if !ok || sums[name] == "" {
			return fmt.Errorf("%w: %s lists what is not there", ErrBundle, fileSums)
		}
		if sums[name] != sum {
			return fmt.Errorf("%w: %s is not what %s says: it was damaged or changed", ErrBundle, name, fileSums)
		}
		listed[name] = true
	}
	for name := range sums {
		if !listed[name] {
			return fmt.Errorf("%w: %s does not list %s", ErrBundle, fileSums, name)
		}
	}
	return nil
}

// read reads what the files say.
func read(root *os.Root, dir string) (*Bundle, error) {
	b := &Bundle{dir: dir}
	for name, to := range map[string]any{fileTrial: &b.Record, fileJob: &b.Job, fileVerdict: &b.Verdict} {
		src, err := root.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(src, to)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrBundle, name, err)
		}
	}
	src, err := root.ReadFile(fileScenario)
	if err != nil {
		return nil, err
	}
	sc, err := language.Parse(fileScenario, src)
	if err == nil {
		// Its programs lie beside it.
		sc.File = filepath.Join(dir, strings.TrimSuffix(dirPrograms, "/"), fileScenario)
		b.Case, err = language.OneCase(sc, b.Job.Case)
	}
	if err == nil && (sc.Name != b.Record.Scenario || b.Case.ID != b.Record.Case) {
		err = fmt.Errorf("the job is %s %s, and the trial is one of %s", sc.Name, b.Case.ID, text.OneLine(b.Record.Scenario+" "+b.Record.Case))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBundle, fileScenario, err)
	}
	// What was read as a scenario has been checked; what the job says has not.
	b.Job.Scenario, b.Job.Source, b.Job.Allow = sc.Name, string(src), sc.Allow
	b.Job.Setup, b.Job.Steps = b.Case.Setup, b.Case.Steps
	return b, nil
}
