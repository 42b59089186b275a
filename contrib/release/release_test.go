package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// The tests run in the root of the module, as the command does.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func TestVersions(t *testing.T) {
	made := time.Date(2026, 11, 26, 20, 24, 47, 0, time.UTC)
	for _, c := range []struct{ tag, after, want string }{
		{"", "", "0.0.0+20261126.202447.g3f8b594abcde"},
		{"v1.2.3", "0", "1.2.3"},
		{"v1.2.3", "14", "1.2.3+14.g3f8b594abcde"},
		{"v1.3.0-rc1", "0", "1.3.0~rc1"},
		{"v1.3.0-rc1", "2", "1.3.0~rc1+2.g3f8b594abcde"},
	} {
		if got := versionOf(c.tag, c.after, "3f8b594abcde", made); got != c.want {
			t.Errorf("%s, %s commits after it: %s, want %s", c.tag, c.after, got, c.want)
		}
	}
	order := []string{
		versionOf("", "", "f", made), versionOf("", "", "a", made.Add(time.Second)),
		versionOf("v1.3.0-rc1", "0", "f", made), versionOf("v1.3.0-rc1", "2", "e", made), versionOf("v1.3.0-rc1", "10", "d", made),
		versionOf("v1.3.0", "0", "c", made), versionOf("v1.3.0", "1", "b", made), versionOf("v1.3.1", "0", "a", made),
	}
	for i, v := range order[1:] {
		if err := exec.Command("dpkg", "--compare-versions", order[i], "lt", v).Run(); err != nil {
			t.Errorf("%s is not before %s: %v", order[i], v, err)
		}
	}
}

