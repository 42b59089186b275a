package debian

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/blockrig/blockrig/kernels/internal/decompress"
)

// ErrDeb marks a file that is no sound .deb.
var ErrDeb = errors.New("not a sound Debian package")

// ReadDeb calls fn for each file, folder and link that the package at deb
// holds, in the package's order. hdr.Name is cleaned: relative, slash
// separated, without "./" and trailing slash; so is hdr.Linkname of a hard
// link. A symbolic link's Linkname is as it is in the package. r is valid
// until fn returns, and need not be read.
//
// A path that is absolute or leaves the package ("../"), a device and what
// else has no place in a package are refused with ErrDeb. fn's error ends the
// reading.
func ReadDeb(deb string, fn func(hdr *tar.Header, r io.Reader) error) error {
	f, err := os.Open(deb)
	if err != nil {
		return fmt.Errorf("read package: %w", err)
	}
	defer f.Close()
	if err := ReadDebFrom(f, fn); err != nil {
		return fmt.Errorf("read package %s: %w", deb, err)
	}
	return nil
}

// What a package may unpack to, in bytes: the whole of it, and one file. The
// largest of a kernel takes 600 MB.
const (
	maxUnpacked = 4 << 30
	maxFile     = 1 << 30
)

// ReadDebFrom is ReadDeb for a package that f gives.
func ReadDebFrom(f io.Reader, fn func(hdr *tar.Header, r io.Reader) error) error {
	suffix, member, err := dataMember(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDeb, err)
	}
	data, err := decompress.Reader(suffix, member)
	if err != nil {
		return fmt.Errorf("%w: data.tar%s: %w", ErrDeb, suffix, err)
	}
	defer data.Close() // says what the last read did
	return readTar(decompress.AtMost(data, maxUnpacked), fn)
}

// dataMember finds the member data.tar.SUFFIX of an ar archive (ar(5),
// deb(5)).
func dataMember(in io.Reader) (suffix string, data io.Reader, err error) {
	const magic = "!<arch>\n"
	var head [60]byte
	if _, err := io.ReadFull(in, head[:len(magic)]); err != nil || string(head[:len(magic)]) != magic {
		return "", nil, errors.New("no ar archive")
	}
	for n := 0; ; n++ {
		if _, err := io.ReadFull(in, head[:]); errors.Is(err, io.EOF) {
			return "", nil, errors.New("no data member")
		} else if err != nil {
			return "", nil, err
		}
		name := strings.TrimRight(string(head[:16]), " /")
		size, err := strconv.ParseUint(strings.TrimRight(string(head[48:58]), " "), 10, 62)
		if err != nil || string(head[58:]) != "`\n" {
			return "", nil, fmt.Errorf("the header of member %d is damaged", n+1)
		}
		if n == 0 && name != "debian-binary" {
			return "", nil, fmt.Errorf("it begins with %q, not with debian-binary", name)
		}
		if suffix, ok := strings.CutPrefix(name, "data.tar"); ok {
			return suffix, &member{io.LimitedReader{R: in, N: int64(size)}}, nil
		}
		if _, err := io.CopyN(io.Discard, in, int64(size+size%2)); err != nil {
			return "", nil, errCut
		}
	}
}

var errCut = errors.New("it is cut short")

// member is a part of a file that must be there whole.
type member struct{ io.LimitedReader }

func (m *member) Read(p []byte) (int, error) {
	n, err := m.LimitedReader.Read(p)
	if err == io.EOF && m.N > 0 {
		err = errCut // io.ErrUnexpectedEOF is no error to all decompressors
	}
	return n, err
}

func readTar(data io.Reader, fn func(hdr *tar.Header, r io.Reader) error) error {
	t := tar.NewReader(data)
	for {
		hdr, err := t.Next()
		if errors.Is(err, io.EOF) {
			// Behind the archive's end there are checksums.
			if _, err := io.Copy(io.Discard, data); err != nil {
				return fmt.Errorf("%w: %w", ErrDeb, err)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDeb, err)
		}
		if hdr.Name, err = cleanName(hdr.Name); err != nil {
			return err
		}
		if hdr.Name == "." {
			continue
		}
		if hdr.Size > maxFile {
			return fmt.Errorf("%w: %q has %d bytes; the limit is %d", ErrDeb, hdr.Name, hdr.Size, int64(maxFile))
		}
		switch hdr.Typeflag {
		case tar.TypeReg, tar.TypeDir, tar.TypeSymlink:
		case tar.TypeLink:
			if hdr.Linkname, err = cleanName(hdr.Linkname); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: %q is neither file, folder nor link", ErrDeb, hdr.Name)
		}
		if err := fn(hdr, damaged{t}); err != nil {
			return err
		}
	}
}

// damaged says of errors in a package's contents whose they are.
type damaged struct{ r io.Reader }

func (d damaged) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrDeb, err)
	}
	return n, err
}

func cleanName(name string) (string, error) {
	clean := path.Clean(name)
	if strings.HasPrefix(clean, "/") || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%w: the path %q leaves it", ErrDeb, name)
	}
	return clean, nil
}

// Extract unpacks the package at deb into root. place gives, for each name in
// the package, the name to unpack it under, or "" to leave it out; nil unpacks
// all. Folders are made as needed. Owners are not kept; modes are, without
// setuid and setgid. Nothing is ever written outside of root, whatever links
// the package or root holds.
//
// A hard link is made only if its target was unpacked, else it is an error.
func Extract(deb string, root *os.Root, place func(name string) string) error {
	if place == nil {
		place = func(name string) string { return name }
	}
	return ReadDeb(deb, func(hdr *tar.Header, r io.Reader) error {
		return Unpack(root, hdr, r, place)
	})
}

// Unpack unpacks one entry that ReadDeb gave, as Extract does.
func Unpack(root *os.Root, hdr *tar.Header, r io.Reader, place func(name string) string) error {
	name := place(hdr.Name)
	if name == "" {
		return nil
	}
	if err := unpack(root, name, hdr, r, place); err != nil {
		return fmt.Errorf("unpack %q: %w", hdr.Name, err)
	}
	return nil
}

func unpack(root *os.Root, name string, hdr *tar.Header, r io.Reader, place func(string) string) error {
	if hdr.Typeflag == tar.TypeDir {
		return root.MkdirAll(name, 0o755)
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch hdr.Typeflag {
	case tar.TypeSymlink:
		return root.Symlink(hdr.Linkname, name)
	case tar.TypeLink:
		target := place(hdr.Linkname)
		if target == "" {
			return fmt.Errorf("the file that it is a link to, %q, is left out", hdr.Linkname)
		}
		return root.Link(target, name)
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, hdr.FileInfo().Mode().Perm()|0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
