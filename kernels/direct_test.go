package kernels

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
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

func TestDirectRefusesWhatIsNoKernel(t *testing.T) {
	s, err := Open(t.TempDir(), nil)
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