// Given a commit, then the build says which, and a tree with changes says so.
func TestBuildOfACommit(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@b"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE=2026-11-26T21:24:47+01:00", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	t.Chdir(dir)
	t.Setenv("SOURCE_DATE_EPOCH", "")
	if _, err := buildOf(t.Context()); err == nil {
		t.Error("there is no commit")
	}
	git("init", "-q")
	if err := os.WriteFile("a", []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	git("add", "a")
	git("commit", "-q", "-m", "one")
	hash := git("rev-parse", "HEAD")[:12]
	check := func(version, revision string) {
		t.Helper()
		b, err := buildOf(t.Context())
		if err != nil || b.version != version || b.revision != revision {
			t.Errorf("%+v %v, want %s of %s", b, err, version, revision)
		}
	}
	check("0.0.0+20261126.202447.g"+hash, hash)
	git("tag", "v1.9.0")
	git("tag", "v1.10.0")
	git("tag", "version")
	check("1.10.0", hash)
	git("commit", "-q", "--allow-empty", "-m", "two")
	after := git("rev-parse", "HEAD")[:12]
	check("1.10.0+1.g"+after, after)
	if err := os.WriteFile("a", []byte("2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	check("1.10.0+1.g"+after+".dirty", after+"-dirty")
	t.Setenv("SOURCE_DATE_EPOCH", "soon")
	if _, err := buildOf(t.Context()); err == nil || !strings.Contains(err.Error(), "seconds since 1970") {
		t.Errorf("got %v", err)
	}
}

// Given a folder with what is no release's, then none is put there.
func TestOnlyAReleaseIsReplaced(t *testing.T) {
	dir := t.TempDir()
	put := func(name string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(checkFolder(dir), checkFolder(filepath.Join(dir, "none"))); err != nil {
		t.Error(err)
	}
	put("a.deb")
	put("docs/a.md")
	if err := checkFolder(dir); err == nil {
		t.Error("a folder without sums was taken")
	}
	if err := writeSums(dir); err != nil {
		t.Fatal(err)
	}
	if err := checkFolder(dir); err != nil {
		t.Error(err)
	}
	cmd := exec.Command("sha256sum", "--check", "--strict", sums)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	put("docs/mine")
	if err := checkFolder(dir); err == nil || !strings.Contains(err.Error(), "docs/mine is in the way") {
		t.Errorf("got %v", err)
	}
}

// Given files of other times and modes than those they are installed with, then
// an archive of them is the same at each time, and has no name of a user.
func TestArchive(t *testing.T) {
	dir, at := t.TempDir(), time.Unix(1700000000, 0)
	files := []file{
		{to: "bin/a", from: filepath.Join(dir, "a"), mode: 0o755},
		{to: "share/b", from: filepath.Join(dir, "b"), mode: 0o644},
		{to: "share/deb/b", from: filepath.Join(dir, "b"), mode: 0o644, only: "deb"},
		{to: "share/x/c", from: filepath.Join(dir, "b"), mode: 0o644},
	}
	var made [][]byte
	for i := range 2 {
		for _, name := range []string{"a", "b"} {
			path := filepath.Join(dir, name)
			err := errors.Join(os.WriteFile(path, []byte(name), 0o600), os.Chmod(path, 0o600+os.FileMode(i*0o44)))
			if err != nil {
				t.Fatal(err)
			}
		}
		to := filepath.Join(dir, strings.Repeat("x", i+1)+".tar.zst")
		if err := writeArchive(to, "top", files, at); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, data)
	}
	if !bytes.Equal(made[0], made[1]) {
		t.Error("the archives differ")
	}
	z, err := zstd.NewReader(bytes.NewReader(made[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if want := map[string]int64{"top/bin/a": 0o755, "top/share/b": 0o644, "top/share/x/c": 0o644}[h.Name]; want != 0 && h.Mode != want {
			t.Errorf("%s has mode %o", h.Name, h.Mode)
		}
		if !h.ModTime.Equal(at) || h.Uname+h.Gname != "" || h.Uid+h.Gid != 0 {
			t.Errorf("%+v", h)
		}
	}
	want := []string{"top/", "top/bin/", "top/bin/a", "top/share/", "top/share/b", "top/share/x/", "top/share/x/c"}
	if !slices.Equal(names, want) {
		t.Errorf("got %q", names)
	}
}

// Given the scripts of the packages, then they make the user, and talk to
// systemd only where it runs.
func TestScripts(t *testing.T) {
	_, err := os.Stat("/run/systemd/system")
	runs := err == nil
	dir := t.TempDir()
	said := filepath.Join(dir, "said")
	for _, name := range []string{"systemctl", "systemd-sysusers"} {
		stub := "#!/bin/sh\necho " + name + " \"$@\" >>" + said + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(stub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const users, reload = "systemd-sysusers blockrig.conf\n", "systemctl daemon-reload\n"
	const hubAndWorker = " blockrig-hub.service blockrig-worker.service\n"
	for _, c := range []struct{ script, arg, always, systemd string }{
		{"postinstall", "configure", users, reload + "systemctl try-restart" + hubAndWorker},
		{"postinstall", "1", users, reload + "systemctl try-restart" + hubAndWorker},
		{"preremove", "remove", "", "systemctl disable --now" + hubAndWorker},
		{"preremove", "0", "", "systemctl disable --now" + hubAndWorker},
		{"preremove", "upgrade", "", ""},
		{"preremove", "1", "", ""},
		{"postremove", "remove", "", reload},
		{"postremove", "0", "", reload},
	} {
		cmd := exec.Command("/bin/sh", "contrib/release/"+c.script, c.arg)
		cmd.Env = []string{"PATH=" + dir}
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s %s: %v: %s", c.script, c.arg, err, out)
		}
		got, err := os.ReadFile(said)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.RemoveAll(said); err != nil {
			t.Fatal(err)
		}
		want := c.always
		if runs {
			want += c.systemd
		}
		if string(got) != want {
			t.Errorf("%s %s did %q, want %q", c.script, c.arg, got, want)
		}
	}
}

// Given what the Justfile installs for blockrig, then the Debian package names
// it, too, but for what only tests need.
func TestPackagesNeeded(t *testing.T) {
	recipe, err := os.ReadFile("Justfile")
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(debian.Depends, debian.Recommends, debian.Suggests)
	n := 0
	for line := range strings.Lines(string(recipe)) {
		if !strings.HasPrefix(line, "deps: ") && !strings.HasPrefix(line, "deps-build: ") {
			continue
		}
		for _, want := range strings.Split(line, `"`) {
			if _, name, ok := strings.Cut(want, ":"); ok && strings.TrimSpace(name) != "" && !strings.Contains(name, "(") && name != "qemu-utils" {
				n++
				if !slices.Contains(all, name) {
					t.Errorf("the package does not name %s", name)
				}
			}
		}
	}
	if n < 10 {
		t.Errorf("%d packages only", n)
	}
}

// Given nfpm's own go.mod, then it is pinned, and blockrig's has none of it.
func TestNFPMIsPinned(t *testing.T) {
	for name, want := range map[string]bool{"contrib/release/nfpm.mod": true, "go.mod": false} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(data), "github.com/goreleaser/nfpm/v2 v2.45.2"); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
