package results

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/scenarios"
)

// rootLock is a lock that a store keeps.
const rootLock = ".blockrig.root.lock"

func create(t *testing.T, root string) *Run {
	t.Helper()
	run, err := Create(t.Context(), root, Request{Command: []string{"blockrig", "run", "x"}})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func begin(t *testing.T, run *Run) *folder {
	t.Helper()
	trial, err := run.newFolder()
	if err != nil {
		t.Fatal(err)
	}
	return trial
}

func recorded(t *testing.T, trial *folder, rec Record) Record {
	t.Helper()
	rec, err := trial.end(rec)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// end stores a record as End does.
func (f *folder) end(rec Record) (Record, error) {
	f.run.mu.Lock()
	defer f.run.mu.Unlock()
	rec, err := f.store(rec)
	if err == nil {
		f.run.stored++
	}
	return rec, err
}

// tree lists what is below dir.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if rel != "." {
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestATrialIsThereWholeOrNotAtAll(t *testing.T) {
	root := filepath.Join(t.TempDir(), "new", "runs")
	run := create(t, root)
	trial := begin(t, run)
	if err := os.WriteFile(filepath.Join(trial.dir, ConsoleFile), []byte("Linux version\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work(t, trial), "a.qcow2"), []byte("disk"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(trial.dir, "qmp"), 0o600); err != nil {
		t.Fatal(err)
	}

	// Given a trial that goes on, then no reader sees it.
	if s, err := Show(root, run.ID()); err != nil || len(s.Records) != 0 || len(s.Broken) != 0 {
		t.Errorf("before it is stored: %+v, %v", s, err)
	}

	// When it is stored, then all its files are there, and nothing else.
	rec := recorded(t, trial, three()[1])
	names := tree(t, rec.RunDir)
	want := slices.Sorted(slices.Values(trialFiles))
	if !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if base := filepath.Base(rec.RunDir); base != "0001-2.0.15-amd64-lvm-mirror-dio-read-length=4096,memory_offset=32" {
		t.Errorf("the folder's name is %s", base)
	}
	log, err := os.ReadFile(filepath.Join(rec.RunDir, ConsoleFile))
	if err != nil || string(log) != "Linux version\n" {
		t.Errorf("console: %q, %v", log, err)
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Show(root, "last")
	if err != nil || len(s.Records) != 1 || s.Finished.IsZero() || s.Command[0] != "blockrig" {
		t.Fatalf("after the end: %+v, %v", s, err)
	}
	if s.Records[0].RunDir != rec.RunDir || s.Records[0].Verdict != scenarios.Hang {
		t.Errorf("read again: %+v", s.Records[0])
	}
	if got := tree(t, root); slices.ContainsFunc(got, func(name string) bool { return strings.HasPrefix(filepath.Base(name), ".") && name != rootLock }) {
		t.Errorf("hidden things stayed: %v", got)
	}
}

func TestWhatCantBeStoredLeavesNothing(t *testing.T) {
	root := t.TempDir()
	run := create(t, root)
	for name, spoil := range map[string]func(*folder) Record{
		"the result can't be written": func(trial *folder) Record {
			if err := os.Mkdir(filepath.Join(trial.dir, ResultFile), 0o777); err != nil {
				t.Fatal(err)
			}
			return three()[0]
		},
		"the record has no verdict": func(*folder) Record { return Record{Scenario: "s"} },
		"the folder is gone": func(trial *folder) Record {
			if err := os.RemoveAll(trial.dir); err != nil {
				t.Fatal(err)
			}
			return three()[0]
		},
	} {
		trial := begin(t, run)
		rec, err := trial.end(spoil(trial))
		if err == nil || rec.RunDir != "" {
			t.Errorf("%s: stored in %q, %v", name, rec.RunDir, err)
		}
		if _, err := os.Stat(trial.dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: its folder stayed", name)
		}
	}
	// A run that stored nothing is gone when it ends.
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, root); !slices.Equal(got, []string{rootLock, "index.lock", "index.sqlite"}) {
		t.Errorf("left: %v", got)
	}
	if err := run.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := run.newFolder(); err == nil {
		t.Error("a trial began in a run that has ended")
	}
}

func TestManyTrialsAtOnce(t *testing.T) {
	root := t.TempDir()
	run := create(t, root)
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() {
			trial, err := run.newFolder()
			if err == nil {
				_, err = trial.end(three()[i%3])
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(append(errs, run.Close())...); err != nil {
		t.Fatal(err)
	}
	if s, err := Show(root, run.ID()); err != nil || len(s.Records) != 20 || len(s.Broken) != 0 {
		t.Errorf("got %d records, broken %v, %v", len(s.Records), s.Broken, err)
	}
}

func TestAHarmfulNameStaysInTheRun(t *testing.T) {
	rec := three()[0]
	rec.Kernel.Release = "../../../\x1b[31m/etc;rm -rf ~/" + strings.Repeat("x", 300)
	rec.Case = "a/b\nc"
	root := t.TempDir()
	run := create(t, root)
	rec = recorded(t, begin(t, run), rec)
	if filepath.Dir(rec.RunDir) != run.Dir() || len(filepath.Base(rec.RunDir)) > 200 {
		t.Errorf("stored in %q", rec.RunDir)
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
}

// Given processes that die in mid-trial, when another sweeps, then what they
// left is gone, what they had stored stays, and what lives is left alone.
func TestSweep(t *testing.T) {
	if root := os.Getenv("RESULTS_TEST_DIE_IN"); root != "" {
		run, err := Create(context.Background(), root, Request{Command: []string{"die"}})
		if err != nil {
			t.Fatal(err)
		}
		if os.Getenv("RESULTS_TEST_STORE") != "" {
			trial, err := run.newFolder()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := trial.end(three()[0]); err != nil {
				t.Fatal(err)
			}
		}
		trial, err := run.newFolder()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(work(t, trial), "disk"), []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		select {}
	}

	root := t.TempDir()
	for _, stores := range []string{"", "1"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSweep$")
		cmd.Env = append(os.Environ(), "RESULTS_TEST_DIE_IN="+root, "RESULTS_TEST_STORE="+stores)
		var exit *exec.ExitError
		if out, err := cmd.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("the process that was to die: %v\n%s", err, out)
		}
	}
	// Things of the user.
	mine := []string{"notes.txt", "mine", "bisections"}
	for _, name := range mine {
		if err := os.Mkdir(filepath.Join(root, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	living := create(t, root)
	trial := begin(t, living)

	if err := Sweep(t.Context(), root); err != nil {
		t.Error(err)
	}
	for _, name := range mine {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("a folder of the user: %v", err)
		}
	}
	if _, err := os.Stat(trial.dir); err != nil {
		t.Errorf("a living trial: %v", err)
	}
	recorded(t, trial, three()[0])
	if err := living.Close(); err != nil {
		t.Fatal(err)
	}
	runs := allRuns(t, root)
	if len(runs) != 2 {
		t.Fatalf("%d runs; want the one that stored a trial and the living one", len(runs))
	}
	for _, r := range runs {
		if len(r.Records) != 1 || len(r.Broken) != 0 {
			t.Errorf("%s: %d records, broken %v", r.ID, len(r.Records), r.Broken)
		}
	}
	if err := Sweep(t.Context(), filepath.Join(root, "none")); err != nil {
		t.Errorf("swept where nothing is: %v", err)
	}
	hidden := func(name string) bool { return strings.HasPrefix(filepath.Base(name), ".") && name != rootLock }
	if got := tree(t, root); slices.ContainsFunc(got, hidden) {
		t.Errorf("left: %v", got)
	}
}

func TestAWaitForTheStoreEndsWithItsContext(t *testing.T) {
	root := t.TempDir()
	free, err := cachedir.Lock(t.Context(), filepath.Join(root, rootLock))
	if err != nil {
		t.Fatal(err)
	}
	defer free()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Create(ctx, root, Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Create: %v", err)
	}
	if err := Sweep(ctx, root); !errors.Is(err, context.Canceled) {
		t.Errorf("Sweep: %v", err)
	}
}

func TestAStoreThatCantBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{file, filepath.Join(file, "below")} {
		_, err := Create(t.Context(), root, Request{})
		_, shown := Show(root, "last")
		for _, err := range []error{err, shown} {
			if !errors.Is(err, ErrFolder) || !strings.Contains(err.Error(), root+": not a directory") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v, want one line that says which folder can't be used", root, err)
			}
		}
	}
}

func TestRunIDsSortByTimeAndAreUnique(t *testing.T) {
	root := t.TempDir()
	var wg sync.WaitGroup
	ids := make([]string, 30)
	errs := make([]error, len(ids))
	for i := range ids {
		wg.Go(func() {
			run, err := Create(context.Background(), root, Request{})
			if err == nil {
				ids[i] = run.ID()
				err = run.Close()
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	slices.Sort(ids)
	if n := len(slices.Compact(slices.Clone(ids))); n != len(ids) {
		t.Errorf("%d of %d IDs are unique", n, len(ids))
	}
	for _, id := range ids {
		if !runID.MatchString(id) {
			t.Errorf("%q is no ID of a run", id)
		}
	}
	var times []string
	for _, id := range ids {
		times = append(times, id[:len("20060102T150405.000Z")])
	}
	if !slices.IsSorted(times) {
		t.Errorf("sorted by ID, not by time: %v", times)
	}
}

// What lies in the store may come from anywhere.
func TestStoredFilesAreNotTrusted(t *testing.T) {
	root := t.TempDir()
	outside := filepath.Join(t.TempDir(), ResultFile)
	var good bytes.Buffer
	if err := WriteJSON(&good, three()[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(outside, good.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	write := func(text string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(text), 0o666) }
	}
	cases := []struct {
		name string
		make func(path string) error
		want string
	}{
		{"empty", write(""), "not a result: EOF"},
		{"no JSON", write("hello"), "not a result: invalid character"},
		{"cut off", write(good.String()[:good.Len()/2]), "not a result: unexpected EOF"},
		{"a list", write("[]"), "not a result: json: cannot unmarshal array"},
		{"two", write(good.String() + good.String()), "not a result: there is more after it"},
		{"an unknown verdict", write(`{"scenario":"s","verdict":"\u001b[31mfine"}`), `unknown verdict "\x1b[31mfine"`},
		{"no scenario", write(`{"verdict":"pass"}`), "it names no scenario"},
		{"a wrong type", write(`{"scenario":"s","verdict":"pass","bytes":"many"}`), "cannot unmarshal string"},
		{"too large", func(path string) error {
			if err := os.WriteFile(path, nil, 0o666); err != nil {
				return err
			}
			return os.Truncate(path, maxStored+1)
		}, "more than a result can have"},
		{"a FIFO", func(path string) error { return syscall.Mkfifo(path, 0o600) }, "it is no regular file"},
		{"a folder", func(path string) error { return os.Mkdir(path, 0o777) }, "it is no regular file"},
		{"a link out of the store", func(path string) error { return os.Symlink(outside, path) }, "path escapes from parent"},
		{"missing", func(string) error { return nil }, "no such file"},
	}
	const id = "20260614T180832.000Z-abcdefgh"
	for i, tc := range cases {
		dir := filepath.Join(root, id, fmt.Sprintf("%04d", i))
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := tc.make(filepath.Join(dir, ResultFile)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Show(root, id)
	if err != nil {
		t.Fatal(err)
	}
	// The run itself has no run.json.
	if len(s.Records) != 0 || len(s.Broken) != len(cases)+1 {
		t.Fatalf("%d records, %d broken of %d", len(s.Records), len(s.Broken), len(cases)+1)
	}
	for i, tc := range cases {
		text := s.Broken[i+1].Error()
		if !strings.Contains(text, tc.want) || !strings.Contains(text, fmt.Sprintf("%04d/%s", i, ResultFile)) || strings.ContainsAny(text, "\n\x1b") {
			t.Errorf("%s: got %q, want one line with the place and %q", tc.name, text, tc.want)
		}
	}

	// A whole run that is a link out of the store is none.
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(root, "20260614T180833.000Z-abcdefgh")); err != nil {
		t.Fatal(err)
	}
	if runs := allRuns(t, root); len(runs) != 1 {
		t.Errorf("%d runs; want 1", len(runs))
	}
}

// allRuns are the runs of a store.
func allRuns(t *testing.T, root string) []Stored {
	t.Helper()
	folders, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	defer folders.Close()
	ids, err := runIDs(folders)
	if err != nil {
		t.Fatal(err)
	}
	var runs []Stored
	for _, id := range ids {
		runs = append(runs, readRun(folders, root, id))
	}
	return runs
}

func TestShowPicksARun(t *testing.T) {
	root := t.TempDir()
	if _, err := Show(root, "last"); !errors.Is(err, ErrNoRun) {
		t.Errorf("an empty store: %v", err)
	}
	if _, err := Show(filepath.Join(root, "none"), "last"); !errors.Is(err, ErrNoRun) {
		t.Errorf("no store: %v", err)
	}
	ids := []string{"20260614T180832.000Z-aaaaaaaa", "20260614T180832.000Z-bbbbbbbb", "20260615T000000.000Z-aaaaaaaa"}
	for _, id := range ids {
		if err := os.Mkdir(filepath.Join(root, id), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ arg, want, err string }{
		{"last", ids[2], ""},
		{ids[0], ids[0], ""},
		{"20260615", ids[2], ""},
		{"20260614", "", "is the beginning of 2 runs; the last of them is " + ids[1]},
		{"2027", "", "the last one is " + ids[2]},
		{"", "", "no such run"},
		{"../..", "", "no such run"},
	} {
		s, err := Show(root, tc.arg)
		if tc.err == "" && (err != nil || s.ID != tc.want) {
			t.Errorf("%q: got %s, %v, want %s", tc.arg, s.ID, err, tc.want)
		}
		if tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%q: got %v, want %q", tc.arg, err, tc.err)
		}
	}
}

func TestDefaultRoot(t *testing.T) {
	dir := t.TempDir()
	checkout, deep := filepath.Join(dir, "rig"), filepath.Join(dir, "rig", "harness", "qemu")
	kernel, tool := filepath.Join(dir, "linux"), filepath.Join(dir, "rig", "tool")
	for _, d := range []string{deep, kernel, tool} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	gomod := func(dir, text string) {
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	gomod(checkout, "// a comment\n\nmodule github.com/blockrig/blockrig // it\n\ngo 1.26\n")
	gomod(tool, "module example.org/github.com/blockrig/blockrig\n")

	for _, tc := range []struct {
		name, dir string
		env       map[string]string
		want      string
	}{
		{"in a checkout", checkout, map[string]string{"HOME": "/h"}, checkout + "/results/runs"},
		{"deep in a checkout", deep, map[string]string{"XDG_STATE_HOME": "/x"}, checkout + "/results/runs"},
		{"in another module below it", tool, map[string]string{"HOME": "/h"}, "/h/.local/state/blockrig/runs"},
		{"in a kernel tree", kernel, map[string]string{"HOME": "/h"}, "/h/.local/state/blockrig/runs"},
		{"with XDG_STATE_HOME", kernel, map[string]string{"HOME": "/h", "XDG_STATE_HOME": "/x"}, "/x/blockrig/runs"},
		{"with a relative XDG_STATE_HOME", kernel, map[string]string{"HOME": "/h", "XDG_STATE_HOME": "x"}, "/h/.local/state/blockrig/runs"},
		{"with nothing", kernel, nil, ""},
	} {
		got, err := DefaultRoot(tc.dir, func(key string) string { return tc.env[key] })
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s: got %q, %v, want %q", tc.name, got, err, tc.want)
		}
	}
}

func BenchmarkStore(b *testing.B) {
	run, err := Create(b.Context(), b.TempDir(), Request{})
	if err != nil {
		b.Fatal(err)
	}
	defer run.Close()
	rec := three()[1]
	for b.Loop() {
		trial, err := run.newFolder()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := trial.end(rec); err != nil {
			b.Fatal(err)
		}
	}
}

// work makes a folder as a trial has one while it runs.
func work(t *testing.T, trial *folder) string {
	t.Helper()
	dir := filepath.Join(trial.dir, "work")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
