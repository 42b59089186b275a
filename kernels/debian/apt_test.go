package debian

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/kernels/internal/archivetest"
)

// These tests run the real apt on a small archive in a folder.

func pkg(t *testing.T, name, version, suite, fields string) archivetest.Package {
	t.Helper()
	return archivetest.Package{
		Name: name, Version: version, Suite: suite, Fields: fields,
		Deb: archivetest.Deb(t, ".gz", archivetest.Entry{Name: "./usr/share/" + name, Text: version}),
	}
}

func openApt(t *testing.T, dir, sources string, suites ...string) *Apt {
	t.Helper()
	a, err := Open(t.Context(), Config{CacheDir: filepath.Join(dir, "cache"), Suites: suites, Sources: []string{sources}, Wanted: ".*"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// find gives the newest package of that name.
func find(t *testing.T, a *Apt, name string) Package {
	t.Helper()
	all, err := a.Packages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range slices.Backward(all) {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("there is no package %s in %v", name, names(all))
	return Package{}
}

func names(pkgs []Package) []string {
	var all []string
	for _, p := range pkgs {
		all = append(all, p.Name+" "+p.Version+" "+p.Suite)
	}
	return all
}

func TestPackagesAreOrderedByNameAndVersion(t *testing.T) {
	dir := t.TempDir()
	sources := archivetest.Archive(t, dir,
		pkg(t, "linux-b", "6.9-1", "sid", ""), pkg(t, "linux-b", "6.10-1", "trixie", ""), pkg(t, "linux-b", "6.10~rc1-1", "sid", ""),
		pkg(t, "linux-a", "1-1", "sid", ""), pkg(t, "linux-a", "1-1", "trixie", ""), pkg(t, "linux-abc", "1-1", "trixie", ""))
	a, err := Open(t.Context(), Config{CacheDir: filepath.Join(dir, "cache"), Suites: []string{"trixie", "sid"}, Sources: []string{sources}, Wanted: "linux-[ab]"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := a.Known(t.Context()); err != nil || got != nil {
		t.Errorf("before an update %v, %v are known; want none", names(got), err)
	}
	want := []string{"linux-a 1-1 trixie", "linux-a 1-1 sid", "linux-b 6.9-1 sid", "linux-b 6.10~rc1-1 sid", "linux-b 6.10-1 trixie"}
	for _, look := range []func(context.Context) ([]Package, error){a.Packages, a.Known} {
		got, err := look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, names(got)); diff != "" {
			t.Errorf("packages (-want +got):\n%s", diff)
		}
	}
}

// age makes the lists older.
func age(t *testing.T, a *Apt, by time.Duration) {
	t.Helper()
	keys, err := a.lists.Keys()
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	at, err := time.Parse(keyFormat, keys[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(a.lists.Path(), keys[0]), filepath.Join(a.lists.Path(), at.Add(-by).Format(keyFormat))); err != nil {
		t.Fatal(err)
	}
}

func TestOldListsAreUpdatedOnce(t *testing.T) {
	dir := t.TempDir()
	sources := archivetest.Archive(t, dir, pkg(t, "tool", "1-1", "sid", ""))
	a := openApt(t, dir, sources, "sid")
	find(t, a, "tool")
	archivetest.Archive(t, dir, pkg(t, "tool", "2-1", "sid", ""))
	// Given lists that are young, then they are used;
	if p := find(t, openApt(t, dir, sources, "sid"), "tool"); p.Version != "1-1" {
		t.Errorf("young lists were updated: %v", p)
	}
	// old ones are updated, once in a process.
	age(t, a, 13*time.Hour)
	if p := find(t, a, "tool"); p.Version != "1-1" {
		t.Errorf("the same Apt updates twice: %v", p)
	}
	a = openApt(t, dir, sources, "sid")
	if p := find(t, a, "tool"); p.Version != "2-1" {
		t.Errorf("old lists were not updated: %v", p)
	}
	if keys, err := a.lists.Keys(); err != nil || len(keys) != 1 {
		t.Errorf("%v, %v are kept; want one set of lists", keys, err)
	}
}

func TestOldListsServeWhenTheArchiveIsAway(t *testing.T) {
	dir := t.TempDir()
	sources := archivetest.Archive(t, dir, pkg(t, "tool", "1-1", "sid", ""))
	a := openApt(t, dir, sources, "sid")
	if err := a.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "debian")); err != nil {
		t.Fatal(err)
	}
	age(t, a, 1000*time.Hour)
	find(t, openApt(t, dir, sources, "sid"), "tool")
	if err := a.Update(t.Context()); err == nil {
		t.Error("Update succeeds though the archive is away")
	}
}

// Whatever happens to the lists, they are made anew and the package is fetched.
func TestRottenListsAreMadeAnew(t *testing.T) {
	files := []string{"apt.conf", "status", "packages.json", "sources/00.sources", "lists/*_Packages", "lists/*Release", "."}
	for name, spoil := range map[string]func(path string) error{
		"cut":     func(path string) error { return os.Truncate(path, 10) },
		"empty":   func(path string) error { return os.Truncate(path, 0) },
		"flipped": flip,
		"gone":    os.RemoveAll,
		"a folder": func(path string) error {
			return errors.Join(os.RemoveAll(path), os.MkdirAll(filepath.Join(path, "x"), 0o755))
		},
		"a link": func(path string) error { return errors.Join(os.RemoveAll(path), os.Symlink("/etc/passwd", path)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sources := archivetest.Archive(t, dir, pkg(t, "tool", "1-1", "sid", ""))
			if err := openApt(t, dir, sources, "sid").Update(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				a := openApt(t, dir, sources, "sid")
				paths, err := filepath.Glob(filepath.Join(a.lists.Path(), "2*", file))
				if err != nil || len(paths) != 1 {
					t.Fatalf("%s: %v, %v", file, paths, err)
				}
				if info, err := os.Stat(paths[0]); err != nil || info.Mode().IsRegular() && info.Size() == 0 || info.IsDir() && name != "gone" && name[:2] != "a " {
					continue // can't be cut
				}
				if err := spoil(paths[0]); err != nil {
					t.Fatal(err)
				}
				if _, err := a.Download(t.Context(), t.TempDir(), find(t, a, "tool")); err != nil {
					t.Errorf("%s %s: %v", file, name, err)
				}
				if _, err := a.Depends(t.Context(), "sid", "tool"); err != nil {
					t.Errorf("%s %s: %v", file, name, err)
				}
			}
		})
	}
}

func flip(path string) error {
	data, err := os.ReadFile(path)
	if err == nil && len(data) > 0 {
		data[len(data)/2] ^= 4
		err = os.WriteFile(path, data, 0o644)
	}
	return err
}

func TestASuiteThatIsGoneIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	sources := archivetest.Archive(t, dir, pkg(t, "tool", "1-1", "sid", ""))
	a := openApt(t, dir, sources, "sid", "buster-backports")
	find(t, a, "tool")
	// So is one that was there before.
	archivetest.Archive(t, dir, pkg(t, "tool", "1-1", "sid", ""), pkg(t, "tool", "2-1", "buster-backports", ""))
	if err := a.Update(t.Context()); err != nil || find(t, a, "tool").Version != "2-1" {
		t.Fatal(err)
	}
	archivetest.Archive(t, dir, pkg(t, "tool", "1-1", "sid", ""))
	if err := a.Update(t.Context()); err != nil || find(t, a, "tool").Version != "1-1" {
		t.Error(err)
	}
	b := openApt(t, dir, sources, "buster-backports")
	if _, err := b.Packages(t.Context()); err == nil {
		t.Error("no error though no suite can be had")
	}
}

// Given a mirror that for a while does not answer for one suite, when the lists
// are updated, then that suite keeps the list that there was, and the next
// process asks again; without an older list it is left out until then. Only
// the mirror's word that it has no such suite takes it away.
func TestASuiteOutOfOrderKeepsItsList(t *testing.T) {
	for _, test := range []struct {
		status int
		what   string // fails: a part of the URL
		keeps  bool
	}{
		{http.StatusServiceUnavailable, "/trixie/", true},
		{http.StatusForbidden, "/trixie/", true},
		{http.StatusNotFound, "/trixie/main/", true}, // a mirror that is being filled
		{http.StatusNotFound, "/trixie/", false},
	} {
		t.Run(fmt.Sprint(test.status, test.what), func(t *testing.T) {
			dir := t.TempDir()
			archivetest.Archive(t, dir, pkg(t, "tool", "1-1", "sid", ""), pkg(t, "tool", "2-1", "trixie", ""))
			past := time.Now().Add(-time.Hour) // apt asks for what is newer, by the second
			releases, err := filepath.Glob(filepath.Join(dir, "debian/dists/*/Release"))
			if err != nil || len(releases) != 2 {
				t.Fatal(releases, err)
			}
			for _, file := range releases {
				if err := os.Chtimes(file, past, past); err != nil {
					t.Fatal(err)
				}
			}
			files := http.FileServer(http.Dir(dir))
			var out atomic.Bool
			mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if out.Load() && strings.Contains(r.URL.Path, test.what) {
					w.WriteHeader(test.status)
				} else {
					files.ServeHTTP(w, r)
				}
			}))
			defer mirror.Close()
			sources := filepath.Join(dir, "debian.list")
			if err := os.WriteFile(sources, []byte("deb [trusted=yes] "+mirror.URL+"/debian stable main\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			var log safeBuffer
			newest := func(cache string) string {
				t.Helper()
				a, err := Open(t.Context(), Config{CacheDir: cache, Suites: []string{"sid", "trixie"}, Sources: []string{sources}, Wanted: "tool", Log: slog.New(slog.NewTextHandler(&log, nil))})
				if err != nil {
					t.Fatal(err)
				}
				return find(t, a, "tool").Version
			}
			a := filepath.Join(dir, "a")
			if got := newest(a); got != "2-1" {
				t.Fatalf("got %s", got)
			}
			archivetest.Archive(t, dir, pkg(t, "tool", "1-2", "sid", ""), pkg(t, "tool", "2-2", "trixie", ""))
			out.Store(true)
			sets, err := filepath.Glob(filepath.Join(a, "*", "2*"))
			if err != nil || len(sets) != 1 {
				t.Fatal(sets, err)
			}
			if err := os.Rename(sets[0], filepath.Join(filepath.Dir(sets[0]), "20200101T000000.000Z")); err != nil {
				t.Fatal(err)
			}
			want, wantNew := "1-2", "1-2"
			if test.keeps {
				want = "2-1"
			}
			if got := newest(a); got != want {
				t.Errorf("while it is out of order: %s, want %s", got, want)
			}
			if got := newest(filepath.Join(dir, "b")); got != wantNew {
				t.Errorf("in a new cache: %s, want %s", got, wantNew)
			}
			if !strings.Contains(log.String(), "suite=trixie") {
				t.Errorf("it is not said: %s", log.String())
			}
			out.Store(false)
			if test.keeps {
				want, wantNew = "2-2", "2-2"
			}
			if got := newest(a); got != want {
				t.Errorf("after that: %s, want %s", got, want)
			}
			if got := newest(filepath.Join(dir, "b")); got != wantNew {
				t.Errorf("after that, in the new cache: %s, want %s", got, wantNew)
			}
		})
	}
}

func TestDownloadChecksTheDigest(t *testing.T) {
	dir := t.TempDir()
	bad := pkg(t, "bad", "1-1", "sid", "")
	bad.WrongDigest = true
	gone := pkg(t, "gone", "1-1", "sid", "")
	gone.Gone = true
	sources := archivetest.Archive(t, dir, pkg(t, "good", "1:1-1", "sid", ""), pkg(t, "other", "2-1", "trixie", ""), bad, gone)
	a := openApt(t, dir, sources, "sid", "trixie")

	into := t.TempDir()
	debs, err := a.Download(t.Context(), into, find(t, a, "good"), find(t, a, "other"))
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, deb := range debs {
		if err := Extract(deb, root, nil); err != nil {
			t.Error(err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(into, "*")); err != nil || !slices.Equal(left, debs) {
		t.Errorf("there is %v, %v; want %v", left, err, debs)
	}
	for _, name := range []string{"bad", "gone"} {
		if debs, err := a.Download(t.Context(), t.TempDir(), find(t, a, name)); !errors.Is(err, ErrDownload) {
			t.Errorf("%s: got %s, %v; want ErrDownload", name, debs, err)
		}
	}
}

func TestUpdatesAtOnceUpdateOnce(t *testing.T) {
	dir := t.TempDir()
	sources := archivetest.Archive(t, dir, pkg(t, "tool", "1-1", "sid", ""))
	var log safeBuffer
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			a, err := Open(t.Context(), Config{
				CacheDir: filepath.Join(dir, "cache"), Suites: []string{"sid"}, Sources: []string{sources}, Log: slog.New(slog.NewTextHandler(&log, nil)),
			})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := a.Depends(t.Context(), "sid", "tool"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := strings.Count(log.String(), "updating package lists"); n != 1 {
		t.Errorf("updated %d times, want once", n)
	}
}

type safeBuffer struct {
	mu sync.Mutex
	strings.Builder
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}

func TestDependsGivesAllThatIsNeeded(t *testing.T) {
	dir := t.TempDir()
	sources := archivetest.Archive(t, dir,
		pkg(t, "tool", "1-1", "sid", "Depends: libb (>= 2), gone-alt | liba, virtual, ring1\nPre-Depends: libc:any\nRecommends: never\n"),
		pkg(t, "liba", "1-1", "sid", "Depends: libc (>= 1)\n"), pkg(t, "libb", "1-1", "trixie", ""), pkg(t, "libb", "2:2-1", "sid", "Depends: libc\n"),
		pkg(t, "libc", "1-1", "sid", "Multi-Arch: allowed\n"), pkg(t, "never", "1-1", "sid", ""), pkg(t, "essential", "1-1", "sid", "Essential: yes\n"),
		pkg(t, "real1", "1-1", "sid", "Provides: virtual (= 1), other\n"),
		pkg(t, "ring1", "1-1", "sid", "Depends: ring2\n"), pkg(t, "ring2", "1-1", "sid", "Depends: ring1\n"),
		pkg(t, "broken", "1-1", "sid", "Depends: missing (= 3) | absent\n"))
	a := openApt(t, dir, sources, "sid", "trixie")
	got, err := a.Depends(t.Context(), "sid", "tool")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"liba 1-1 sid", "libb 2:2-1 sid", "libc 1-1 sid", "real1 1-1 sid", "ring1 1-1 sid", "ring2 1-1 sid", "tool 1-1 sid"}
	found := names(got)
	slices.Sort(found)
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	if _, err := a.Depends(t.Context(), "trixie", "tool"); err == nil || !strings.Contains(err.Error(), "Unable to locate package tool") {
		t.Errorf("it is not in trixie, error: %v", err)
	}
	if _, err := a.Depends(t.Context(), "sid", "broken"); err == nil {
		t.Error("a dependency is missing: no error")
	}
}

func TestHooksOfTheMachineDoNotRun(t *testing.T) {
	dir := t.TempDir()
	sources := archivetest.Archive(t, dir, pkg(t, "tool", "1-1", "sid", ""))
	hooked := filepath.Join(dir, "hooked")
	conf := filepath.Join(dir, "machine.conf")
	text := `APT::Update::Post-Invoke { "touch ` + hooked + `"; }; APT::Update::Pre-Invoke { "touch ` + hooked + `"; };
APT::Update::Post-Invoke-Success { "touch ` + hooked + `"; }; APT::Architecture "arm64"; APT::Architectures { "arm64"; };`
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("APT_CONFIG", conf)
	find(t, openApt(t, dir, sources, "sid"), "tool")
	if _, err := os.Stat(hooked); err == nil {
		t.Error("a hook of the machine ran")
	}
}

func TestProxiesOfTheMachineAreUsed(t *testing.T) {
	dir := t.TempDir()
	archivetest.Archive(t, dir, pkg(t, "tool", "1-1", "sid", ""))
	var hosts sync.Map
	files := http.FileServer(http.Dir(dir))
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts.Store(r.Host, true)
		files.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	// Given a machine whose apt has a proxy, for a mirror only that can reach,
	conf, sources := filepath.Join(dir, "machine.conf"), filepath.Join(dir, "debian.list")
	for file, text := range map[string]string{
		conf:    `Acquire::http::Proxy "` + proxy.URL + `";`,
		sources: "deb [trusted=yes] http://mirror.example/debian stable main\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("APT_CONFIG", conf)
	// then lists and packages come through it.
	a := openApt(t, dir, sources, "sid")
	if _, err := a.Download(t.Context(), t.TempDir(), find(t, a, "tool")); err != nil {
		t.Error(err)
	}
	if _, ok := hosts.Load("mirror.example"); !ok {
		t.Error("the proxy was not asked")
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	sources := filepath.Join(dir, "none.list")
	if err := os.WriteFile(sources, []byte("deb http://mirror.example/ubuntu noble main\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{
		"no suite":         {},
		"a hostile suite":  {Suites: []string{"sid\nTrusted: yes"}},
		"a hostile mirror": {Suites: []string{"sid"}, Mirror: "http://m\nTrusted: yes"},
		"a hostile time":   {Suites: []string{"sid"}, At: "2026\nTrusted: yes"},
	} {
		if _, err := Open(t.Context(), cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	_, err := Open(t.Context(), Config{CacheDir: dir, Suites: []string{"sid"}, Sources: []string{sources}})
	if !errors.Is(err, ErrNoMirror) || !strings.Contains(err.Error(), sources) {
		t.Errorf("no Debian mirror: error %v, want ErrNoMirror that names %s", err, sources)
	}
	t.Setenv("PATH", dir)
	if _, err := Open(t.Context(), Config{CacheDir: dir, Suites: []string{"sid"}}); !errors.Is(err, ErrNoApt) {
		t.Errorf("no apt: error %v, want ErrNoApt", err)
	}
}

func TestCancelEndsApt(t *testing.T) {
	dir := t.TempDir()
	sources := archivetest.Archive(t, dir, pkg(t, "tool", "1-1", "sid", ""))
	a := openApt(t, dir, sources, "sid")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Update(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestAnyFolderServes(t *testing.T) {
	for _, name := range []string{"a b", `q"uote`, "semi;colon", "{brace}", `back\slash`, "a[b", "ünï", "$(x)", "100%41"} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		sources := archivetest.Archive(t, t.TempDir(), pkg(t, "tool", "1-1", "sid", ""))
		a := openApt(t, dir, sources, "sid")
		if _, err := a.Download(t.Context(), dir, find(t, a, "tool")); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
