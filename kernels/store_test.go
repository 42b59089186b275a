package kernels

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/kernels/debian"
	"github.com/blockrig/blockrig/kernels/internal/archivetest"
	"github.com/blockrig/blockrig/scenarios"
)

// suitesForTests leaves the suites that the tests' archives have.
const suitesForTests = "without: [bookworm, bookworm-security, bookworm-backports, trixie-security, forky, {suite: trixie-backports, at: 20261120T000000Z}]\n"

// An archive is a small Debian archive and a cache to fetch into.
type archive struct {
	t       testing.TB
	dir     string
	cache   string
	log     *bytes.Buffer
	sources string
}

func newArchive(t testing.TB, packages ...[]archivetest.Package) *archive {
	t.Helper()
	a := &archive{t: t, dir: t.TempDir(), cache: t.TempDir(), log: &bytes.Buffer{}}
	writeAll(t, a.dir, map[string][]byte{"config/blockrig/debian.yaml": []byte(suitesForTests)})
	setenv(t, "XDG_CONFIG_HOME", filepath.Join(a.dir, "config"))
	a.offer(packages...)
	return a
}

func setenv(t testing.TB, key, value string) {
	t.Helper()
	t.(interface{ Setenv(key, value string) }).Setenv(key, value)
}

// offer replaces what the archive has.
func (a *archive) offer(packages ...[]archivetest.Package) {
	a.t.Helper()
	var all []archivetest.Package
	for _, p := range packages {
		all = append(all, p...)
	}
	a.sources = archivetest.Archive(a.t, a.dir, all...)
}

func (a *archive) open() *Store {
	a.t.Helper()
	s, err := Open(a.t.Context(), a.cache, slog.New(slog.NewTextHandler(a.log, nil)))
	if err != nil {
		a.t.Fatal(err)
	}
	s.aptSources = []string{a.sources}
	return s
}

// left gives what is in the cache besides finished kernels.
func (a *archive) left() []string {
	a.t.Helper()
	var left []string
	for _, pattern := range []string{"kernels/.new-*", "kernels/.old-*", "kernels/*/*.deb", "kernels/*/debs", "apt/*/.new-*"} {
		found, err := filepath.Glob(filepath.Join(a.cache, pattern))
		if err != nil {
			a.t.Fatal(err)
		}
		left = append(left, found...)
	}
	return left
}

// modulesOf gives a kernel's files below prefix (lib/modules/RELEASE/).
func modulesOf(t testing.TB, prefix, release string) []archivetest.Entry {
	entry := func(name string, modinfo ...string) archivetest.Entry {
		data := archivetest.Compress(t, ".xz", madeModule(t, append(modinfo, "vermagic="+release+" SMP")...))
		return archivetest.Entry{Name: prefix + "kernel/" + name + ".ko.xz", Text: string(data)}
	}
	return []archivetest.Entry{
		entry("drivers/md/dm-mod", "depends=netlink-like"), entry("net/netlink-like"), entry("net/unused"),
		entry("drivers/gpu/drm/huge"), entry("fs/ext4/ext4", "softdep=pre: crc32c"), entry("fs/nfs/nfs"), entry("crypto/crc32c_generic", "alias=crc32c"),
		{Name: prefix + "modules.builtin", Text: "kernel/drivers/scsi/sd_mod.ko\n"},
		{Name: prefix + "modules.order", Text: "kernel/drivers/md/dm-mod.ko\n"},
	}
}

const debianConfigText = "CONFIG_BLK_DEV_DM=m\nCONFIG_EXT4_FS=m\nCONFIG_BLK_DEV_SD=y\n"

// whole gives a kernel in the packaging up to 6.18.
func whole(t testing.TB, release, version, suite string) []archivetest.Package {
	t.Helper()
	entries := append(modulesOf(t, "./usr/lib/modules/"+release+"/", release),
		archivetest.Entry{Name: "./boot/vmlinuz-" + release, Text: string(madeImage(release))},
		archivetest.Entry{Name: "./boot/config-" + release, Text: debianConfigText},
		archivetest.Entry{Name: "./boot/System.map-" + release, Text: "ffffffffffffffff B The real System.map is elsewhere\n"},
		archivetest.Entry{Name: "./usr/share/doc/linux", Text: "prose"})
	return []archivetest.Package{{
		Name: "linux-image-" + release, Version: version, Suite: suite, Fields: "Depends: kmod, linux-base\n",
		Deb: archivetest.Deb(t, ".xz", entries...),
	}}
}

