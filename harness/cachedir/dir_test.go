package cachedir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// write makes files of these contents; parents are made.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// content is what an entry of the tests holds: a file of several chunks, one
// in a folder, an empty one and a link.
func content(dir string) error {
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "big"), bytes.Repeat([]byte("0123456789abcdef"), 3*chunk/16+100), 0o644),
		os.Mkdir(filepath.Join(dir, "sub"), 0o755),
		os.WriteFile(filepath.Join(dir, "sub", "small"), []byte("small"), 0o644),
		os.WriteFile(filepath.Join(dir, "empty"), nil, 0o644),
		os.Symlink("sub/small", filepath.Join(dir, "link")),
	)
}

// counted counts how often it makes the content.
func counted(n *atomic.Int32) func(context.Context, string) error {
	return func(_ context.Context, dir string) error {
		n.Add(1)
		return content(dir)
	}
}

func get(t testing.TB, d *Dir, key string, make func(context.Context, string) error, files ...string) *Entry {
	t.Helper()
	e, err := d.Get(t.Context(), key, make, files...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() }) // may have been closed before
	return e
}

// names are all names in a folder but that of the root's lock.
func names(t testing.TB, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != rootName {
			out = append(out, e.Name())
		}
	}
	return out
}

func TestAnEntryIsMadeOnceAndFoundByLaterProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	var made atomic.Int32
	for range 3 { // each a Dir of its own, as another process has
		e := get(t, New(dir, Options{}), "k", counted(&made))
		if text, err := os.ReadFile(filepath.Join(e.Path(), "link")); err != nil || string(text) != "small" {
			t.Errorf("got %q, %v", text, err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	if made.Load() != 1 {
		t.Errorf("made %d times, want once", made.Load())
	}
	if got := names(t, dir); !slices.Equal(got, []string{"k"}) {
		t.Errorf("left %q", got)
	}
}

func TestManyWhoWantAnEntryMakeItOnce(t *testing.T) {
	dir := t.TempDir()
	var made atomic.Int32
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			e, err := New(dir, Options{}).Get(t.Context(), "k", counted(&made))
			if err == nil {
				err = errors.Join(e.Verify(t.Context()), e.Close())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times, want once", made.Load())
	}
}

func TestAnEntryThatCouldNotBeMadeLeavesNothing(t *testing.T) {
	d := New(t.TempDir(), Options{})
	want := errors.New("no network")
	_, err := d.Get(t.Context(), "k", func(_ context.Context, dir string) error {
		return errors.Join(content(dir), want)
	})
	if !errors.Is(err, want) {
		t.Errorf("got %v, want the error of making it", err)
	}
	if got := names(t, d.Path()); len(got) > 0 {
		t.Errorf("left %q", got)
	}
	var made atomic.Int32
	if get(t, d, "k", counted(&made)); made.Load() != 1 {
		t.Error("it was not made later")
	}
}

func TestAnEntryStaysWhenNoRoomCanBeMadeAfterIt(t *testing.T) {
	d := New(t.TempDir(), Options{Keep: 1})
	// Given an older entry that can't be removed to make room,
	must(t, os.MkdirAll(filepath.Join(d.Path(), "old", lockName), 0o755))
	// then what is made is given all the same, and stays.
	e, err := d.Get(t.Context(), "k", func(_ context.Context, dir string) error { return content(dir) })
	must(t, err)
	if err := errors.Join(e.Verify(t.Context()), e.Close()); err != nil {
		t.Error(err)
	}
}

func TestWhoWaitsForAnotherEndsWithTheContext(t *testing.T) {
	d := New(t.TempDir(), Options{})
	makes, goOn := make(chan struct{}), make(chan struct{})
	var first sync.WaitGroup
	first.Go(func() {
		e, err := d.Get(t.Context(), "k", func(_ context.Context, dir string) error {
			close(makes)
			<-goOn
			return content(dir)
		})
		if err := errors.Join(err, e.Close()); err != nil {
			t.Error(err)
		}
	})
	<-makes
	gaveUp := errors.New("gave up")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gaveUp)
	if _, err := d.Get(ctx, "k", counted(new(atomic.Int32))); !errors.Is(err, gaveUp) {
		t.Errorf("got %v, want the context's cause", err)
	}
	close(goOn)
	first.Wait()
	get(t, d, "k", counted(new(atomic.Int32)))
}

// damages are the kinds of rot.
var damages = map[string]func(t *testing.T, dir string){
	"a flipped bit":            func(t *testing.T, dir string) { flip(t, filepath.Join(dir, "big"), chunk+12345) },
	"a flip in the last chunk": func(t *testing.T, dir string) { flip(t, filepath.Join(dir, "big"), 3*chunk+7) },
	"a flip in a small file":   func(t *testing.T, dir string) { flip(t, filepath.Join(dir, "sub", "small"), 0) },
	"a page of zeros": func(t *testing.T, dir string) {
		f, err := os.OpenFile(filepath.Join(dir, "big"), os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteAt(make([]byte, 4096), 8192)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	},
	"a file that was cut":         func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, "big"), 1000)) },
	"a file that was emptied":     func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, "big"), 0)) },
	"a longer file":               func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, "big"), 9*chunk)) },
	"an added line":               func(t *testing.T, dir string) { add(t, filepath.Join(dir, "sub", "small"), "\nBUG: line\n") },
	"text in an empty file":       func(t *testing.T, dir string) { add(t, filepath.Join(dir, "empty"), "x") },
	"a missing file":              func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "empty"))) },
	"a missing folder":            func(t *testing.T, dir string) { must(t, os.RemoveAll(filepath.Join(dir, "sub"))) },
	"an extra file":               func(t *testing.T, dir string) { write(t, dir, map[string]string{"sub/more": "x"}) },
	"an extra empty file":         func(t *testing.T, dir string) { write(t, dir, map[string]string{"more": ""}) },
	"a manifest that was flipped": func(t *testing.T, dir string) { flip(t, filepath.Join(dir, manifestName), 60) },
	"a manifest that was cut":     func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, manifestName), 70)) },
	"an empty manifest":           func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, manifestName), 0)) },
	"a missing manifest":          func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, manifestName))) },
	"a manifest that is a folder": func(t *testing.T, dir string) {
		must(t, os.Remove(filepath.Join(dir, manifestName)))
		must(t, os.Mkdir(filepath.Join(dir, manifestName), 0o755))
	},
	"an empty folder": func(t *testing.T, dir string) {
		must(t, os.RemoveAll(dir))
		must(t, os.Mkdir(dir, 0o755))
	},
	"a file in its place": func(t *testing.T, dir string) {
		must(t, os.RemoveAll(dir))
		must(t, os.WriteFile(dir, []byte("x"), 0o644))
	},
	"another link": func(t *testing.T, dir string) {
		must(t, os.Remove(filepath.Join(dir, "link")))
		must(t, os.Symlink("big", filepath.Join(dir, "link")))
	},
	"a link instead of a file": func(t *testing.T, dir string) {
		must(t, os.Rename(filepath.Join(dir, "big"), filepath.Join(filepath.Dir(dir), "outside")))
		must(t, os.Symlink("../outside", filepath.Join(dir, "big")))
	},
	"a pipe instead of a file": func(t *testing.T, dir string) {
		must(t, os.Remove(filepath.Join(dir, "big")))
		if out, err := exec.Command("mkfifo", filepath.Join(dir, "big")).CombinedOutput(); err != nil {
			t.Fatal(err, string(out))
		}
	},
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func flip(t testing.TB, path string, at int64) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	data[at] ^= 1
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt(data[at:at+1], at)
	must(t, errors.Join(err, f.Close()))
}

