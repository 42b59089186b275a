package trials

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/initramfs"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// noKernels are kernels that are said to be there, or why not, and that can't
// be had when trials are made.
type noKernels struct {
	repo     string
	prepared bisect.Prepared
}

func (n noKernels) Ref(s bisect.Subject) string { return "git:" + n.repo + "@" + s.Commit }

func (n noKernels) Prepare(context.Context, bisect.Subject) (bisect.Prepared, error) {
	return n.prepared, nil
}

func (n noKernels) Build(context.Context, kernels.GitRef) (kernels.Kernel, error) {
	return kernels.Kernel{}, errors.New("no space left on device")
}

// Given an end that can't be tried when a case is to be chosen, then the
// request is wrong when that is the kernel's doing, and not when it is this
// machine's.
func TestTroubleWithThisMachineIsNoWrongRequest(t *testing.T) {
	repo := t.TempDir()
	if err := os.Mkdir(filepath.Join(repo, ".git"), 0o700); err != nil {
		t.Fatal(err)
	}
	sc := &scenarios.Scenario{Name: "s"}
	cases := []scenarios.Case{{Scenario: sc, ID: "length=512"}, {Scenario: sc, ID: "length=4096"}}
	for _, tt := range []struct {
		name     string
		prepared bisect.Prepared
		wrong    bool
		says     string
	}{
		{"it does not build", bisect.Prepared{Failure: bisect.KindBuild, Reason: "does not build: error: x"}, true, "error: x"},
		{"it can't be had now", bisect.Prepared{Failure: bisect.KindError, Reason: "connection refused"}, false, "connection refused"},
		{"its trials fail for this machine", bisect.Prepared{Digest: "d"}, false, "length=4096: error: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, err := kernels.Open(t.Context(), t.TempDir(), nil)
			if err != nil {
				t.Fatal(err)
			}
			k := noKernels{repo, tt.prepared}
			store.Builder = k
			run, err := results.Create(t.Context(), t.TempDir(), results.Request{})
			if err != nil {
				t.Fatal(err)
			}
			defer run.Close()
			r := Request{Direction: bisect.Regression, Git: &GitRequest{Old: []End{{Commit: "old"}}, New: End{Commit: "new"}}}
			err = r.Choose(t.Context(), &Tester{
				Runner:  &Runner{Preparer: &trial.Preparer{Kernels: store, Initramfs: &initramfs.Builder{Cache: t.TempDir()}, Cold: true}, Workers: 1},
				Kernels: k, Run: run,
			}, cases)
			var wrong RequestError
			if err == nil || errors.As(err, &wrong) != tt.wrong || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("a wrong request %t: %v", errors.As(err, &wrong), err)
			}
		})
	}
}
