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
	"strings"

	"github.com/blakesmith/ar"

	"github.com/blockrig/blockrig/kernels/internal/decompress"
)

// ErrDeb marks a file that is no sound .deb.
var ErrDeb = errors.New("not a sound Debian package")

// ErrStop, returned by ReadDeb's fn, ends the reading without an error.
var ErrStop = errors.New("stop reading")

// ReadDeb calls fn for each file, folder and link that the package at deb
// holds, in the package's order. hdr.Name is cleaned: relative, slash
// separated, without "./" and trailing slash; so is hdr.Linkname of a hard
// link. A symbolic link's Linkname is as it stands in the package. r is valid
// until fn returns, and need not be read.
//
// A path that is absolute or leaves the package ("../"), a device and what
// else has no place in a package are refused with ErrDeb. fn's error ends the
// reading; ErrStop ends it without an error.
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

// ReadDebFrom is ReadDeb for a package that f gives.
func ReadDebFrom(f io.Reader, fn func(hdr *tar.Header, r io.Reader) error) error {
	in := bufio.NewReaderSize(f, 1<<20)
	if magic, err := in.Peek(8); err != nil || string(magic) != "!<arch>\n" {
		return fmt.Errorf("%w: no ar archive", ErrDeb)
	}
	members := ar.NewReader(in)
	for n := 0; ; n++ {
		member, err := members.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: no data member", ErrDeb)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDeb, err)
		}
		name := strings.TrimSuffix(strings.TrimSpace(member.Name), "/")
		if n == 0 && name != "debian-binary" {
			return fmt.Errorf("%w: it begins with %q, not with debian-binary", ErrDeb, name)
		}
		if !strings.HasPrefix(name, "data.tar") {
			continue
		}
		data, err := decompress.Reader(strings.TrimPrefix(name, "data.tar"), bufio.NewReaderSize(members, 1<<18))
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrDeb, name, err)
		}
		return errors.Join(readTar(tar.NewReader(data), fn), data.Close())
	}
}

func readTar(t *tar.Reader, fn func(hdr *tar.Header, r io.Reader) error) error {
	for {
		hdr, err := t.Next()
		if errors.Is(err, io.EOF) {
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
		switch hdr.Typeflag {
		case tar.TypeReg, tar.TypeDir, tar.TypeSymlink:
		case tar.TypeLink:
			if hdr.Linkname, err = cleanName(hdr.Linkname); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: %q is neither file, folder nor link", ErrDeb, hdr.Name)
		}
		err = fn(hdr, damaged{t})
		if errors.Is(err, ErrStop) {
			return nil
		}
		if err != nil {
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
