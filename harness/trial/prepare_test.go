package trial

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/initramfs"
	"github.com/blockrig/blockrig/kernels"
)

// Given a job of another machine's, then it is run with what it names, or not
// at all.
func TestWhatAJobNamesIsFoundOrRefused(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	build, err := qemu.BuildID(exe)
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := kernels.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*Job)
		want   string
	}{
		{"everything is there", func(*Job) {}, ""},
		{"another QEMU", func(j *Job) { j.QEMU = "0123456789abcdef" }, "another QEMU"},
		{"no such initramfs", func(j *Job) { j.Initramfs = "other" }, "none in the cache has the digest other"},
		{"no such kernel", func(j *Job) { j.Kernel.Digest = "other"; j.Kernel.Exact = "local:none" }, "find the kernel local:none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &Preparer{Binary: exe, Kernels: store, Initramfs: &initramfs.Builder{Cache: t.TempDir()}}
			j := testJob()
			j.QEMU, j.Direct = build, false
			p.note(j.Kernel.Digest, image)
			p.note(j.Initramfs, image)
			tt.change(&j)
			f, err := p.Find(t.Context(), j)
			switch {
			case tt.want == "" && (err != nil || f != Files{image, image}):
				t.Errorf("%+v, %v", f, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%+v, %v; want an error with %q", f, err, tt.want)
			}
		})
	}
}