// split gives a kernel in the packaging from 6.19 on, without the packages
// named.
func split(t testing.TB, release, version, suite string, without ...string) []archivetest.Package {
	t.Helper()
	folder := "./usr/lib/modules/" + release + "/"
	var all []archivetest.Package
	var depends []string
	for _, part := range []struct {
		name    string
		entries []archivetest.Entry
	}{
		{"linux-base-", []archivetest.Entry{
			{Name: folder + "config", Text: debianConfigText},
			{Name: folder + "System.map", Text: strings.Repeat("ffffffff81000000 T _text\n", 400)},
		}},
		{"linux-binary-", []archivetest.Entry{{Name: folder + "vmlinuz", Text: string(madeImage(release))}}},
		{"linux-modules-", modulesOf(t, folder, release)},
		{"linux-image-", nil},
	} {
		fields := ""
		if part.name == "linux-image-" {
			fields = "Depends: " + strings.Join(depends, ", ") + "\n"
		}
		depends = append(depends, part.name+release+" (= "+version+")")
		if !strings.Contains(strings.Join(without, " "), part.name) {
			all = append(all, archivetest.Package{
				Name: part.name + release, Version: version, Suite: suite, Fields: fields, Deb: archivetest.Deb(t, ".zst", part.entries...),
			})
		}
	}
	return all
}

// meta gives the package that depends on a suite's newest kernel.
func meta(t testing.TB, name, version, suite, on string) []archivetest.Package {
	t.Helper()
	return []archivetest.Package{{Name: name, Version: version, Suite: suite, Fields: "Depends: " + on + "\n", Deb: archivetest.Deb(t, ".gz")}}
}

func debianArchive(t testing.TB) *archive {
	t.Helper()
	return newArchive(
		t,
		whole(t, "6.1.0-50-amd64", "6.1.176-1", "trixie"),
		whole(t, "6.18.9+deb13-amd64", "6.18.9-1~bpo13+1", "trixie-backports"),
		whole(t, "6.18.15+deb13-amd64", "6.18.15-1~bpo13+1", "trixie-backports"),
		whole(t, "6.18.15+deb14-amd64", "6.18.15-1", "sid"),
		whole(t, "6.180.1+deb14-amd64", "6.180.1-1", "sid"),
		whole(t, "6.200.1+deb14-cloud-amd64", "6.200.1-1", "sid"),
		whole(t, "6.200.1+deb14-rt-amd64", "6.200.1-1", "sid"),
		meta(t, "linux-image-6.300-amd64", "6.300.1-1", "sid", "linux-image-6.180.1+deb14-amd64 (= 6.180.1-1)"),
		split(t, "6.19.10+deb13-amd64", "6.19.10-1~bpo13+1", "trixie-backports", "linux-modules-"),
		split(t, "7.2.12+deb14-amd64", "7.2.12-1", "sid"),
		split(t, "7.3-amd64", "7.3~rc7-1~exp1", "experimental"),
	)
}