func add(t testing.TB, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.WriteString(text)
	must(t, errors.Join(err, f.Close()))
}

func TestRotIsNoticedSaidOnceAndMadeAnew(t *testing.T) {
	for what, damage := range damages {
		for _, process := range []string{"the same process", "another process"} {
			t.Run(what+" and "+process, func(t *testing.T) {
				var log bytes.Buffer
				o := Options{What: "kernel", Log: slog.New(slog.NewTextHandler(&log, nil))}
				d := New(filepath.Join(t.TempDir(), "cache"), o)
				var made atomic.Int32
				e := get(t, d, "k", counted(&made))
				must(t, e.Close())
				damage(t, e.Path())

				if process == "another process" {
					d = New(d.Path(), o)
				}
				for range 2 {
					e = get(t, d, "k", counted(&made))
					must(t, New(d.Path(), Options{}).check(t, "k"))
					must(t, e.Close())
				}
				if made.Load() != 2 {
					t.Errorf("made %d times, want twice", made.Load())
				}
				if n := strings.Count(log.String(), "kernel in the cache is of no use and is made again"); n != 1 {
					t.Errorf("said %d times, want once: %s", n, log.String())
				}
				if got := names(t, d.Path()); len(got) > 1 && what != "a link instead of a file" {
					t.Errorf("left %q", got)
				}
			})
		}
	}
}

