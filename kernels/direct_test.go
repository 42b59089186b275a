package kernels

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"

	"github.com/blockrig/blockrig/kernels/internal/archivetest"
)

func note(name string, kind uint32, desc []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(name)+1))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(desc)))
	b = binary.LittleEndian.AppendUint32(b, kind)
	b = append(b, name...)
	b = append(b, 0)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	b = append(b, desc...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func TestHasPVH(t *testing.T) {
	entry := note("Xen", 18, []byte{0, 0, 0, 1, 0, 0, 0, 0})
	other := note("Linux", 18, []byte{1, 2, 3})
	for name, tt := range map[string]struct {
		notes []byte
		want  bool
	}{
		"alone":          {entry, true},
		"behind another": {append(append([]byte{}, other...), entry...), true},
		"another's":      {other, false},
		"another kind":   {note("Xen", 17, make([]byte, 8)), false},
		"cut":            {entry[:14], false},
		"none":           {nil, false},
		"absurd sizes":   {[]byte{255, 255, 255, 255, 255, 255, 255, 255, 18, 0, 0, 0}, false},
	} {
		if got := hasPVH(tt.notes); got != tt.want {
			t.Errorf("%s: got %t, want %t", name, got, tt.want)
		}
	}
}

var pvhNote = note("Xen", 18, []byte{0, 0, 0, 1, 0, 0, 0, 0})

func TestDirectUnpacksEveryCompressionAndNoticesRot(t *testing.T) {
	vmlinux := madeVmlinux(t, pvhNote)
	size := binary.LittleEndian.AppendUint32(nil, uint32(len(vmlinux)))
	for _, suffix := range []string{".gz", ".xz", ".zst", ".lz4", ".lzma"} {
		packed := pack(t, suffix, vmlinux)
		if suffix != ".gz" {
			packed = append(packed, size...)
		}
		file := filepath.Join(t.TempDir(), "vmlinuz")
		if err := os.WriteFile(file, imageOf("6.12.9", packed), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		k, err := s.Resolve(t.Context(), "file:"+file)
		if err != nil {
			t.Fatal(err)
		}
		for name, spoil := range spoils {
			path, err := s.Direct(t.Context(), k)
			if err != nil {
				t.Fatalf("%s: %v", suffix, err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, vmlinux) {
				t.Errorf("%s: it is not the kernel that was packed: %d bytes, %v", suffix, len(got), err)
			}
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			path, err = s.Direct(t.Context(), k)
			if err != nil {
				t.Fatalf("%s, %s: %v", suffix, name, err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, vmlinux) {
				t.Errorf("%s, %s: it is not made anew: %d bytes, %v", suffix, name, len(got), err)
			}
		}
	}
}

func pack(t *testing.T, suffix string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch suffix {
	case ".lzma":
		w, err = lzma.NewWriter(&b)
	case ".lz4":
		z := lz4.NewWriter(&b)
		w, err = z, z.Apply(lz4.LegacyOption(true))
	default:
		return archivetest.Compress(t, suffix, data)
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

func TestDirectRefusesAKernelWithoutTheEntry(t *testing.T) {
	vmlinux := madeVmlinux(t, note("Xen", 17, make([]byte, 8)))
	size := binary.LittleEndian.AppendUint32(nil, uint32(len(vmlinux)))
	packed := archivetest.Compress(t, ".zst", vmlinux)
	for name, payload := range map[string][]byte{
		"another note":   append(bytes.Clone(packed), size...),
		"a wrong size":   append(bytes.Clone(packed), 1, 2, 3, 4),
		"a cut payload":  append(bytes.Clone(packed[:len(packed)-3]), size...),
		"another format": bytes.Repeat([]byte("x"), 100),
		"none":           nil,
	} {
		file := filepath.Join(t.TempDir(), "vmlinuz")
		if err := os.WriteFile(file, imageOf("6.12.9", payload), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if path, err := s.Direct(t.Context(), Kernel{Ref: "file:x", Image: file, Digest: "00"}); !errors.Is(err, ErrNoDirect) {
			t.Errorf("%s: %s, %v; want ErrNoDirect", name, path, err)
		}
	}
}

func TestDirectRefusesWhatIsNoKernel(t *testing.T) {
	s, err := Open(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(image, make([]byte, 4096), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = s.Direct(context.Background(), Kernel{Ref: "file:x", Image: image, Digest: "00"})
	if !errors.Is(err, ErrImage) {
		t.Errorf("got %v, want ErrImage", err)
	}
}
