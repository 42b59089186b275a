package debian

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

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

func open(t *testing.T, dir, sources string, suites ...string) *Apt {
	t.Helper()
	a, err := Open(t.Context(), Config{CacheDir: filepath.Join(dir, "cache"), Suites: suites, Sources: []string{sources}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func names(pkgs []Package) []string {
	var all []string
	for _, p := range pkgs {
		all = append(all, p.Name+" "+p.Version+" "+p.Suite)
	}
	return all
}

func TestSearchOrdersByNameAndVersion(t *testing.T) {
	dir := t.TempDir()
	sources := archivetest.Archive(t, dir,
		pkg(t, "linux-b", "6.9-1", "sid", ""), pkg(t, "linux-b", "6.10-1", "trixie", ""), pkg(t, "linux-b", "6.10~rc1-1", "sid", ""),
		pkg(t, "linux-a", "1-1", "sid", ""), pkg(t, "linux-a", "1-1", "trixie", ""), pkg(t, "linux-abc", "1-1", "trixie", ""))
	a := open(t, dir, sources, "trixie", "sid")
	got, err := a.Search(t.Context(), "linux-[ab]")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"linux-a 1-1 trixie", "linux-a 1-1 sid", "linux-b 6.9-1 sid", "linux-b 6.10~rc1-1 sid", "linux-b 6.10-1 trixie"}
	if diff := cmp.Diff(want, names(got)); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}

func TestFindUpdatesOnceWhenMissing(t *testing.T) {
	dir := t.TempDir()
	sources := archivetest.Archive(t, dir, pkg(t, "tool", "1-1", "sid", ""))
	a := open(t, dir, sources, "sid")
	if _, err := a.Find(t.Context(), "tool", "", ""); err != nil {
		t.Fatal(err)
	}
	// Given lists an hour old, when the archive has got another version,
	// then that is found, since a miss asks the archive again.
	archivetest.Archive(t, dir, pkg(t, "tool", "2-1", "sid", ""))
	age(t, a)
	if _, err := a.Find(t.Context(), "tool", "2-1", ""); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "there is 1-1 in sid") {
		t.Errorf("the same Apt updates twice, or does not say what there is: %v", err)
	}
	a = open(t, dir, sources, "sid")
	if _, err := a.Find(t.Context(), "tool", "2-1", "sid"); err != nil {
		t.Error(err)
	}
	if _, err := a.Find(t.Context(), "tool", "", "trixie"); err == nil || !strings.Contains(err.Error(), "not among those configured: sid") {
		t.Errorf("a suite that is not configured: %v", err)
	}
}

func age(t *testing.T, a *Apt) {
	t.Helper()
	at, err := a.Updated()
	if err != nil {
		t.Fatal(err)
	}
	at = at.Add(-2 * missAge)
	if err := os.Chtimes(a.stamp(), at, at); err != nil {
		t.Fatal(err)
	}
}

func TestOldListsServeWhenTheArchiveIsAway(t *testing.T) {
	dir := t.TempDir()
	sources := archivetest.Archive(t, dir, pkg(t, "tool", "1-1", "sid", ""))
	if err := open(t, dir, sources, "sid").Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "debian")); err != nil {
		t.Fatal(err)
	}
	a, err := Open(t.Context(), Config{CacheDir: filepath.Join(dir, "cache"), Suites: []string{"sid"}, Sources: []string{sources}, MaxAge: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Find(t.Context(), "tool", "", ""); err != nil {
		t.Error(err)
	}
	if err := a.Update(t.Context()); err == nil {
		t.Error("Update succeeds though the archive is away")
	}
}

func TestASuiteThatIsGoneIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	sources := archivetest.Archive(t, dir, pkg(t, "tool", "1-1", "sid", ""))
	a := open(t, dir, sources, "sid", "buster-backports")
	got, err := a.Search(t.Context(), "tool")
	if err != nil || len(got) != 1 {
		t.Errorf("found %v, %v; want the tool in sid", names(got), err)
	}
	b := open(t, dir, sources, "buster-backports")
	if _, err := b.Search(t.Context(), "tool"); err == nil {
		t.Error("no error though no suite can be had")
	}
}

