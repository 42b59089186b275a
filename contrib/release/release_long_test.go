//go:build vm && long

package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blakesmith/ar"
	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"
)

// An installed file is one of a package's.
type installed struct {
	mode  int64
	owner string
	at    time.Time
	data  []byte
}

// Given one commit, when a release is made of it twice, in folders of other
// names, with another umask, home and time zone, then all files are the same,
// byte for byte; its packages and its archive hold what blockrig is installed
// from, and none of it names who made it or where.
func TestRelease(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	// Others may commit meanwhile.
	hash, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		t.Fatal(err)
	}
	commit := strings.TrimSpace(string(hash))
	var made [2]string
	for i, c := range []struct{ name, umask, zone string }{{"one", "022", "UTC"}, {"another/place", "077", "Asia/Tokyo"}} {
		dir := filepath.Join(t.TempDir(), c.name)
		made[i] = filepath.Join(dir, "out")
		home := t.TempDir()
		sh := exec.Command("sh", "-euc", `umask "$1"; git clone -q "$2" "$3/source"; cd "$3/source"; git checkout -q --detach "$4"; go run ./contrib/release "$3/out"`, "sh", c.umask, here, dir, commit)
		sh.Env = append(os.Environ(), "HOME="+home, "TZ="+c.zone, "USER=zebedee-builds", "LOGNAME=zebedee-builds", "XDG_CONFIG_HOME="+home)
		for _, name := range []string{"GOPATH", "GOCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOMODCACHE"} { // what they are with the home there is
			out, err := exec.Command("go", "env", name).Output()
			if err != nil {
				t.Fatal(err)
			}
			sh.Env = append(sh.Env, name+"="+strings.TrimSpace(string(out)))
		}
		if i == 1 {
			sh.Env = append(sh.Env, "GOCACHE="+t.TempDir()) // all is compiled anew
		}
		if out, err := sh.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	names, err := filesIn(made[0])
	if err != nil {
		t.Fatal(err)
	}
	others, err := filesIn(made[1])
	if err != nil || !slices.Equal(names, others) {
		t.Errorf("%q and %q: %v", names, others, err)
	}
	kinds := map[string]string{}
	for _, name := range names {
		var data [2][]byte
		for i := range data {
			if data[i], err = os.ReadFile(filepath.Join(made[i], name)); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(data[0], data[1]) {
			t.Errorf("%s differs", name)
		}
		for kind, ending := range map[string]string{"deb": "_amd64.deb", "rpm": "-1.x86_64.rpm", "tar": "-linux-amd64.tar.zst"} {
			if strings.HasSuffix(name, ending) {
				kinds[kind] = filepath.Join(made[0], name)
			}
		}
	}
	if len(kinds) != 3 || !slices.Contains(names, "Containerfile") || !slices.Contains(names, "docs/blockrig_run.md") {
		t.Fatalf("got %q", names)
	}
	check := exec.Command("sha256sum", "--check", "--strict", "--quiet", sums)
	check.Dir = made[0]
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}

	var at time.Time
	if out, err := exec.Command("git", "show", "-s", "--format=%cI", commit).Output(); err != nil {
		t.Fatal(err)
	} else if at, err = time.Parse(time.RFC3339, strings.TrimSpace(string(out))); err != nil {
		t.Fatal(err)
	}
	control, deb := readDeb(t, kinds["deb"])
	facts, rpm := readRPM(t, kinds["rpm"])
	archive := readArchive(t, kinds["tar"])
	for kind, files := range map[string]map[string]installed{"deb": deb, "rpm": rpm, "archive": archive} {
		checkFiles(t, kind, files, at)
	}
	for _, line := range []string{"Package: blockrig", "Architecture: amd64", "Depends: qemu-system-x86", "Recommends: ca-certificates, git"} {
		if !strings.Contains(string(control["control"]), line+"\n") {
			t.Errorf("control lacks %q:\n%s", line, control["control"])
		}
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		if !strings.HasPrefix(string(control[script]), "#!/bin/sh\n") {
			t.Errorf("%s is %q", script, control[script])
		}
	}
	if facts != "qemu-system-x86-core at localhost "+fmt.Sprint(at.Unix()) {
		t.Errorf("the rpm says %q", facts)
	}
	// What is installed says what it is.
	program := filepath.Join(t.TempDir(), "blockrig")
	if err := os.WriteFile(program, deb["usr/bin/blockrig"].data, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "version").CombinedOutput()
	if said := string(out); err != nil || !strings.Contains(said, "revision "+commit[:12]+", go") || strings.Contains(said, "(devel)") {
		t.Errorf("%s: %v", said, err)
	}
}

