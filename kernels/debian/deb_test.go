package debian

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/kernels/internal/archivetest"
)

func writeDeb(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.deb")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadDebReadsEveryCompression(t *testing.T) {
	for _, suffix := range []string{"", ".gz", ".xz", ".zst"} {
		t.Run("data.tar"+suffix, func(t *testing.T) {
			deb := writeDeb(t, archivetest.Deb(t, suffix,
				archivetest.Entry{Name: "./", Type: tar.TypeDir},
				archivetest.Entry{Name: "./usr/", Type: tar.TypeDir},
				archivetest.Entry{Name: "./usr/a", Text: "hello"},
				archivetest.Entry{Name: "usr/b", Type: tar.TypeSymlink, Link: "../../etc"},
				archivetest.Entry{Name: "./usr/c", Type: tar.TypeLink, Link: "./usr/a"},
			))
			var got []string
			err := ReadDeb(deb, func(hdr *tar.Header, r io.Reader) error {
				text, err := io.ReadAll(r)
				got = append(got, hdr.Name+" "+hdr.Linkname+" "+string(text))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"usr  ", "usr/a  hello", "usr/b ../../etc ", "usr/c usr/a "}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadDebStopsAtAnError(t *testing.T) {
	deb := writeDeb(t, archivetest.Deb(t, ".gz", archivetest.Entry{Name: "a"}, archivetest.Entry{Name: "b"}))
	want := errors.New("mine")
	if err := ReadDeb(deb, func(*tar.Header, io.Reader) error { return want }); !errors.Is(err, want) {
		t.Errorf("error %v, want the function's own", err)
	}
}

func TestReadDebRefusesWhatIsNotSound(t *testing.T) {
	good := archivetest.Deb(t, ".xz", archivetest.Entry{Name: "a", Text: string(make([]byte, 100_000))})
	for name, data := range map[string][]byte{
		"empty":              {},
		"no ar":              []byte("#!/bin/sh\n"),
		"no debian-binary":   archivetest.Ar("data.tar", ""),
		"no data":            archivetest.Ar("debian-binary", "2.0\n"),
		"unknown method":     archivetest.Ar("debian-binary", "2.0\n", "data.tar.rot13", "x"),
		"garbage for xz":     archivetest.Ar("debian-binary", "2.0\n", "data.tar.xz", "no xz at all"),
		"garbage for tar":    archivetest.Ar("debian-binary", "2.0\n", "data.tar", string(make([]byte, 300))+"x"),
		"truncated":          good[:len(good)-40],
		"absolute path":      archivetest.Deb(t, "", archivetest.Entry{Name: "/etc/passwd"}),
		"path that leaves":   archivetest.Deb(t, "", archivetest.Entry{Name: "./usr/../../etc/passwd"}),
		"hard link outside":  archivetest.Deb(t, "", archivetest.Entry{Name: "a", Type: tar.TypeLink, Link: "../../etc/shadow"}),
		"device":             archivetest.Deb(t, "", archivetest.Entry{Name: "sda", Type: tar.TypeBlock}),
		"named pipe":         archivetest.Deb(t, "", archivetest.Entry{Name: "p", Type: tar.TypeFifo}),
		"absolute hard link": archivetest.Deb(t, "", archivetest.Entry{Name: "a", Type: tar.TypeLink, Link: "/etc/shadow"}),
	} {
		t.Run(name, func(t *testing.T) {
			err := ReadDeb(writeDeb(t, data), func(_ *tar.Header, r io.Reader) error {
				_, err := io.Copy(io.Discard, r)
				return err
			})
			if !errors.Is(err, ErrDeb) {
				t.Errorf("error %v, want ErrDeb", err)
			}
		})
	}
}

func TestExtractUnpacksWhatIsPlaced(t *testing.T) {
	deb := writeDeb(t, archivetest.Deb(t, ".zst",
		archivetest.Entry{Name: "./lib/", Type: tar.TypeDir},
		archivetest.Entry{Name: "./lib/x.so.1", Text: "library"},
		archivetest.Entry{Name: "./lib/x.so", Type: tar.TypeSymlink, Link: "x.so.1"},
		archivetest.Entry{Name: "./usr/share/doc/x", Text: "prose"},
	))
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	// When it is unpacked twice, the second time replaces the first.
	for range 2 {
		err = Extract(deb, root, func(name string) string {
			if name == "usr/share/doc/x" {
				return ""
			}
			return "usr/" + name
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(filepath.Join(dir, "usr/lib/x.so"))
	if err != nil || string(got) != "library" {
		t.Errorf("usr/lib/x.so is %q, %v", got, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "usr/share")); err == nil {
		t.Error("usr/share was unpacked though it has no place")
	}
}

func TestExtractNeverWritesOutside(t *testing.T) {
	outside := t.TempDir()
	// Given a package with a link to a folder outside, and a file through it.
	deb := writeDeb(t, archivetest.Deb(t, ".gz",
		archivetest.Entry{Name: "./out", Type: tar.TypeSymlink, Link: outside},
		archivetest.Entry{Name: "./out/file", Text: "gotcha"},
	))
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := Extract(deb, root, nil); err == nil {
		t.Error("no error")
	}
	left, err := os.ReadDir(outside)
	if err != nil || len(left) != 0 {
		t.Errorf("outside there is %v, %v; want nothing", left, err)
	}
}
