package initramfs

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/u-root/u-root/pkg/cpio"

	"github.com/blockrig/blockrig/scenarios"
)

func archiveOf(t *testing.T, recs ...cpio.Record) []byte {
	t.Helper()
	var b bytes.Buffer
	w := cpio.Newc.Writer(&b)
	if err := cpio.WriteRecords(w, recs); err != nil {
		t.Fatal(err)
	}
	if err := cpio.WriteTrailer(w); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestOnlyTheCommandsAreTakenFromURootsArchive(t *testing.T) {
	// Given what u-root's builder makes, with its own idea of a root.
	data := archiveOf(
		t,
		cpio.Directory("bin", 0o755), cpio.Directory("bbin", 0o755), cpio.Directory("lib64", 0o755),
		cpio.Symlink("bin/sh", "../bbin/gosh"),
		cpio.StaticFile("bbin/bb", "program", 0o755),
		cpio.Symlink("bbin/gosh", "bb"), cpio.Symlink("bbin/ls", "bb"),
		cpio.StaticFile("etc/resolv.conf", "nameserver 8.8.8.8\n", 0o644),
		cpio.CharDev("dev/console", 0o600, 5, 1),
	)
	tr, err := shellTree(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	entries, _ := contents(t, written(t, tr))
	want := []string{"bbin/", "bbin/bb", "bbin/gosh -> bb", "bbin/ls -> bb", "usr/", "usr/bin/", "usr/bin/sh -> /bbin/gosh"}
	if !slices.Equal(entries, want) {
		t.Errorf("got %q, want %q", entries, want)
	}
}

func TestTheCommandsThatScenariosMayRunAreThoseOfTheShell(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/u-root/u-root").Output()
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := os.ReadDir(filepath.Join(strings.TrimSpace(string(out)), "cmds/core"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, d := range dirs {
		if !slices.Contains(shellLeftOut, d.Name()) {
			want = append(want, d.Name())
		}
	}
	if diff := cmp.Diff(want, scenarios.ShellCommands); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAnArchiveWithoutAShellIsRefused(t *testing.T) {
	_, err := shellTree(bytes.NewReader(archiveOf(t, cpio.StaticFile("bbin/bb", "program", 0o755))))
	if err == nil || !strings.Contains(err.Error(), "bbin/gosh") {
		t.Errorf("got %v", err)
	}
	if _, err := shellTree(strings.NewReader("no archive")); err == nil {
		t.Error("text was taken for an archive")
	}
}

func TestWithoutGoTheShellSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	b := &Builder{Cache: t.TempDir()}
	_, err := b.shell(t.Context())
	if err == nil || !strings.Contains(err.Error(), "install Go") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

// The shell's module must not drift from blockrig's own u-root.
func TestTheShellPinsTheVersionsThatBlockrigUses(t *testing.T) {
	own, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	re := regexp.MustCompile(`(?m)github\.com/u-root/u-root (v\S+)`)
	got, want := re.FindSubmatch(shellGoMod), re.FindSubmatch(own)
	if got == nil || want == nil || !bytes.Equal(got[1], want[1]) {
		t.Errorf("the shell's go.mod has %q, blockrig's %q", got, want)
	}
}