func TestDownloadChecksTheDigest(t *testing.T) {
	dir := t.TempDir()
	bad := pkg(t, "bad", "1-1", "sid", "")
	bad.WrongDigest = true
	gone := pkg(t, "gone", "1-1", "sid", "")
	gone.Gone = true
	sources := archivetest.Archive(t, dir, pkg(t, "good", "1:1-1", "sid", ""), bad, gone)
	a := open(t, dir, sources, "sid")

	deb, err := a.Download(t.Context(), "good", "", "")
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := Extract(deb, root, nil); err != nil {
		t.Error(err)
	}
	// When the file in the cache is damaged, it is fetched again.
	if err := os.WriteFile(deb, []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	if deb, err = a.Download(t.Context(), "good", "1:1-1", "sid"); err != nil {
		t.Fatal(err)
	}
	if err := Extract(deb, root, nil); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"bad", "gone"} {
		if deb, err := a.Download(t.Context(), name, "", ""); err == nil {
			t.Errorf("%s: got %s", name, deb)
		}
	}
	if err := a.Discard(deb); err != nil {
		t.Error(err)
	}
	if err := a.Discard(sources); err == nil {
		t.Error("Discard removes files that are not its own")
	}
	left, err := filepath.Glob(filepath.Join(a.dir, "debs", "*[^k]"))
	if err != nil || len(left) != 0 {
		t.Errorf("%v, %v are left, want nothing but locks", left, err)
	}
}

func TestDownloadsAtOnceFetchOnce(t *testing.T) {
	dir := t.TempDir()
	sources := archivetest.Archive(t, dir, pkg(t, "tool", "1-1", "sid", ""))
	var fetched sync.Map
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			a, err := Open(t.Context(), Config{CacheDir: filepath.Join(dir, "cache"), Suites: []string{"sid"}, Sources: []string{sources}})
			if err != nil {
				t.Error(err)
				return
			}
			path, err := a.Download(t.Context(), "tool", "", "")
			if err != nil {
				t.Error(err)
				return
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Error(err)
				return
			}
			fetched.Store(info.ModTime(), path)
		})
	}
	group.Wait()
	count := 0
	fetched.Range(func(any, any) bool { count++; return true })
	if count != 1 {
		t.Errorf("fetched %d times, want once", count)
	}
}

func TestDependsComeFirst(t *testing.T) {
	dir := t.TempDir()
	sources := archivetest.Archive(t, dir,
		pkg(t, "tool", "1-1", "sid", "Depends: libb (>= 2), gone-alt | liba, virtual, ring1\nPre-Depends: libc:any\nRecommends: never\n"),
		pkg(t, "liba", "1-1", "sid", "Depends: libc (>= 1)\n"), pkg(t, "libb", "1-1", "sid", ""), pkg(t, "libb", "2-1", "trixie", "Depends: libc\n"),
		pkg(t, "libc", "1-1", "sid", ""), pkg(t, "never", "1-1", "sid", ""),
		pkg(t, "real1", "1-1", "sid", "Provides: virtual (= 1), other\n"), pkg(t, "real2", "1-1", "sid", "Provides: virtual\n"),
		pkg(t, "ring1", "1-1", "sid", "Depends: ring2\n"), pkg(t, "ring2", "1-1", "sid", "Depends: ring1\n"),
		pkg(t, "broken", "1-1", "sid", "Depends: missing (= 3) | absent\n"))
	a := open(t, dir, sources, "sid", "trixie")
	got, err := a.Depends(t.Context(), "", "tool")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"libc 1-1 sid", "libb 2-1 trixie", "liba 1-1 sid", "real1 1-1 sid", "ring2 1-1 sid", "ring1 1-1 sid", "tool 1-1 sid"}
	if diff := cmp.Diff(want, names(got)); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	if _, err := a.Depends(t.Context(), "sid", "tool"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "libb >= 2 (needed by tool)") {
		t.Errorf("libb is too old in sid, error: %v", err)
	}
	if _, err := a.Depends(t.Context(), "", "broken"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "missing = 3 or absent (needed by broken)") {
		t.Errorf("a dependency is missing, error: %v", err)
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
	a := open(t, dir, sources, "sid")
	if _, err := a.Find(t.Context(), "tool", "", ""); err != nil {
		t.Error(err)
	}
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
	if _, err := open(t, dir, sources, "sid").Download(t.Context(), "tool", "", ""); err != nil {
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
		"a hostile folder": {Suites: []string{"sid"}, CacheDir: dir + `/"; Dir "`},
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
	a := open(t, dir, sources, "sid")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Update(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}
