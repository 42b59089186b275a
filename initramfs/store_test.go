package initramfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/blockrig/blockrig/harness/cachedir"
)

// things is a folder of the cache for a test's members.
func things(t *testing.T, b *Builder) *cachedir.Dir {
	t.Helper()
	d, err := b.dir("things", 4)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAMemberIsMadeOnce(t *testing.T) {
	b := &Builder{Cache: t.TempDir()}
	var made atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			m, err := b.ensure(t.Context(), things(t, b), "key", func(_ context.Context, w archiveWriter) error {
				made.Add(1)
				w.m.Sources = []string{"source"}
				_, err := io.WriteString(w, "content")
				return err
			})
			if err != nil || m.Bytes != 7 || m.Digest != hexSum([]byte("content")) || !slices.Equal(m.Sources, []string{"source"}) {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
	wg.Wait()
	if n := made.Load(); n != 1 {
		t.Errorf("it was made %d times", n)
	}
}

func TestADamagedMemberIsMadeAgain(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"shorter":          func(dir string) error { return os.Truncate(filepath.Join(dir, archiveFile), 3) },
		"gone":             func(dir string) error { return os.Remove(filepath.Join(dir, archiveFile)) },
		"changed":          func(dir string) error { return os.WriteFile(filepath.Join(dir, archiveFile), []byte("cantent"), 0o644) },
		"without a record": func(dir string) error { return os.Remove(filepath.Join(dir, recordFile)) },
		"a broken record":  func(dir string) error { return os.WriteFile(filepath.Join(dir, recordFile), []byte("{"), 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			b := &Builder{Cache: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))}
			make := func() member {
				m, err := b.ensure(t.Context(), things(t, b), "key", func(_ context.Context, w archiveWriter) error {
					_, err := io.WriteString(w, "content")
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			if err := spoil(filepath.Dir(make().path)); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(make().path)
			if err != nil || string(data) != "content" {
				t.Errorf("%q, %v", data, err)
			}
			if n := strings.Count(log.String(), "is made again"); n != 1 {
				t.Errorf("said %d times, want once: %s", n, &log)
			}
		})
	}
}

func TestAMemberOfTheHostsFilesIsMadeAgainWhenTheyChange(t *testing.T) {
	b, file := &Builder{Cache: t.TempDir()}, filepath.Join(t.TempDir(), "tool")
	made := 0
	for _, version := range []string{"1", "1", "1.1"} {
		if old, _ := os.ReadFile(file); string(old) != version {
			if err := os.WriteFile(file, []byte(version), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		m, err := b.ensure(t.Context(), things(t, b), "key", func(_ context.Context, w archiveWriter) error {
			made++
			id, err := statID(file)
			w.m.Seen = map[string]fileID{file: id}
			_, werr := io.WriteString(w, version)
			return errors.Join(err, werr)
		})
		if err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(m.path); err != nil || string(data) != version {
			t.Errorf("%q, %v; want that of version %s", data, err, version)
		}
	}
	if made != 2 {
		t.Errorf("made %d times, want once for each version", made)
	}
}

// Given a member that another process has replaced since it was found, when an
// image is made of it, then the image doesn't get the other one's content.
func TestAMemberThatWasReplacedIsNotTaken(t *testing.T) {
	b := &Builder{Cache: t.TempDir()}
	m, err := b.ensure(t.Context(), things(t, b), "key", func(_ context.Context, w archiveWriter) error {
		_, err := io.WriteString(w, "ours")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if err := m.appendTo(&got); err != nil || got.String() != "ours" {
		t.Fatalf("%q, %v", got.String(), err)
	}
	for what, replace := range map[string]func() error{
		"other content": func() error {
			return errors.Join(os.RemoveAll(m.path), os.WriteFile(m.path, []byte("its"), 0o644))
		},
		"nothing": func() error { return os.RemoveAll(m.path) },
	} {
		if err := replace(); err != nil {
			t.Fatal(err)
		}
		if err := m.appendTo(io.Discard); !errors.Is(err, errReplaced) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAFailureLeavesNoMember(t *testing.T) {
	b := &Builder{Cache: t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := b.ensure(ctx, things(t, b), "key", func(_ context.Context, w archiveWriter) error {
		cancel() // Ctrl-C in the midst of it
		_, err := io.WriteString(w, "content")
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := list(t, things(t, b).Path()); len(got) > 0 {
		t.Errorf("there is %q", got)
	}
}

// list gives what is in a folder but for its lock.
func list(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".lock") {
			names = append(names, e.Name())
		}
	}
	return names
}