// check opens an entry as another process does.
func (d *Dir) check(t testing.TB, key string) error {
	e, err := d.Open(t.Context(), key)
	return errors.Join(err, e.Close())
}

func TestOnlyTheNamedFilesAreRead(t *testing.T) {
	d := New(t.TempDir(), Options{})
	var made atomic.Int32
	e := get(t, d, "k", counted(&made))
	must(t, e.Close())
	flip(t, filepath.Join(e.Path(), "big"), 5)

	e = get(t, d, "k", counted(&made), "sub/small", "link")
	if made.Load() != 1 {
		t.Error("a file that is not used was read")
	}
	if err := e.Verify(t.Context(), "big"); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want damage", err)
	}
	if err := e.Verify(t.Context(), "nothing"); !errors.Is(err, ErrDamaged) {
		t.Errorf("a file that it never had: got %v, want damage", err)
	}
	must(t, e.Discard(t.Context(), errors.New("rot")))
	if get(t, d, "k", counted(&made), "big"); made.Load() != 2 {
		t.Error("it was not made anew")
	}
}

// A write that leaves size and times as they were is still noticed: the ctime
// can't be set.
func TestAChangeUnderTheOldTimeIsNoticed(t *testing.T) {
	d := New(t.TempDir(), Options{})
	e := get(t, d, "k", counted(new(atomic.Int32)))
	big := filepath.Join(e.Path(), "big")
	info, err := os.Stat(big)
	must(t, err)
	for id := identify(info); !id.settled(); { // until it counts as seen
		time.Sleep(20 * time.Millisecond)
	}
	must(t, e.Verify(t.Context()))
	if _, ok := d.seen.Load(big); !ok {
		t.Fatal("given: the file was found to be right")
	}
	flip(t, big, 99)
	must(t, os.Chtimes(big, info.ModTime(), info.ModTime()))
	if err := e.Verify(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want damage", err)
	}
}

func TestHolesCountAsZeros(t *testing.T) {
	d := New(t.TempDir(), Options{})
	e := get(t, d, "k", func(_ context.Context, dir string) error {
		f, err := os.Create(filepath.Join(dir, "ram"))
		if err == nil {
			_, err = f.WriteAt([]byte("data"), 5*chunk+100)
			err = errors.Join(err, f.Truncate(64*chunk+77), f.Close())
		}
		return err
	})
	ram := filepath.Join(e.Path(), "ram")
	data, err := os.ReadFile(ram)
	must(t, err)
	must(t, os.WriteFile(ram, data, 0o644)) // now without a hole
	if err := e.Verify(t.Context()); err != nil {
		t.Errorf("the same bytes: %v", err)
	}
	flip(t, ram, 40*chunk)
	if err := e.Verify(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("a flip in what was a hole: got %v, want damage", err)
	}
}

