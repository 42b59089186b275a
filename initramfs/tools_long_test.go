//go:build vm && long

package initramfs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEveryDebianToolStartsInTheGuest(t *testing.T) {
	// Given tools that are fetched now.
	b := &Builder{Cache: t.TempDir()}
	k, _ := realKernel(t, "debian:6.18")
	img, err := b.Build(t.Context(), Request{Exe: toolinit(t, "versions", nil), Tools: allTools})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, from %s", img.Bytes, strings.Join(img.Tools, ", "))
	all := boot(t, k, img)
	for step, want := range map[string]string{
		"lvm version": "LVM version", "dmsetup --version": "Library version", "dmeventd -V": "dmeventd version",
		"mke2fs -V": "mke2fs 1.", "mdadm --version": "mdadm - v",
	} {
		if got := outputOf(t, all, step); !strings.Contains(got, want) {
			t.Errorf("%s says %q, want %q", step, got, want)
		}
	}
	// And nothing but the tools, without what fetching them needed, is kept.
	stocks := list(t, filepath.Join(b.Cache, "debian"))
	if len(stocks) != 1 {
		t.Fatalf("there is %q", stocks)
	}
	if left := list(t, filepath.Join(b.Cache, "debian", stocks[0])); !slices.Equal(left, []string{".blockrig.manifest", archiveFile, recordFile}) {
		t.Errorf("there is %q", left)
	}
	// And a part of them needs no mirror, and has nothing of the others.
	some, err := (&Builder{Cache: b.Cache, sources: []string{t.TempDir()}}).Build(t.Context(), Request{Exe: toolinit(t, "versions", nil), Tools: []string{"mdadm"}})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(some.Path)
	if err != nil {
		t.Fatal(err)
	}
	_, files := contents(t, data)
	for name := range files {
		if strings.Contains(name, "lvm") || strings.Contains(name, "libext2fs") {
			t.Errorf("mdadm comes with /%s", name)
		}
	}
}
