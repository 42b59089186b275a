package debian

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/blockrig/blockrig/kernels/internal/archivetest"
)

// Whatever a package holds, reading it ends in its content or in ErrDeb, and
// unpacking it writes nothing outside of the folder.
func FuzzPackage(f *testing.F) {
	f.Add([]byte("!<arch>\n" + string(archivetest.Ar("debian-binary", "2.0\n")[8:]) + "data"))
	entries := []archivetest.Entry{
		{Name: "./usr/", Type: tar.TypeDir},
		{Name: "./usr/a", Text: "hello"},
		{Name: "./usr/b", Type: tar.TypeSymlink, Link: "../../outside"},
		{Name: "./usr/b/c", Text: "through the link"},
		{Name: "./usr/d", Type: tar.TypeLink, Link: "./usr/a"},
	}
	for _, suffix := range []string{"", ".gz", ".xz", ".zst"} {
		deb := archivetest.Deb(f, suffix, entries...)
		for n := len(deb); n >= 0; n = min(n-1, n*15/16) {
			f.Add(deb[:n])
		}
	}
	f.Fuzz(func(t *testing.T, deb []byte) {
		err := ReadDebFrom(bytes.NewReader(deb), func(_ *tar.Header, r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		})
		if err != nil && !errors.Is(err, ErrDeb) {
			t.Errorf("error %v, want ErrDeb", err)
		}
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "in"), 0o755); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(filepath.Join(dir, "in"))
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		// What can't be unpacked is an error, of which there are many kinds.
		_ = ReadDebFrom(bytes.NewReader(deb), func(hdr *tar.Header, r io.Reader) error {
			return Unpack(root, hdr, r, func(name string) string { return name })
		})
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("outside of the folder there is %v, %v", left, err)
		}
	})
}

func TestACutPackageIsNotSound(t *testing.T) {
	for _, suffix := range []string{"", ".gz", ".xz", ".zst"} {
		deb := archivetest.Deb(t, suffix, archivetest.Entry{Name: "a", Text: string(make([]byte, 3000))})
		for n := range len(deb) - 1 { // the last byte may be the padding
			err := ReadDebFrom(bytes.NewReader(deb[:n]), func(_ *tar.Header, r io.Reader) error {
				_, err := io.Copy(io.Discard, r)
				return err
			})
			if !errors.Is(err, ErrDeb) {
				t.Fatalf("data.tar%s, %d of %d bytes: error %v, want ErrDeb", suffix, n, len(deb), err)
			}
		}
	}
}

func TestWhatAPackageUnpacksToIsBounded(t *testing.T) {
	// Given a file that is larger than any.
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "huge", Typeflag: tar.TypeReg, Size: maxFile + 1}); err != nil {
		t.Fatal(err)
	}
	deb := archivetest.Ar("debian-binary", "2.0\n", "data.tar", b.String())
	err := ReadDebFrom(bytes.NewReader(deb), func(*tar.Header, io.Reader) error { return nil })
	if !errors.Is(err, ErrDeb) {
		t.Errorf("error %v, want ErrDeb", err)
	}
}