// checkFiles checks what a package or an archive installs.
func checkFiles(t *testing.T, kind string, files map[string]installed, at time.Time) {
	t.Helper()
	prefix, zsh, license := "usr/", "vendor-completions", "copyright"
	if kind != "deb" {
		zsh, license = "site-functions", "LICENSE"
	}
	if kind == "archive" {
		prefix = ""
	}
	want := []string{
		"bin/blockrig", "lib/sysusers.d/blockrig.conf",
		"lib/systemd/system/blockrig-hub.service", "lib/systemd/system/blockrig-worker.service",
		"lib/systemd/user/blockrig-nightly.service", "lib/systemd/user/blockrig-nightly.timer",
		"share/bash-completion/completions/blockrig", "share/zsh/" + zsh + "/_blockrig", "share/fish/vendor_completions.d/blockrig.fish",
		"share/man/man1/blockrig.1.gz", "share/man/man1/blockrig-bisect-git.1.gz",
		"share/doc/blockrig/README.md", "share/doc/blockrig/NOTICES.gz", "share/doc/blockrig/" + license,
		"share/doc/blockrig/verbs/blockrig.md", "share/doc/blockrig/verbs/blockrig_bisect_git.md",
	}
	for _, name := range want {
		if len(files[prefix+name].data) == 0 {
			t.Errorf("%s lacks %s", kind, name)
		}
	}
	out, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := strings.TrimSpace(string(out))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := files[name]
		mode := int64(0o644)
		if name == prefix+"bin/blockrig" {
			mode = 0o755
		}
		if f.mode&0o7777 != mode || f.owner != "root" || !f.at.Equal(at) {
			t.Errorf("%s: %s has mode %o, is %s's, of %s", kind, name, f.mode, f.owner, f.at)
		}
		text := f.data
		if strings.HasSuffix(name, ".gz") {
			text = unpacked(t, text)
		}
		for _, of := range []string{"TestRelease", "zebedee-builds", modules, "go-build"} {
			if bytes.Contains(text, []byte(of)) {
				t.Errorf("%s: %s has %q in it", kind, name, of)
			}
		}
	}
	for _, name := range []string{"share/man/man1/blockrig-run.1.gz", "share/doc/blockrig/NOTICES.gz"} {
		if text := unpacked(t, files[prefix+name].data); len(text) < 1000 {
			t.Errorf("%s: %s is %q", kind, name, text)
		}
	}
}

func unpacked(t *testing.T, data []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// readTar gives the regular files of an archive; folders are checked here.
func readTar(t *testing.T, in io.Reader, strip string) map[string]installed {
	t.Helper()
	files := map[string]installed{}
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			if h.Mode&0o7777 != 0o755 {
				t.Errorf("%s has mode %o", h.Name, h.Mode)
			}
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil || h.Typeflag != tar.TypeReg {
			t.Fatalf("%s, of type %c: %v", h.Name, h.Typeflag, err)
		}
		owner := cmp.Or(h.Uname, "root")
		if h.Uid+h.Gid != 0 || cmp.Or(h.Gname, "root") != owner {
			owner = fmt.Sprint(h.Uid, h.Gname)
		}
		files[strings.TrimPrefix(path.Clean(h.Name), strip)] = installed{h.Mode, owner, h.ModTime, data}
	}
}

func readDeb(t *testing.T, name string) (control map[string][]byte, files map[string]installed) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	control = map[string][]byte{}
	for r := ar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return control, files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		switch strings.TrimSuffix(h.Name, "/") {
		case "control.tar.gz":
			for name, f := range readTar(t, bytes.NewReader(unpacked(t, data)), "") {
				control[name] = f.data
			}
		case "data.tar.gz":
			files = readTar(t, bytes.NewReader(unpacked(t, data)), "")
		}
	}
}

