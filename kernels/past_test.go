package kernels

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/blockrig/blockrig/kernels/internal/archivetest"
)

// A past is an archive as it was in 2020, served over HTTP, beside one of now.
type past struct {
	*archive
	folder string       // of the archive that was
	asked  atomic.Int64 // requests for it
}

func newPast(t *testing.T, live, old signingKey) *past {
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
	signedArchive(t, p.folder, old, time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		whole(t, "6.18.9+deb13-amd64", "6.18.9-1~bpo13+1", "trixie-backports"), whole(t, "6.17.13+deb13-amd64", "6.17.13-1~bpo13+1", "trixie-backports"))
	signedArchive(t, filepath.Join(p.dir, "debian"), live, time.Now(),
		whole(t, "6.18.9+deb13-amd64", "6.18.9-1~bpo13+1", "trixie-backports"), split(t, "7.2.12+deb14-amd64", "7.2.12-1", "sid"))
	p.sources = live.sources(t, server.URL+"/debian")
	return p
}

func TestAnArchiveOfThePastHasWhatNoSuiteHas(t *testing.T) {
	key := newKey(t)
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
	key := newKey(t)
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
				old = newKey(t)
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
	key := newKey(t)
	p := newPast(t, key, key)
	signedArchive(t, filepath.Join(p.dir, "debian"), key, time.Now().Add(-30*24*time.Hour), whole(t, "6.18.9+deb13-amd64", "6.18.9-1~bpo13+1", "sid"))
	p.sources = key.sources(t, "copy:"+filepath.Join(p.dir, "debian"))
	if k, err := p.open().Resolve(t.Context(), "debian:6.18.9"); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("a suite that is no longer valid gives %+v, %v", k, err)
	}
}

func TestAKernelThatItsMirrorNoLongerHasComesFromThePast(t *testing.T) {
	key := newKey(t)
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
	signedArchive(t, filepath.Join(p.dir, "debian"), key, time.Now(),
		split(t, "7.2.12+deb14-amd64", "7.2.12-1", "sid"), whole(t, "6.18.12+deb13-amd64", "6.18.12-1~bpo13+1", "trixie-backports"))
	// when it is asked for, then it comes from the past.
	k, err := p.open().Resolve(t.Context(), "debian:6.18.9")
	if err != nil || k.Release != "6.18.9+deb13-amd64" || p.asked.Load() == 0 {
		t.Errorf("%+v, %v; the past was asked %d times", k, err, p.asked.Load())
	}
}

// A signingKey signs archives.
type signingKey struct {
	file   string // for Signed-By
	entity *openpgp.Entity
}

func newKey(t *testing.T) signingKey {
	t.Helper()
	made := func() time.Time { return time.Now().Add(-20 * 365 * 24 * time.Hour) }
	entity, err := openpgp.NewEntity("archive", "", "nobody@example.org", &packet.Config{Time: made, RSABits: 2048})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := entity.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	k := signingKey{filepath.Join(t.TempDir(), "key.gpg"), entity}
	writeAll(t, filepath.Dir(k.file), map[string][]byte{"key.gpg": b.Bytes()})
	return k
}

// sources are apt sources of what the key signed.
func (k signingKey) sources(t *testing.T, uri string) string {
	t.Helper()
	dir := t.TempDir()
	writeAll(t, dir, map[string][]byte{"debian.sources": []byte("Types: deb\nURIs: " + uri + "\nSuites: stable\nComponents: main\nSigned-By: " + k.file + "\n")})
	return filepath.Join(dir, "debian.sources")
}

var dateRE = regexp.MustCompile("(?m)^Date: .*$")

// signedArchive puts an archive into the folder base, signed at a time and
// valid for a week.
func signedArchive(t *testing.T, base string, key signingKey, at time.Time, packages ...[]archivetest.Package) {
	t.Helper()
	dir := t.TempDir()
	archivetest.Archive(t, dir, slices.Concat(packages...)...)
	releases, err := filepath.Glob(filepath.Join(dir, "debian/dists/*/Release"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range releases {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		dates := "Date: " + at.UTC().Format(time.RFC1123) + "\nValid-Until: " + at.Add(7*24*time.Hour).UTC().Format(time.RFC1123)
		var b bytes.Buffer
		w, err := clearsign.Encode(&b, key.entity.PrivateKey, &packet.Config{Time: func() time.Time { return at }})
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write(dateRE.ReplaceAll(text, []byte(dates)))
		if err := errors.Join(err, w.Close(), os.Remove(file)); err != nil {
			t.Fatal(err)
		}
		writeAll(t, filepath.Dir(file), map[string][]byte{"InRelease": b.Bytes()})
	}
	err = errors.Join(os.RemoveAll(base), os.MkdirAll(filepath.Dir(base), 0o755), os.Rename(filepath.Join(dir, "debian"), base))
	if err != nil {
		t.Fatal(err)
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