func TestDiscardLeavesWhatWasMadeInItsPlace(t *testing.T) {
	var log bytes.Buffer
	d := New(t.TempDir(), Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	var made atomic.Int32
	one := get(t, d, "k", counted(&made))
	other, err := d.Open(t.Context(), "k")
	must(t, err)
	must(t, one.Discard(t.Context(), errors.New("no use")))
	get(t, d, "k", counted(&made))
	must(t, other.Close())
	must(t, other.Discard(t.Context(), errors.New("no use")))
	if got := names(t, d.Path()); !slices.Equal(got, []string{"k"}) || made.Load() != 2 {
		t.Errorf("there is %q, made %d times", got, made.Load())
	}
	if n := strings.Count(log.String(), "made again"); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
}

// Given an entry whose discarding freed the inode of its lock, when it is
// discarded again, then what was made in its place stays.
func TestDiscardingTwiceRemovesOnce(t *testing.T) {
	d := New(t.TempDir(), Options{})
	var made atomic.Int32
	for range 20 {
		one := get(t, d, "k", counted(&made))
		must(t, one.Discard(t.Context(), errors.New("no use")))
		get(t, d, "k", counted(&made))
		must(t, one.Discard(t.Context(), errors.New("no use")))
		if got := names(t, d.Path()); !slices.Equal(got, []string{"k"}) {
			t.Fatalf("there is %q", got)
		}
		must(t, d.Remove(t.Context(), "k"))
	}
}

func TestTheLeastRecentlyUsedGoFirstAndWhatIsInUseStays(t *testing.T) {
	for limit, o := range map[string]Options{"of bytes": {Limit: 4 * (3<<20 + 16<<10)}, "of entries": {Keep: 4}} {
		t.Run(limit, func(t *testing.T) {
			d := New(t.TempDir(), o)
			inUse := get(t, d, "a", counted(new(atomic.Int32)))
			for _, key := range []string{"b", "c", "d"} {
				must(t, get(t, d, key, counted(new(atomic.Int32))).Close())
			}
			for i, key := range []string{"a", "c", "d", "b"} { // in this order
				at := time.Now().Add(time.Duration(i-10) * time.Hour)
				must(t, os.Chtimes(filepath.Join(d.Path(), key, lockName), at, at))
			}
			must(t, get(t, d, "e", counted(new(atomic.Int32))).Close())
			if got := names(t, d.Path()); !slices.Equal(got, []string{"a", "b", "d", "e"}) {
				t.Errorf("there is %q, want a, which is in use, and those used last", got)
			}
			must(t, inUse.Close())
			must(t, get(t, d, "f", counted(new(atomic.Int32))).Close())
			if got := names(t, d.Path()); !slices.Equal(got, []string{"b", "d", "e", "f"}) {
				t.Errorf("there is %q, want the four used last", got)
			}
		})
	}
}

func TestWhatWasUsedNotLongAgoStays(t *testing.T) {
	d := New(t.TempDir(), Options{Keep: 1, MinAge: time.Hour})
	for _, key := range []string{"a", "b", "c"} {
		must(t, get(t, d, key, counted(new(atomic.Int32))).Close())
	}
	old := time.Now().Add(-2 * time.Hour)
	must(t, os.Chtimes(filepath.Join(d.Path(), "b", lockName), old, old))
	must(t, d.Trim(t.Context()))
	if got := names(t, d.Path()); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("there is %q, want a and c", got)
	}
}

func TestKeysNeverLeadOutOfTheCache(t *testing.T) {
	d := New(filepath.Join(t.TempDir(), "cache"), Options{})
	for _, key := range []string{"", ".", "..", "../x", "/etc", "a/b", ".hidden", "a\x00b", strings.Repeat("k", 300)} {
		_, err := d.Get(t.Context(), key, counted(new(atomic.Int32)))
		if err == nil || missing(err) {
			t.Errorf("Get(%q): %v, want a refusal", key, err)
		}
		if err := d.Remove(t.Context(), key); err == nil || missing(err) {
			t.Errorf("Remove(%q): %v, want a refusal", key, err)
		}
	}
}

