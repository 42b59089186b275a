// Package archivetest makes small Debian packages and archives of them, for
// tests that run the real apt without a network.
package archivetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// An Entry is one file, folder or link of a package.
type Entry struct {
	Name string
	Type byte   // tar.TypeReg when 0
	Link string // of links
	Text string // of files
}

// Deb gives a package that holds entries, its data member named
// "data.tar"+suffix and compressed as the suffix (.xz, .zst, .gz, "") says.
func Deb(t testing.TB, suffix string, entries ...Entry) []byte {
	t.Helper()
	data := Compress(t, suffix, tarOf(t, entries))
	return Ar("debian-binary", "2.0\n", "control.tar.gz", string(Compress(t, ".gz", tarOf(t, nil))), "data.tar"+suffix, string(data))
}

func tarOf(t testing.TB, entries []Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		hdr := tar.Header{Name: e.Name, Typeflag: e.Type, Linkname: e.Link, Size: int64(len(e.Text)), Mode: 0o644}
		if e.Type == 0 {
			hdr.Typeflag = tar.TypeReg
		}
		if e.Type == tar.TypeDir {
			hdr.Mode = 0o755
		}
		if err := w.WriteHeader(&hdr); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.Text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Compress compresses data as suffix (.xz, .zst, .gz, "") says.
func Compress(t testing.TB, suffix string, data []byte) []byte {
	t.Helper()
	var (
		b   bytes.Buffer
		w   io.WriteCloser
		err error
	)
	switch suffix {
	case ".xz":
		w, err = xz.WriterConfig{DictCap: 1 << 16}.NewWriter(&b) // allocates much less than the default
	case ".zst":
		w, err = zstd.NewWriter(&b)
	case ".gz":
		w = gzip.NewWriter(&b)
	default:
		return data
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Ar makes an ar archive of names and contents, in turn.
func Ar(namesAndContents ...string) []byte {
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for i := 0; i < len(namesAndContents); i += 2 {
		content := namesAndContents[i+1]
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8o%-10d`\n%s", namesAndContents[i], 0, 0, 0, 0o100644, len(content), content)
		if len(content)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// A Package is one package of an Archive.
type Package struct {
	Name, Version, Suite string
	Fields               string // further lines: "Depends: a, b\n"
	Deb                  []byte
	WrongDigest          bool // the list says another SHA-256 than the file has
	Gone                 bool // the list has it, the pool has not
}

// Archive writes a Debian archive with these packages and apt sources that
// name it (for use as debian.Config.Sources). It has a suite for each that a
// package names. The sources call its suite "stable", so that it must be
// swapped. Called again with the same dir, it replaces what was there.
func Archive(t testing.TB, dir string, packages ...Package) (sources string) {
	t.Helper()
	base := filepath.Join(dir, "debian")
	if err := os.RemoveAll(base); err != nil {
		t.Fatal(err)
	}
	lists := map[string]*bytes.Buffer{}
	for _, p := range packages {
		if lists[p.Suite] == nil {
			lists[p.Suite] = &bytes.Buffer{}
		}
		file := "pool/" + p.Name + "_" + strings.ReplaceAll(p.Version, ":", "%3a") + "_amd64.deb"
		if !p.Gone {
			write(t, filepath.Join(base, file), p.Deb)
		}
		sum := sha256.Sum256(p.Deb)
		if p.WrongDigest {
			sum[0] ^= 1
		}
		fmt.Fprintf(lists[p.Suite], "Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: nobody\n%sFilename: %s\nSize: %d\nSHA256: %x\nDescription: test\n\n",
			p.Name, p.Version, p.Fields, file, len(p.Deb), sum)
	}
	for suite, list := range lists {
		write(t, filepath.Join(base, "dists", suite, "main/binary-amd64/Packages"), list.Bytes())
		release := fmt.Sprintf("Origin: Debian\nSuite: %s\nCodename: %s\nArchitectures: amd64\nComponents: main\nDate: %s\nSHA256:\n %x %d main/binary-amd64/Packages\n",
			suite, suite, time.Now().UTC().Format(time.RFC1123), sha256.Sum256(list.Bytes()), list.Len())
		write(t, filepath.Join(base, "dists", suite, "Release"), []byte(release))
	}
	sources = filepath.Join(dir, "debian.sources")
	// apt writes no cache between copy: and file:; copy: behaves as a mirror does.
	write(t, sources, []byte("Types: deb\nURIs: copy:"+base+"\nSuites: stable\nComponents: main\nTrusted: yes\n"))
	return sources
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
