package initramfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestAFileAppearsWholeOrNotAtAll(t *testing.T) {
	s := store{dir: t.TempDir()}
	broken := errors.New("no more input")
	err := s.create("x", func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if left := list(t, s.dir); len(left) > 0 {
		t.Errorf("%q stayed behind", left)
	}
}

func TestTheLocksHolderSweepsWhatADeadProcessLeft(t *testing.T) {
	s := store{dir: t.TempDir()}
	for _, name := range []string{tempPrefix + "1/deep", "kept"} {
		if err := os.MkdirAll(s.path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	unlock, err := s.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := list(t, s.dir); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("there is %q", got)
	}
	// And a second one waits, for as long as its context lets it.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second holder: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	unlock, err = s.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
}

func TestAMemberIsMadeOnce(t *testing.T) {
	b := &Builder{Cache: t.TempDir()}
	s, err := b.store("things")
	if err != nil {
		t.Fatal(err)
	}
	var made atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			m, err := b.ensure(t.Context(), s, "key", 4, func(w io.Writer) ([]string, error) {
				made.Add(1)
				time.Sleep(20 * time.Millisecond) // long enough that all the others wait
				_, err := io.WriteString(w, "content")
				return []string{"source"}, err
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

func TestAMemberThatIsNotWholeIsMadeAgain(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"shorter":          func(p string) error { return os.Truncate(p+".cpio", 3) },
		"gone":             func(p string) error { return os.Remove(p + ".cpio") },
		"without a record": func(p string) error { return os.Remove(p + ".json") },
		"a broken record":  func(p string) error { return os.WriteFile(p+".json", []byte("{"), 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			b := &Builder{Cache: t.TempDir()}
			s, err := b.store("things")
			if err != nil {
				t.Fatal(err)
			}
			make := func() member {
				m, err := b.ensure(t.Context(), s, "key", 4, func(w io.Writer) ([]string, error) {
					_, err := io.WriteString(w, "content")
					return nil, err
				})
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			make()
			if err := spoil(s.path("key")); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(make().path)
			if err != nil || string(data) != "content" {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
}

func TestAFailureLeavesNoMember(t *testing.T) {
	b := &Builder{Cache: t.TempDir()}
	s, err := b.store("things")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = b.ensure(ctx, s, "key", 4, func(w io.Writer) ([]string, error) {
		cancel() // Ctrl-C in the midst of it
		_, err := io.WriteString(w, "content")
		return nil, err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := list(t, s.dir); len(got) > 0 {
		t.Errorf("there is %q", got)
	}
}

func TestOnlyTheLastUsedFilesAreKept(t *testing.T) {
	s := store{dir: t.TempDir()}
	for i := range 6 {
		for _, suffix := range []string{".cpio", ".json"} {
			name := s.path(fmt.Sprint(i, suffix))
			if err := os.WriteFile(name, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			// The higher the number the longer ago; 0 to 2 within the hour.
			at := time.Now().Add(-25 * time.Minute * time.Duration(i))
			if err := os.Chtimes(name, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.use("5.cpio"); err != nil {
		t.Fatal(err)
	}
	if err := s.keep(2, ".cpio"); err != nil {
		t.Fatal(err)
	}
	want := []string{"0.cpio", "0.json", "1.cpio", "1.json", "2.cpio", "2.json", "5.cpio", "5.json"}
	if got := list(t, s.dir); !slices.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
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
		if e.Name() != ".lock" {
			names = append(names, e.Name())
		}
	}
	return names
}