func TestResolveChoosesTheVersion(t *testing.T) {
	a := debianArchive(t)
	s := a.open()
	for ref, want := range map[string]string{
		"debian:newest":                  "7.2.12+deb14-amd64", // no release candidate
		"debian:newest@experimental":     "7.3-amd64",
		"debian:7.3-rc7":                 "7.3-amd64",
		"debian:7.3~rc7":                 "7.3-amd64",
		"debian:7.3@experimental":        "7.3-amd64",
		"debian:newest@trixie-backports": "6.18.15+deb13-amd64",
		"debian:6.18":                    "6.18.15+deb14-amd64",
		"debian:6.18@trixie-backports":   "6.18.15+deb13-amd64",
		"debian:6.18.9":                  "6.18.9+deb13-amd64",
		"debian:6.180":                   "6.180.1+deb14-amd64",
		"debian:6.1.176":                 "6.1.0-50-amd64",
		"debian:6.1.0-50-amd64":          "6.1.0-50-amd64",
		"debian:6.18.15-1~bpo13+1":       "6.18.15+deb13-amd64",
		"debian:6":                       "6.180.1+deb14-amd64",
	} {
		k, err := s.Resolve(t.Context(), ref)
		if err != nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		if k.Release != want || k.Ref != ref {
			t.Errorf("%s is release %s of reference %s, want %s", ref, k.Release, k.Ref, want)
		}
		// Its exact reference gives the same kernel.
		again, err := s.Resolve(t.Context(), k.Exact)
		if err != nil || again.Digest != k.Digest || again.Image != k.Image {
			t.Errorf("%s is %+v, %v; want the kernel of %s", k.Exact, again, err, ref)
		}
	}
	if left := a.left(); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestResolveSaysWhatIsToBeHad(t *testing.T) {
	s := debianArchive(t).open()
	for ref, say := range map[string]string{
		"debian:9":            "no such kernel: available: 7.3-rc7, 7.2.12, 6.180.1, 6.18.15, 6.18.9, 6.1.176",
		"debian:7.3":          "no such kernel: available: 7.3-rc7",
		"debian:6.18@trixie":  "no such kernel: available:",
		"debian:6.18@bookwrm": "there is no kernel in bookwrm; available:",
		"debian:6.19":         "of 6.19.10 Debian no longer has linux-modules-6.19.10+deb13-amd64, its modules",
		"debian:6.19.10":      "of 6.19.10 Debian no longer has linux-modules-6.19.10+deb13-amd64, its modules",
		"debian:6.1.0-5":      "no such kernel",
	} {
		_, err := s.Resolve(t.Context(), ref)
		if !errors.Is(err, ErrNotFound) || !strings.HasPrefix(err.Error(), ref+": ") || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: error %v, want ErrNotFound that says %q", ref, err, say)
		}
	}
}

func TestAvailableIsInOrder(t *testing.T) {
	a := debianArchive(t)
	a.offer(
		whole(t, "6.18.9+deb13-amd64", "6.18.9-1~bpo13+1", "trixie-backports"),
		whole(t, "6.18.10+deb14-amd64", "6.18.10-1", "sid"),
		whole(t, "6.18.10+deb14-amd64", "6.18.10-1", "trixie-backports"),
		whole(t, "6.18~rc7-amd64", "6.18~rc7-1~exp1", "experimental"),
		whole(t, "6.18-rc7-amd64", "6.18~rc7-1~exp1", "experimental"),
		whole(t, "6.18-amd64-unsigned", "6.18-1", "experimental"),
		whole(t, "6.18.10+deb14-amd64-unsigned", "6.18.10-1", "sid"),
		split(t, "6.19.1+deb14-amd64", "6.19.1-1", "sid", "linux-binary-"),
		whole(t, "6.180.1-amd64", "6.180.1-1", "sid"),
	)
	s := a.open()
	show := func(prefix string) []string {
		versions, err := s.Available(t.Context(), prefix)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, v := range versions {
			line := fmt.Sprint(v.Version, " ", v.Release, " ", v.Suites)
			if v.RC {
				line += " rc"
			}
			if v.Missing != "" {
				line += " missing"
			}
			all = append(all, line)
		}
		return all
	}
	series := []string{
		"6.18-rc7 6.18-rc7-amd64 [experimental] rc",
		"6.18 6.18-amd64 [experimental]",
		"6.18.9 6.18.9+deb13-amd64 [trixie-backports]",
		"6.18.10 6.18.10+deb14-amd64 [trixie-backports sid]",
	}
	if diff := cmp.Diff(series, show("6.18")); diff != "" {
		t.Errorf("6.18 (-want +got):\n%s", diff)
	}
	all := append(series, "6.19.1 6.19.1+deb14-amd64 [sid] missing", "6.180.1 6.180.1-amd64 [sid]")
	for range 2 { // the second time from what the first found out
		if diff := cmp.Diff(all, show("")); diff != "" {
			t.Errorf("all (-want +got):\n%s", diff)
		}
		s = a.open()
	}
}