func readArchive(t *testing.T, name string) map[string]installed {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return readTar(t, z, strings.TrimSuffix(filepath.Base(name), ".tar.zst")+"/")
}

// Tags of an rpm's header (rpmtag.h).
const (
	rpmBuildTime   = 1006
	rpmBuildHost   = 1007
	rpmModes       = 1030
	rpmTimes       = 1034
	rpmOwners      = 1039
	rpmGroups      = 1040
	rpmRequires    = 1049
	rpmDirIndexes  = 1116
	rpmBaseNames   = 1117
	rpmDirNames    = 1118
	rpmLeadSize    = 96
	rpmHeaderMagic = "\x8e\xad\xe8\x01"
)

// rpmHeader is a header structure: an index of entries, and what they name.
type rpmHeader struct {
	entries map[uint32][2]uint32 // tag -> where, how many
	store   []byte
}

// readRPMHeader reads one and gives what comes behind it.
func readRPMHeader(t *testing.T, data []byte) (rpmHeader, []byte) {
	t.Helper()
	if len(data) < 16 || string(data[:4]) != rpmHeaderMagic {
		t.Fatalf("no header of an rpm: %q", data[:min(16, len(data))])
	}
	n, size := binary.BigEndian.Uint32(data[8:]), binary.BigEndian.Uint32(data[12:])
	h := rpmHeader{entries: map[uint32][2]uint32{}}
	for i := range n {
		e := data[16+16*i:]
		h.entries[binary.BigEndian.Uint32(e)] = [2]uint32{binary.BigEndian.Uint32(e[8:]), binary.BigEndian.Uint32(e[12:])}
	}
	data = data[16+16*n:]
	h.store = data[:size]
	return h, data[size:]
}

func (h rpmHeader) texts(tag uint32) (out []string) {
	e := h.entries[tag]
	return strings.SplitN(string(h.store[e[0]:]), "\x00", int(e[1])+1)[:e[1]]
}

func (h rpmHeader) numbers(tag uint32, size int) (out []int64) {
	e := h.entries[tag]
	for i := range int(e[1]) {
		at := h.store[int(e[0])+i*size:]
		if size == 2 {
			out = append(out, int64(binary.BigEndian.Uint16(at)))
		} else {
			out = append(out, int64(binary.BigEndian.Uint32(at)))
		}
	}
	return out
}

// readRPM gives the files of an rpm, and what it says of its making.
func readRPM(t *testing.T, name string) (facts string, files map[string]installed) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	signature, rest := readRPMHeader(t, data[rpmLeadSize:])
	rest = rest[(8-len(signature.store)%8)%8:]
	h, payload := readRPMHeader(t, rest)
	requires := slices.DeleteFunc(h.texts(rpmRequires), func(s string) bool { return strings.HasPrefix(s, "rpmlib(") || s == "/bin/sh" })
	facts = fmt.Sprint(strings.Join(requires, " "), " at ", h.texts(rpmBuildHost)[0], " ", h.numbers(rpmBuildTime, 4)[0])

	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(unpacked(t, payload))))
	if err != nil {
		t.Fatal(err)
	}
	content := map[string][]byte{}
	for _, r := range records {
		if content[path.Clean("/"+r.Name)], err = io.ReadAll(io.NewSectionReader(r, 0, int64(r.FileSize))); err != nil {
			t.Fatal(err)
		}
	}
	files = map[string]installed{}
	bases, dirs, at := h.texts(rpmBaseNames), h.texts(rpmDirNames), h.numbers(rpmDirIndexes, 4)
	modes, times, owners, groups := h.numbers(rpmModes, 2), h.numbers(rpmTimes, 4), h.texts(rpmOwners), h.texts(rpmGroups)
	for i, base := range bases {
		full := dirs[at[i]] + base
		if modes[i]&0o170000 != 0o100000 {
			t.Errorf("%s has mode %o", full, modes[i])
		}
		owner := owners[i]
		if groups[i] != owner {
			owner += ":" + groups[i]
		}
		files[strings.TrimPrefix(full, "/")] = installed{modes[i], owner, time.Unix(times[i], 0), content[full]}
	}
	return facts, files
}
