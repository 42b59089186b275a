package trial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/initramfs"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/scenarios"
)

// Given a job of another machine's, then it is run with what it names, or not
// at all.
func TestWhatAJobNamesIsFoundOrRefused(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	build, err := qemu.BuildID(exe)
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := kernels.Open(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*Job)
		want   string
	}{
		{"everything is there", func(*Job) {}, ""},
		{"another QEMU", func(j *Job) { j.QEMU = "0123456789abcdef" }, "another QEMU"},
		{"no such initramfs", func(j *Job) { j.Initramfs = "other" }, "none in the cache has the digest other"},
		{"no such kernel", func(j *Job) { j.Kernel.Digest = "other"; j.Kernel.Exact = "local:none" }, "find the kernel local:none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &Preparer{Binary: exe, Kernels: store, Initramfs: &initramfs.Builder{Cache: t.TempDir()}}
			j := testJob()
			j.QEMU, j.Direct = build, false
			p.note(j.Kernel.Digest, image)
			p.note(j.Initramfs, image)
			tt.change(&j)
			f, err := p.Find(t.Context(), j)
			switch {
			case tt.want == "" && (err != nil || f != Files{image, image}):
				t.Errorf("%+v, %v", f, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%+v, %v; want an error with %q", f, err, tt.want)
			}
		})
	}
}

// Given a kernel that can't be had now and then, when trials of it are
// prepared, then it is tried as often as a trial is; a kernel that does not
// exist is refused at once.
func TestAPreparationIsTriedAsOftenAsATrial(t *testing.T) {
	broken := errors.New("the connection broke off")
	for _, tt := range []struct {
		name  string
		fails []error
		tries int
		err   bool // for all
		kept  error
	}{
		{"there at once", nil, 1, false, nil},
		{"there the third time", []error{broken, broken}, 3, false, nil},
		{"never there", []error{broken, broken, broken, broken}, 3, false, broken},
		{"no such kernel", []error{kernels.ErrNotFound}, 1, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tries := 0
			failed, err := attempts(t.Context(), func() error {
				if tries++; tries <= len(tt.fails) {
					return tt.fails[tries-1]
				}
				return nil
			})
			if tries != tt.tries || WrongRequest(err) != tt.err || tt.kept != nil && (!errors.Is(err, tt.kept) || len(failed) != tt.tries) {
				t.Errorf("%d tries, %v, attempts %+v", tries, err, failed)
			}
			if !tt.err && tt.kept == nil && (err != nil || failed != nil) {
				t.Errorf("%v, attempts %+v of what is there", err, failed)
			}
		})
	}
}

// brokenBuilder has no kernel, and counts how often it is asked.
type brokenBuilder struct{ asked int }

func (b *brokenBuilder) Build(context.Context, kernels.GitRef) (kernels.Kernel, error) {
	b.asked++
	return kernels.Kernel{}, fmt.Errorf("fetch %d broke off", b.asked)
}

// Given a kernel that can't be had, when trials of it are run, then each has
// the attempts that were made, three in all.
func TestAttemptsAtAPreparationAreTheTrials(t *testing.T) {
	repo := filepath.Join(t.TempDir(), ".git")
	if err := os.MkdirAll(repo, 0o700); err != nil {
		t.Fatal(err)
	}
	store, err := kernels.Open(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &brokenBuilder{}
	store.Builder = b
	p := &Preparer{Kernels: store, Initramfs: &initramfs.Builder{Cache: t.TempDir()}}
	sc := &scenarios.Scenario{Name: "s"}
	tasks := []Task{{Ref: "git:" + filepath.Dir(repo) + "@v1", Case: scenarios.Case{Scenario: sc}}, {Ref: "git:" + filepath.Dir(repo) + "@v1", Case: scenarios.Case{Scenario: sc}, Repeat: 1}}
	jobs, err := p.Jobs(t.Context(), tasks, nil)
	if err != nil {
		t.Fatal(err)
	}
	var seen []Outcome
	s := &Schedule{Workers: 1, Begin: func(int, Job) (string, error) { return t.TempDir(), nil }, Done: func(_ int, o Outcome) error {
		seen = append(seen, o)
		return nil
	}}
	if err := s.Run(t.Context(), jobs); err != nil {
		t.Fatal(err)
	}
	if b.asked != MaxAttempts || len(seen) != 2 {
		t.Fatalf("asked %d times, %d outcomes", b.asked, len(seen))
	}
	for _, o := range seen {
		if o.Verdict != scenarios.Error || len(o.Attempts) != MaxAttempts || !strings.Contains(o.Attempts[0].Reason, "fetch 1 broke off") || !strings.Contains(o.Reason, "fetch 3 broke off") {
			t.Errorf("%s, %q, %+v", o.Verdict, o.Reason, o.Attempts)
		}
	}
}

// Given an initramfs that this process has made, when it is gone from the cache,
// as after another process had another time, then it is made again.
func TestAnInitramfsThatIsGoneIsMadeAgain(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	store, err := kernels.Open(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	cache, dir := t.TempDir(), t.TempDir()
	c := scenarios.Case{Scenario: &scenarios.Scenario{Name: "s"}}
	var config strings.Builder
	for _, need := range c.Needs() {
		fmt.Fprintf(&config, "%s=y\n", need.Option)
	}
	k := kernels.Kernel{Ref: "file:image", Exact: "file:image", Image: filepath.Join(dir, "image"), Config: filepath.Join(dir, "config"), Digest: "1234"}
	for path, text := range map[string]string{k.Image: "", k.Config: config.String()} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := &Preparer{Binary: exe, Kernels: store, Initramfs: &initramfs.Builder{Cache: cache}}
	made, err := p.PrepareKernel(t.Context(), k.Ref, k, c)
	if err != nil {
		t.Fatal(err)
	}
	j := testJob()
	j.Kernel.Digest, j.Initramfs, j.Direct = k.Digest, made.Initrd.Digest, false
	if j.QEMU, err = qemu.BuildID(exe); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(cache); err != nil {
		t.Fatal(err)
	}
	f, err := p.Find(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.Initrd); err != nil {
		t.Error(err)
	}
	// What this process has not made it can't make again.
	j.Initramfs = "other"
	if f, err := p.Find(t.Context(), j); err == nil {
		t.Errorf("%+v for an initramfs that nobody has made", f)
	}
}