func TestLookingMakesNothing(t *testing.T) {
	d := New(filepath.Join(t.TempDir(), "cache"), Options{Limit: 1})
	if keys, err := d.Keys(); err != nil || len(keys) > 0 {
		t.Errorf("Keys: %q, %v", keys, err)
	}
	if _, err := d.Open(t.Context(), "k"); !missing(err) {
		t.Errorf("Open: %v", err)
	}
	if err := d.Remove(t.Context(), "k"); !missing(err) {
		t.Errorf("Remove: %v", err)
	}
	must(t, d.Trim(t.Context()))
	if _, err := os.Stat(d.Path()); !missing(err) {
		t.Errorf("the folder is there: %v", err)
	}
}

func TestRemoveTakesAwayEvenWhatIsInUse(t *testing.T) {
	d := New(t.TempDir(), Options{})
	get(t, d, "k", counted(new(atomic.Int32)))
	must(t, d.Remove(t.Context(), "k"))
	if got := names(t, d.Path()); len(got) > 0 {
		t.Errorf("left %q", got)
	}
}

// TestMain makes of the test program the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CACHEDIR_TEST_MAKE"); dir != "" {
		_, err := New(dir, Options{}).Get(context.Background(), "k", func(_ context.Context, dir string) error {
			if err := os.WriteFile(filepath.Join(dir, "half"), []byte("half"), 0o644); err != nil {
				return err
			}
			fmt.Println("making")
			_, err := io.Copy(io.Discard, os.Stdin) // until it is killed
			return err
		})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if dir := os.Getenv("CACHEDIR_TEST_SCRATCH"); dir != "" {
		f, err := Scratch(context.Background(), dir, "work-")
		if err == nil {
			err = os.WriteFile(filepath.Join(f.Path(), "file"), nil, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("made")
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
	}
	os.Exit(m.Run())
}

// other runs this program as another process until it says a word. kill ends
// it by SIGKILL.
func other(t *testing.T, env string) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env)
	cmd.Stderr = os.Stderr
	_, err := cmd.StdinPipe() // ends with this process
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	t.Cleanup(kill)
	return kill
}

func TestWhatAKilledProcessWasMakingIsMadeByWhoWaitsForIt(t *testing.T) {
	dir := t.TempDir()
	kill := other(t, "CACHEDIR_TEST_MAKE="+dir)
	var made atomic.Int32
	var waiting sync.WaitGroup
	waiting.Go(func() {
		e, err := New(dir, Options{}).Get(t.Context(), "k", counted(&made))
		if err := errors.Join(err, e.Close()); err != nil {
			t.Error(err)
		}
	})
	// Others are not held up.
	e := get(t, New(dir, Options{}), "another", counted(new(atomic.Int32)))
	if n := made.Load(); n != 0 {
		t.Errorf("made %d times while another process makes it", n)
	}
	kill()
	waiting.Wait()
	if got := names(t, dir); made.Load() != 1 || !slices.Equal(got, []string{"another", "k"}) {
		t.Errorf("made %d times, there is %q", made.Load(), got)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(e.Path()), "k", "half")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what the killed one wrote is in it: %v", err)
	}
}

func TestTrimSweepsWhatAKilledProcessLeft(t *testing.T) {
	dir := t.TempDir()
	kill := other(t, "CACHEDIR_TEST_MAKE="+dir)
	d := New(dir, Options{})
	must(t, d.Trim(t.Context()))
	if got := names(t, dir); !slices.Equal(got, []string{newPrefix + "k"}) {
		t.Errorf("while it lives there is %q", got)
	}
	kill()
	write(t, dir, map[string]string{oldPrefix + "x-1/file": "removed by half"})
	must(t, d.Trim(t.Context()))
	if got := names(t, dir); len(got) > 0 {
		t.Errorf("left %q", got)
	}
}

func BenchmarkVerify(b *testing.B) {
	d := New(b.TempDir(), Options{})
	const size = 200 << 20
	e := get(b, d, "k", func(_ context.Context, dir string) error {
		return os.WriteFile(filepath.Join(dir, "ram"), bytes.Repeat([]byte("random!?"), size/8), 0o644)
	})
	b.SetBytes(size)
	for b.Loop() {
		d.seen.Clear()
		must(b, e.Verify(b.Context()))
	}
}
