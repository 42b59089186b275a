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

func TestTheToolsBuildEveryStackInTheGuest(t *testing.T) {
	for _, ref := range []string{"debian:6.17", "debian:newest"} {
		t.Run(ref, func(t *testing.T) {
			k, modules := realKernel(t, ref)
			var paths []string
			for _, m := range modules {
				p, err := modulePath(k.Release, m)
				if err != nil {
					t.Fatal(err)
				}
				paths = append(paths, p)
			}
			b := new(Builder)
			img, err := b.Build(t.Context(), Request{
				Exe: toolinit(t, "stack", paths), Tools: allTools, Kernel: k, Modules: modules,
			})
			if err != nil {
				t.Fatal(err)
			}
			all := boot(t, k, img)
			for step, want := range map[string]string{
				"lvm lvs":          "monitored",
				"dmsetup table":    "handle_errors",
				"plugins":          "libdevmapper-event-lvm2mirror.so",
				"mount mirror":     "",
				"mdstat":           "active raid1",
				"mdadm --create":   "started",
				"lvm lvcreate --y": "created",
			} {
				if got := outputOf(t, all, step); !strings.Contains(got, want) {
					t.Errorf("%s says %q, want %q", step, got, want)
				}
			}
			if got := outputOf(t, all, "lvm lvs"); strings.Contains(got, "not monitored") {
				t.Errorf("the mirror is %q", got)
			}
		})
	}
}

func TestTheHostsToolsStartInTheGuest(t *testing.T) {
	// Given the one tool that every Debian has.
	k, _ := realKernel(t, "debian:6.18")
	b := &Builder{Cache: t.TempDir()}
	r := Request{Exe: toolinit(t, "mke2fs", nil), Tools: []string{"mke2fs"}, ToolsFrom: FromHost}
	img, err := b.Build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(img.Tools, func(s string) bool { return strings.HasSuffix(s, "/mke2fs") }) {
		t.Errorf("the tools come from %q", img.Tools)
	}
	if got := outputOf(t, boot(t, k, img), "mke2fs -V"); !strings.Contains(got, "mke2fs 1.") {
		t.Errorf("mke2fs says %q", got)
	}
	// And again, by what is remembered of the host's files.
	again, err := b.Build(t.Context(), r)
	if err != nil || again.Digest != img.Digest || again.Path != img.Path || !slices.Equal(again.Tools, img.Tools) {
		t.Errorf("again: %+v, %v", again, err)
	}
}
