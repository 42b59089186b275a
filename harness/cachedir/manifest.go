package cachedir

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// ErrDamaged says that an entry is not what was stored.
var ErrDamaged = errors.New("damaged")

// ErrNoManifest is the ErrDamaged of an entry that nothing is known of.
var ErrNoManifest = fmt.Errorf("%w: it has no checksums; an older blockrig, which kept none, may have stored it", ErrDamaged)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// manifestName is a text: a line with the checksum of the lines after it; one
// with what the entry takes on the disk; and one for each file, ordered by
// name: "SUM SIZE NAME", or "-> TARGET NAME" for a symbolic link, names quoted.
const (
	manifestName  = ".blockrig.manifest"
	manifestMagic = "blockrig-manifest-1"
)

// A manifest is what an entry's files are, by slashed path.
type manifest struct {
	disk  int64
	files map[string]*file
}

type file struct {
	size int64
	sum  string
	link string // target, of a symbolic link
}

// seal writes the manifest of the files in dir.
func seal(ctx context.Context, dir string) (err error) {
	defer wrap(&err, "write the manifest of "+dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	files, err := list(root, "")
	if err != nil {
		return err
	}
	err = each(ctx, slices.Collect(maps.Keys(files)), func(ctx context.Context, name string) (err error) {
		if f := files[name]; f.link == "" {
			f.sum, _, err = sumNamed(ctx, root, name, f.size)
		}
		return err
	})
	if err != nil {
		return err
	}
	var body strings.Builder
	fmt.Fprintf(&body, "disk %d\n", onDisk(dir))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if f := files[name]; f.link != "" {
			fmt.Fprintf(&body, "-> %q %q\n", f.link, name)
		} else {
			fmt.Fprintf(&body, "%s %d %q\n", f.sum, f.size, name)
		}
	}
	head := fmt.Sprintf("%s %08x\n", manifestMagic, crc32.Checksum([]byte(body.String()), castagnoli))
	return root.WriteFile(manifestName, []byte(head+body.String()), 0o644)
}

// Sealed tells whether an entry has a manifest; else it is ErrNoManifest to
// open it.
func (d *Dir) Sealed(key string) bool {
	_, err := os.Lstat(filepath.Join(d.path, key, manifestName))
	return !missing(err)
}

func readManifest(root *os.Root) (*manifest, error) {
	if info, err := root.Lstat(manifestName); missing(err) {
		return nil, ErrNoManifest
	} else if err != nil {
		return nil, gone(err)
	} else if !info.Mode().IsRegular() {
		return nil, damaged("its manifest is no file")
	}
	data, err := root.ReadFile(manifestName)
	if err != nil {
		return nil, gone(err)
	}
	head, body, _ := strings.Cut(string(data), "\n")
	if head != fmt.Sprintf("%s %08x", manifestMagic, crc32.Checksum([]byte(body), castagnoli)) {
		return nil, damaged("its manifest is not the one that was written")
	}
	m := &manifest{files: make(map[string]*file)}
	// Whoever wrote a matching checksum wrote well-formed lines.
	first, rest, _ := strings.Cut(body, "\n")
	fmt.Sscanf(first, "disk %d", &m.disk)
	for line := range strings.Lines(rest) {
		sum, line, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		f := new(file)
		if sum == "->" {
			quoted, _ := strconv.QuotedPrefix(line)
			f.link, _ = strconv.Unquote(quoted)
			line = strings.TrimPrefix(line[len(quoted):], " ")
		} else {
			size, name, _ := strings.Cut(line, " ")
			f.sum = sum
			f.size, _ = strconv.ParseInt(size, 10, 64)
			line = name
		}
		name, err := strconv.Unquote(line)
		if err != nil {
			return nil, damaged("its manifest has a line that none of ours can be")
		}
		m.files[name] = f
	}
	return m, nil
}

// list gives the files and links below root, without checksums, and without the
// folder of that name.
func list(root *os.Root, without string) (map[string]*file, error) {
	files := make(map[string]*file)
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name == without:
			return fs.SkipDir
		case d.IsDir() || name == lockName || name == rootName || name == manifestName:
			return nil
		case d.Type() == fs.ModeSymlink:
			target, err := root.Readlink(name)
			files[name] = &file{link: target}
			return err
		case !d.Type().IsRegular():
			return damaged("%s is neither a file nor a link", name)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files[name] = &file{size: info.Size()}
		return nil
	})
	return files, err
}

