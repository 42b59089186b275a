package kernels

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestImageRelease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bzImage")
	if err := os.WriteFile(path, madeImage("6.18.15+deb13-amd64"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := imageRelease(path)
	if err != nil || got != "6.18.15+deb13-amd64" {
		t.Errorf("release %q, %v; want 6.18.15+deb13-amd64", got, err)
	}
}

func TestImageReleaseRefuses(t *testing.T) {
	change := func(edit func(b []byte) []byte) []byte { return edit(madeImage("6.18.15")) }
	for name, test := range map[string]struct {
		data []byte
		say  string
	}{
		"an empty file":         {nil, "it is empty"},
		"an ELF file":           {append([]byte("\x7fELF"), make([]byte, 4096)...), "an ELF file, such as vmlinux"},
		"an arm64 kernel":       {change(func(b []byte) []byte { copy(b[0x38:], "ARM\x64"); return b }), "an arm64 kernel"},
		"a compressed file":     {[]byte("\x1f\x8b\x08 and so on"), "a compressed file"},
		"a package":             {[]byte("!<arch>\ndebian-binary"), "a package"},
		"a text":                {[]byte(strings.Repeat("no kernel ", 100)), "no x86 boot header"},
		"a few bytes":           {[]byte("vmlinuz"), "7 bytes, too few"},
		"an old protocol":       {change(func(b []byte) []byte { b[offVersion] = 3; return b }), "boot protocol 2.03"},
		"a zImage":              {change(func(b []byte) []byte { b[offLoadFlags] = 0; return b }), "no 64-bit bzImage"},
		"a 32-bit kernel":       {change(func(b []byte) []byte { b[offXLoadFlags] = 0; return b }), "no 64-bit bzImage"},
		"its end cut off":       {change(func(b []byte) []byte { return b[:len(b)-paragraph] }), "truncated: 2608 bytes, its header says at least 2609"},
		"its half cut off":      {change(func(b []byte) []byte { return b[:len(b)/2] }), "truncated"},
		"a payload too long":    {change(func(b []byte) []byte { binary.LittleEndian.PutUint32(b[offPayloadLen:], 1<<31); return b }), "truncated"},
		"its signature cut off": {change(func(b []byte) []byte { return withSignature(b, 40)[:len(b)+30] }), "truncated: 2654 bytes, its header says at least 2664"},
		"no release":            {change(func(b []byte) []byte { copy(b[0x300:], "\x00"); return b }), "which release"},
		"a hostile release":     {madeImage("../../etc"), "which release"},
		"a release with codes":  {madeImage("6.18\x1b[2J"), "which release"},
		"a release far away":    {change(func(b []byte) []byte { b[offKernel+1] = 0xff; return b }), "which release"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image")
			if err := os.WriteFile(path, test.data, 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := imageRelease(path)
			if !errors.Is(err, ErrImage) || !strings.Contains(err.Error(), test.say) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want ErrImage that names the file and says %q", err, test.say)
			}
		})
	}
	for _, path := range []string{t.TempDir(), filepath.Join(t.TempDir(), "missing"), "/dev/null"} {
		if _, err := imageRelease(path); !errors.Is(err, ErrImage) {
			t.Errorf("%s: error %v, want ErrImage", path, err)
		}
	}
}

// withSignature adds a PE header that lists a signature, and the signature.
func withSignature(image []byte, size int) []byte {
	const pe = 0x40
	le := binary.LittleEndian
	le.PutUint32(image[offPE:], pe)
	copy(image[pe:], "PE\x00\x00")
	le.PutUint16(image[pe+24:], 0x20b)
	le.PutUint32(image[pe+24+144:], uint32(len(image)))
	le.PutUint32(image[pe+24+148:], uint32(size))
	return append(image, make([]byte, size)...)
}

func FuzzCheckImage(f *testing.F) {
	f.Add(madeImage("6.18.15"))
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, data []byte) {
		release, err := checkImage(strings.NewReader(string(data)), int64(len(data)))
		if err == nil && !releaseRE.MatchString(release) {
			t.Errorf("release %q", release)
		}
	})
}