func TestAnEntryHoldsWhatIsNeeded(t *testing.T) {
	a := debianArchive(t)
	s := a.open()
	var told []string
	s.Progress = func(what string, done, total int64) {
		if done > total || total == 0 && done > 0 {
			t.Errorf("progress of %s: %d of %d", what, done, total)
		}
		if len(told) == 0 || told[len(told)-1] != what {
			told = append(told, what)
		}
	}
	for _, test := range []struct{ ref, sysmap string }{{"debian:6.18.9", ""}, {"debian:7.2", "System.map"}} {
		k, err := s.Resolve(t.Context(), test.ref)
		if err != nil {
			t.Fatal(err)
		}
		var files []string
		dir := filepath.Dir(k.Image)
		err = fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
			if d.Type().IsRegular() {
				files = append(files, p)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			".blockrig.lock", ".blockrig.manifest", "config", "kernel.json", "modules/kernel/crypto/crc32c_generic.ko.xz", "modules/kernel/drivers/md/dm-mod.ko.xz",
			"modules/kernel/fs/ext4/ext4.ko.xz", "modules/kernel/net/netlink-like.ko.xz", "modules/modules.builtin", "modules/modules.order", "modules.json", "vmlinuz",
		}
		if test.sysmap != "" {
			want = slices.Insert(want, 2, "System.map")
		}
		if diff := cmp.Diff(want, files); diff != "" {
			t.Errorf("%s holds (-want +got):\n%s", test.ref, diff)
		}
		if (k.Map != "") != (test.sysmap != "") || k.Config != filepath.Join(dir, "config") || k.Modules != filepath.Join(dir, "modules") {
			t.Errorf("%s: %+v", test.ref, k)
		}
		modules, err := k.Closure([]scenarios.Need{{Option: "CONFIG_BLK_DEV_DM", Module: "dm-mod"}, {Option: "CONFIG_EXT4_FS", Module: "ext4"}, {Option: "CONFIG_BLK_DEV_SD", Module: "sd_mod"}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"netlink_like", "dm_mod", "crc32c_generic (soft)", "ext4"}, load(modules)); diff != "" {
			t.Errorf("%s loads (-want +got):\n%s", test.ref, diff)
		}
	}
	for _, want := range []string{"package lists", "linux-image-6.18.9+deb13-amd64", "unpacking linux-image-6.18.9+deb13-amd64", "reading modules"} {
		if !strings.Contains(strings.Join(told, "\n"), want) {
			t.Errorf("progress did not tell of %q", want)
		}
	}
}