// each calls do for all names, several at once.
func each(ctx context.Context, names []string, do func(context.Context, string) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers())
	for _, name := range names {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return do(ctx, name)
		})
	}
	return group.Wait()
}

// An identity of a file changes with whatever is written to it.
type identity struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

func identify(info fs.FileInfo) (id identity) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id = identity{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}
	}
	return id
}

// settled tells whether a file was last changed long enough ago: what is
// written within one tick of the kernel's clock, 10 ms at most, has one time.
func (id identity) settled() bool {
	return time.Since(time.Unix(id.ctime.Unix())) > 100*time.Millisecond
}

func sumNamed(ctx context.Context, root *os.Root, name string, size int64) (string, identity, error) {
	f, err := root.Open(name)
	if err != nil {
		return "", identity{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", identity{}, err
	}
	if !info.Mode().IsRegular() || info.Size() != size {
		return "", identity{}, damaged("%s has %d bytes, not %d", name, info.Size(), size)
	}
	sum, err := sumFile(ctx, f, size)
	return sum, identify(info), err
}

// check compares the files of these names with the manifest, or all of them but
// those in the folder later, and that there are no others. seen has the files that
// were compared before.
func (m *manifest) check(ctx context.Context, root *os.Root, names []string, later string, seen *sync.Map) error {
	if len(names) == 0 {
		now, err := list(root, later)
		if err != nil {
			return gone(err)
		}
		for name := range now {
			if _, ok := m.files[name]; !ok {
				return damaged("%s does not belong to it", name)
			}
		}
		for name := range m.files {
			if later == "" || !strings.HasPrefix(name, later+"/") {
				names = append(names, name)
			}
		}
	}
	var unseen []string
	for _, name := range names {
		name = path.Clean(name)
		want, ok := m.files[name]
		if !ok {
			return damaged("it has no %s", name)
		}
		info, err := root.Lstat(name)
		if err != nil {
			return gone(err)
		}
		id, ok := seen.Load(path.Join(root.Name(), name))
		switch {
		case want.link != "":
			if target, err := root.Readlink(name); err != nil || target != want.link {
				return damaged("%s is not the link that was stored", name)
			}
		case !info.Mode().IsRegular():
			return damaged("%s is no file any more", name)
		case !ok || id != identify(info):
			unseen = append(unseen, name)
		}
	}
	return each(ctx, unseen, func(ctx context.Context, name string) error {
		sum, id, err := sumNamed(ctx, root, name, m.files[name].size)
		if err != nil {
			return gone(err)
		}
		if sum != m.files[name].sum {
			return damaged("the content of %s is not what was stored", name)
		}
		if id.settled() {
			seen.Store(path.Join(root.Name(), name), id)
		}
		return nil
	})
}

// gone makes damage of an error that making it again cures: a file that is
// missing or of another kind, or that the disk can't read any more.
func gone(err error) error {
	for _, e := range []error{fs.ErrNotExist, syscall.EIO, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.EUCLEAN, syscall.ENXIO, io.ErrUnexpectedEOF} {
		if errors.Is(err, e) {
			return damaged("%v", err) // and not fs.ErrNotExist: there is an entry
		}
	}
	return err
}

// onDisk is what a folder takes on the disk, holes not counted, in bytes.
func onDisk(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // gone meanwhile
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += st.Blocks * 512
			}
		}
		return nil
	})
	return sum
}

// bytesOf is what the manifest says that an entry takes on the disk, without
// reading more of it; what it really takes, where it doesn't say.
func bytesOf(dir string) (sum int64) {
	f, err := os.Open(filepath.Join(dir, manifestName))
	if err != nil {
		return onDisk(dir)
	}
	defer f.Close()
	r := bufio.NewReader(f)
	if _, err := r.ReadString('\n'); err != nil {
		return onDisk(dir)
	}
	if _, err := fmt.Fscanf(r, "disk %d\n", &sum); err != nil {
		return onDisk(dir)
	}
	return sum
}
