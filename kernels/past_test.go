package kernels

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/blockrig/blockrig/kernels/internal/archivetest"
)

// A past is an archive as it was in 2020, served over HTTP, beside one of now.
type past struct {
	*archive
	folder string       // of the archive that was
	asked  atomic.Int64 // requests for it
}

func newPast(t *testing.T, live, old archivetest.Key) *past {
	t.Helper()
	p := &past{archive: newArchive(t)}
	// Given a machine whose apt minds until when something is valid,
	conf := filepath.Join(p.dir, "machine.conf")
	writeAll(t, p.dir, map[string][]byte{"machine.conf": []byte(`Dir::Etc::parts "/dev/null"; Dir::Etc::main "/dev/null";`)})
	t.Setenv("APT_CONFIG", conf)
	p.folder = filepath.Join(p.dir, "archive/debian/20200101T000000Z")
	files := http.FileServer(http.Dir(p.dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/archive/") {
			p.asked.Add(1)
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	writeAll(t, p.dir, map[string][]byte{"config/blockrig/debian.yaml": []byte(suitesForTests +
		"suites: [{suite: trixie-backports, at: 20200101T000000Z}]\nsnapshot: " + server.URL + "/archive\n")})
	archivetest.SignedArchive(t, p.folder, server.URL, old, time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), append(
		whole(t, "6.18.9+deb13-amd64", "6.18.9-1~bpo13+1", "trixie-backports"),
		whole(t, "6.17.13+deb13-amd64", "6.17.13-1~bpo13+1", "trixie-backports")...)...)
	p.sources = archivetest.SignedArchive(t, filepath.Join(p.dir, "debian"), server.URL+"/debian", live, time.Now(), append(
		whole(t, "6.18.9+deb13-amd64", "6.18.9-1~bpo13+1", "trixie-backports"),
		split(t, "7.2.12+deb14-amd64", "7.2.12-1", "sid")...)...)
	return p
}

func TestAnArchiveOfThePastHasWhatNoSuiteHas(t *testing.T) {
	key := archivetest.NewKey(t)
	p := newPast(t, key, key)
	// When a suite has the kernel, the past is not asked.
	for _, ref := range []string{"debian:newest", "debian:6.18", "debian:6.18.9@trixie-backports", "debian:7.2.12"} {
		if _, err := p.open().Resolve(t.Context(), ref); err != nil || p.asked.Load() != 0 {
			t.Errorf("%s: %v, the past was asked %d times", ref, err, p.asked.Load())
		}
	}
	// When none has it, it comes from there, though that is no longer valid.
	k, err := p.open().Resolve(t.Context(), "debian:6.17")
	if err != nil || k.Release != "6.17.13+deb13-amd64" || p.asked.Load() == 0 {
		t.Fatalf("%+v, %v; the past was asked %d times\n%s", k, err, p.asked.Load(), p.log)
	}
	// Then it is in the cache, as any other.
	p.asked.Store(0)
	for _, ref := range []string{k.Exact, "debian:6.17.13", "debian:6.17@trixie-backports"} {
		if again, err := p.open().Resolve(t.Context(), ref); err != nil || again.Digest != k.Digest || p.asked.Load() != 0 {
			t.Errorf("%s: %+v, %v; the past was asked %d times", ref, again, err, p.asked.Load())
		}
	}
	// What neither has is not found.
	for _, ref := range []string{"debian:6.16", "debian:6.17@sid"} {
		if _, err := p.open().Resolve(t.Context(), ref); err == nil || !strings.Contains(err.Error(), "available: 7.2.12, 6.18.9") {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func TestAnArchiveOfThePastIsVerified(t *testing.T) {
	key := archivetest.NewKey(t)
	for name, spoil := range map[string]func(*past) error{
		"another's signature": func(*past) error { return nil },
		"a changed list": func(p *past) error {
			return flipByte(filepath.Join(p.folder, "dists/trixie-backports/main/binary-amd64/Packages"))
		},
		"a changed release file": func(p *past) error { return flipByte(filepath.Join(p.folder, "dists/trixie-backports/InRelease")) },
		"a changed package": func(p *past) error {
			return flipByte(filepath.Join(p.folder, "pool/linux-image-6.17.13+deb13-amd64_6.17.13-1~bpo13+1_amd64.deb"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			old := key
			if name == "another's signature" {
				old = archivetest.NewKey(t)
			}
			p := newPast(t, key, old)
			if err := spoil(p); err != nil {
				t.Fatal(err)
			}
			k, err := p.open().Resolve(t.Context(), "debian:6.17")
			if err == nil || strings.Contains(err.Error(), "\n") || name != "a changed package" && !strings.Contains(err.Error(), "trixie-backports as of 20200101T000000Z can't be looked into: ") {
				t.Errorf("it gives %+v, %v", k, err)
			}
			if p.asked.Load() == 0 {
				t.Error("it was not even asked")
			}
			// The others are there.
			if _, err := p.open().Resolve(t.Context(), "debian:6.18"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOnlyThePastMayBeOutOfDate(t *testing.T) {
	key := archivetest.NewKey(t)
	p := newPast(t, key, key)
	if err := os.RemoveAll(filepath.Join(p.dir, "debian")); err != nil {
		t.Fatal(err)
	}
	p.sources = archivetest.SignedArchive(t, filepath.Join(p.dir, "debian"), "copy:"+filepath.Join(p.dir, "debian"), key, time.Now().Add(-30*24*time.Hour),
		whole(t, "6.18.9+deb13-amd64", "6.18.9-1~bpo13+1", "sid")...)
	if k, err := p.open().Resolve(t.Context(), "debian:6.18.9"); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("a suite that is no longer valid gives %+v, %v", k, err)
	}
}

func TestAKernelThatItsMirrorNoLongerHasComesFromThePast(t *testing.T) {
	key := archivetest.NewKey(t)
	p := newPast(t, key, key)
	hourAgo := time.Now().Add(-time.Hour) // apt fetches what is newer only, by seconds
	files, err := filepath.Glob(filepath.Join(p.dir, "debian/dists/*/InRelease"))
	for _, file := range files {
		err = errors.Join(err, os.Chtimes(file, hourAgo, hourAgo))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.open().Available(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	// Given lists that name a kernel which is gone since,
	if err := os.RemoveAll(filepath.Join(p.dir, "debian")); err != nil {
		t.Fatal(err)
	}
	archivetest.SignedArchive(t, filepath.Join(p.dir, "debian"), "", key, time.Now(), append(
		split(t, "7.2.12+deb14-amd64", "7.2.12-1", "sid"), whole(t, "6.18.12+deb13-amd64", "6.18.12-1~bpo13+1", "trixie-backports")...)...)
	// when it is asked for, then it comes from the past.
	k, err := p.open().Resolve(t.Context(), "debian:6.18.9")
	if err != nil || k.Release != "6.18.9+deb13-amd64" || p.asked.Load() == 0 {
		t.Errorf("%+v, %v; the past was asked %d times", k, err, p.asked.Load())
	}
}

// flipByte changes a byte in the midst of a file.
func flipByte(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(data) == 0 {
		return nil
	}
	data[len(data)/2] ^= 4
	return os.WriteFile(path, data, 0o644)
}