func TestTwoAtOnceFetchOnce(t *testing.T) {
	a := debianArchive(t)
	var mu sync.Mutex
	fetched := 0
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			s := a.openWith(slog.New(countHandler{slog.DiscardHandler, func(message string) {
				mu.Lock()
				defer mu.Unlock()
				if message == "fetching packages" {
					fetched++
				}
			}}))
			if _, err := s.Resolve(t.Context(), "debian:6.18.9"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if fetched != 1 {
		t.Errorf("fetched %d times, want once", fetched)
	}
	if left := a.left(); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func (a *archive) openWith(log *slog.Logger) *Store {
	s, err := Open(a.t.Context(), a.cache, log)
	if err != nil {
		a.t.Error(err)
		return nil
	}
	s.aptSources = []string{a.sources}
	return s
}

type countHandler struct {
	slog.Handler
	tell func(message string)
}

func (h countHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h countHandler) Handle(_ context.Context, r slog.Record) error {
	h.tell(r.Message)
	return nil
}

func TestTheCacheServesWithoutTheArchive(t *testing.T) {
	a := debianArchive(t)
	k, err := a.open().Resolve(t.Context(), "debian:newest")
	if err != nil {
		t.Fatal(err)
	}
	// Given an archive that is gone, and lists that are first old, then gone.
	if err := os.RemoveAll(filepath.Join(a.dir, "debian")); err != nil {
		t.Fatal(err)
	}
	lists, err := filepath.Glob(filepath.Join(a.cache, "apt/*/2*"))
	if err != nil || len(lists) != 1 {
		t.Fatal(lists, err)
	}
	for _, given := range []struct {
		lists string
		spoil func() error
	}{
		{"old", func() error {
			return os.Rename(lists[0], filepath.Join(filepath.Dir(lists[0]), "20200101T000000.000Z"))
		}},
		{"gone", func() error { return os.RemoveAll(filepath.Join(a.cache, "apt")) }},
	} {
		if err := given.spoil(); err != nil {
			t.Fatal(err)
		}
		for _, ref := range []string{"debian:newest", "debian:7", "debian:7.2.12", k.Exact} {
			got, err := a.open().Resolve(t.Context(), ref)
			if err != nil || got.Digest != k.Digest {
				t.Errorf("lists are %s: %s is %+v, %v; want the cached kernel", given.lists, ref, got, err)
			}
		}
	}
	if !strings.Contains(a.log.String(), "one in the cache is taken") {
		t.Errorf("no warning that Debian can't be asked, only:\n%s", a.log)
	}
}

func TestADamagedPackageLeavesNothing(t *testing.T) {
	for name, test := range map[string]struct {
		image   []byte
		modules bool
		release string
		is      error
	}{
		"a truncated image":       {madeImage("6.18.1-amd64")[:1500], true, "6.18.1-amd64", ErrImage},
		"an image of another":     {madeImage("6.18.2-amd64"), true, "6.18.1-amd64", ErrImage},
		"no modules":              {madeImage("6.18.1-amd64"), false, "", ErrModules},
		"modules of another":      {madeImage("6.18.1-amd64"), true, "6.18.2-amd64", ErrModules},
		"no image, no module":     {nil, false, "", ErrImage},
		"a module that is no ELF": {madeImage("6.18.1-amd64"), true, "text", ErrModules},
	} {
		t.Run(name, func(t *testing.T) {
			const release = "6.18.1-amd64"
			entries := []archivetest.Entry{{Name: "./boot/config-" + release, Text: debianConfigText}}
			if test.image != nil {
				entries = append(entries, archivetest.Entry{Name: "./boot/vmlinuz-" + release, Text: string(test.image)})
			}
			if test.modules {
				module := string(madeModule(t, "vermagic="+test.release+" SMP"))
				if test.release == "text" {
					module = "text"
				}
				entries = append(entries, archivetest.Entry{Name: "./lib/modules/" + release + "/kernel/fs/x.ko", Text: module})
			}
			a := newArchive(t, []archivetest.Package{{
				Name: "linux-image-" + release, Version: "6.18.1-1", Suite: "sid", Deb: archivetest.Deb(t, ".gz", entries...),
			}})
			s := a.open()
			if _, err := s.Resolve(t.Context(), "debian:6.18"); !errors.Is(err, test.is) {
				t.Errorf("error %v, want %v", err, test.is)
			}
			if all, err := s.List(); err != nil || all != nil {
				t.Errorf("the cache has %v, %v; want nothing", all, err)
			}
			if left := a.left(); left != nil {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestCancelLeavesNothing(t *testing.T) {
	for _, at := range []string{"package lists", "linux-image-6.18.9+deb13-amd64", "unpacking linux-image-6.18.9+deb13-amd64", "reading modules"} {
		t.Run(at, func(t *testing.T) {
			a := debianArchive(t)
			s := a.open()
			ctx, cancel := context.WithCancel(t.Context())
			s.Progress = func(what string, _, _ int64) {
				if what == at {
					cancel()
				}
			}
			if _, err := s.Resolve(ctx, "debian:6.18.9"); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want context.Canceled", err)
			}
			if left := a.left(); left != nil {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestOpenSweepsWhatTheDeadLeftAndMakesNothing(t *testing.T) {
	a := debianArchive(t)
	a.open()
	if made, err := os.ReadDir(a.cache); err != nil || len(made) != 0 {
		t.Errorf("opening made %v, %v", made, err)
	}
	// Given the folder of a dead process,
	dead := filepath.Join(a.cache, "kernels/.new-debian-1")
	writeAll(t, dead, map[string][]byte{".blockrig.lock": nil, "debs/linux.deb": []byte("half")})
	// when the cache is opened, then it is gone.
	a.open()
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v, want it gone", dead, err)
	}
}

func TestListAndRemove(t *testing.T) {
	a := debianArchive(t)
	s := a.open()
	for _, ref := range []string{"debian:7.2", "debian:6.18@sid", "debian:6.18@trixie-backports"} {
		if _, err := s.Resolve(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	list := func() []string {
		all, err := s.List()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range all {
			names = append(names, e.Exact)
			if e.Bytes < 4000 || e.Added.IsZero() || e.Ref != e.Exact {
				t.Errorf("entry %+v", e)
			}
		}
		return names
	}
	if diff := cmp.Diff([]string{"debian:6.18.15-1~bpo13+1", "debian:6.18.15-1", "debian:7.2.12-1"}, list()); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if err := s.Remove(t.Context(), "debian:6.18"); err == nil || !strings.Contains(err.Error(), "several kernels in the cache fit, name one: debian:6.18.15-1~bpo13+1, debian:6.18.15-1") {
		t.Errorf("an ambiguous reference: %v", err)
	}
	if err := s.Remove(t.Context(), "debian:5"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a kernel that is not there: %v", err)
	}
	for _, ref := range []string{"debian:7.2", "debian:6.18.15-1"} {
		if err := s.Remove(t.Context(), ref); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{"debian:6.18.15-1~bpo13+1"}, list()); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if left := a.left(); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestFileKernels(t *testing.T) {
	dir := t.TempDir()
	module := func(release string) []byte { return madeModule(t, "vermagic="+release+" SMP") }
	writeAll(t, dir, map[string][]byte{
		"bzImage": madeImage("6.12.9"), "config": []byte("CONFIG_MD=y\n"),
		"good/kernel/a.ko": module("6.12.9"), "other/kernel/a.ko": module("6.12.8"), "bad/a.ko": []byte("no module"),
		"installed/lib/modules/6.12.9/kernel/a.ko": module("6.12.9"), "installed/lib/modules/6.12.8/kernel/a.ko": module("6.12.8"),
		"wrong/lib/modules/6.12.7/kernel/a.ko": module("6.12.7"), "empty/kernel/readme": nil,
	})
	s, err := Open(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	image := "file:" + dir + "/bzImage"
	for ref, modules := range map[string]string{
		image: "", image + ",modules=" + dir + "/good": dir + "/good",
		image + ",modules=" + dir + "/installed,config=" + dir + "/config": dir + "/installed/lib/modules/6.12.9",
	} {
		k, err := s.Resolve(t.Context(), ref)
		if err != nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		if k.Release != "6.12.9" || k.Image != dir+"/bzImage" || k.Modules != modules || len(k.Digest) != 64 {
			t.Errorf("%s: %+v", ref, k)
		}
		again, err := s.Resolve(t.Context(), k.Exact)
		if err != nil || again.Digest != k.Digest {
			t.Errorf("%s: %+v, %v; want the same again", k.Exact, again, err)
		}
	}
	for ref, say := range map[string]string{
		image + ",modules=" + dir + "/empty":    "modules unusable: there are none",
		image + ",modules=" + dir + "/other":    "the image is 6.12.9, the module a is for 6.12.8",
		image + ",modules=" + dir + "/wrong":    "the image is 6.12.9, and " + dir + "/wrong/lib/modules has 6.12.7",
		image + ",modules=" + dir + "/bad":      "a.ko: not a kernel module",
		image + ",modules=" + dir + "/missing":  "no such file",
		image + ",modules=" + dir + "/config":   "is not a folder",
		image + ",config=" + dir + "/bzImage":   "bzImage:1: want CONFIG_NAME=value",
		"file:" + dir:                           "is not a regular file",
		"file:" + dir + "/config":               "too few for a kernel",
		"file:" + dir + "/missing,also=missing": "no such file",
	} {
		_, err := s.Resolve(t.Context(), ref)
		if err == nil || !strings.Contains(err.Error(), say) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line that says %q", ref, err, say)
		}
	}
}

func TestAFolderOfModulesIsReadAgainWhenItChanges(t *testing.T) {
	k := madeKernel(t, madeConfig)
	s, err := Open(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	s.Progress = func(string, int64, int64) { read++ }
	resolve := func() Kernel {
		k, err := s.Resolve(t.Context(), k.Exact)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := resolve()
	if read == 0 {
		t.Error("the folder was not read")
	}
	read = 0
	if again := resolve(); read != 0 || again.Digest != first.Digest {
		t.Errorf("unchanged, %d modules were read again; digest %s, want %s", read, again.Digest, first.Digest)
	}
	writeAll(t, k.Modules, map[string][]byte{"kernel/new.ko": madeModule(t, "vermagic=6.12.9 SMP")})
	if again := resolve(); read == 0 || again.Digest == first.Digest {
		t.Errorf("changed, %d modules were read again, and the digest is %s as before", read, again.Digest)
	}
	if _, err := resolve().Closure([]scenarios.Need{{Option: "CONFIG_EXT4_FS", Module: "new"}}); err != nil {
		t.Error(err)
	}
}

func TestAdd(t *testing.T) {
	from := madeKernel(t, madeConfig)
	cache := t.TempDir()
	s, err := Open(t.Context(), cache, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.Add(t.Context(), "mine", from.Image, from.Modules, from.Config)
	if err != nil {
		t.Fatal(err)
	}
	// When the original is gone, the copy still serves.
	if err := os.RemoveAll(filepath.Dir(from.Image)); err != nil {
		t.Fatal(err)
	}
	again, err := s.Resolve(t.Context(), "local:mine")
	if err != nil || again.Digest != k.Digest || again.Release != "6.12.9" || again.Exact != "local:mine" {
		t.Errorf("%+v, %v; want %+v", again, err, k)
	}
	got, err := again.Closure([]scenarios.Need{{Option: "CONFIG_EXT4_FS", Module: "ext4"}})
	if err != nil || len(got) != 4 {
		t.Errorf("closure %v, %v", load(got), err)
	}
	other := madeKernel(t, "")
	if _, err := s.Add(t.Context(), "mine", other.Image, "", ""); err == nil || !strings.Contains(err.Error(), "there is one of this name") {
		t.Errorf("a name that is taken: %v", err)
	}
	for name, call := range map[string]func() (Kernel, error){
		"a bad name":   func() (Kernel, error) { return s.Add(t.Context(), "../mine", other.Image, "", "") },
		"no kernel":    func() (Kernel, error) { return s.Add(t.Context(), "x", other.Index, "", "") },
		"no modules":   func() (Kernel, error) { return s.Add(t.Context(), "x", other.Image, t.TempDir(), "") },
		"no config":    func() (Kernel, error) { return s.Add(t.Context(), "x", other.Image, "", other.Image) },
		"config a dir": func() (Kernel, error) { return s.Add(t.Context(), "x", other.Image, "", t.TempDir()) },
	} {
		if k, err := call(); err == nil {
			t.Errorf("%s: %+v", name, k)
		}
	}
	if _, err := s.Resolve(t.Context(), "local:yours"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "it has local:mine") {
		t.Errorf("a name that is not there: %v", err)
	}
	if err := s.Remove(t.Context(), "local:mine"); err != nil {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(cache, "kernels", ".[no]*-*"))
	if all, listErr := s.List(); err != nil || listErr != nil || all != nil || left != nil {
		t.Errorf("left behind: %v %v %v %v", all, left, err, listErr)
	}
}

type builder func(GitRef) (Kernel, error)

func (b builder) Build(_ context.Context, ref GitRef) (Kernel, error) { return b(ref) }

func TestGitKernelsComeFromTheBuilder(t *testing.T) {
	s, err := Open(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resolve(t.Context(), "git:/src/linux@v6.18"); err == nil || !strings.Contains(err.Error(), "builds kernels from git") {
		t.Errorf("without a builder: %v", err)
	}
	s.Builder = builder(func(ref GitRef) (Kernel, error) { return Kernel{Release: ref.Repo + " " + ref.Rev}, nil })
	k, err := s.Resolve(t.Context(), "git:/src/linux@v6.18")
	if err != nil || k.Release != "/src/linux v6.18" || k.Ref != "git:/src/linux@v6.18" {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestKernelIsAPlainValue(t *testing.T) {
	k := madeKernel(t, madeConfig)
	data, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	var again Kernel
	if err := json.Unmarshal(data, &again); err != nil || again != k {
		t.Errorf("%+v, %v; want %+v", again, err, k)
	}
}

func TestNoAptIsSaid(t *testing.T) {
	a := debianArchive(t)
	s := a.open()
	s.aptSources = nil
	t.Setenv("PATH", a.dir)
	if _, err := s.Resolve(t.Context(), "debian:newest"); !errors.Is(err, debian.ErrNoApt) {
		t.Errorf("error %v, want debian.ErrNoApt", err)
	}
}

func BenchmarkResolveCached(b *testing.B) {
	s := debianArchive(b).open()
	for b.Loop() {
		if _, err := s.Resolve(b.Context(), "debian:6.18"); err != nil {
			b.Fatal(err)
		}
	}
}

func TestListsWithoutAKernelAreNoAnswer(t *testing.T) {
	// Given a kernel in the cache, and lists that no longer name any,
	a := debianArchive(t)
	k, err := a.open().Resolve(t.Context(), "debian:newest")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(a.cache, "apt")); err != nil {
		t.Fatal(err)
	}
	a.sources = newArchive(t, meta(t, "something-else", "1", "trixie", "libc6")).sources

	for range 2 { // as what is remembered, too
		// when it is asked for, then it is there,
		got, err := a.open().Resolve(t.Context(), "debian:newest")
		if err != nil || got.Digest != k.Digest {
			t.Errorf("got %+v, %v; want the cached kernel", got, err)
		}
		// and for another the reason is given.
		if _, err := a.open().Resolve(t.Context(), "debian:5.10"); !errors.Is(err, errNoKernels) {
			t.Errorf("debian:5.10: %v, want %v", err, errNoKernels)
		}
	}
}
