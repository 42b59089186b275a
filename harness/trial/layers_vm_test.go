//go:build vm

package trial

import (
	"context"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// jobOfText is a trial of the only case of a scenario that is written here.
func jobOfText(ctx context.Context, ref, text string) (Local, error) {
	prep, err := shared.prep()
	if err != nil {
		return Local{}, err
	}
	sc, err := language.Parse("test.yaml", []byte("name: test\nabout: A test.\n"+text))
	if err != nil {
		return Local{}, err
	}
	cases, err := language.Cases(sc, nil)
	if err != nil {
		return Local{}, err
	}
	k, err := prep.Prepare(ctx, ref, cases[0])
	if err != nil {
		return Local{}, err
	}
	j, err := prep.Job(ctx, k, cases[0], 0)
	if err != nil {
		return Local{}, err
	}
	files, err := prep.Find(ctx, j)
	return Local{Job: j, Files: files, attempt: 1}, err
}

// trialOf is a cold trial of a scenario that is written here, made again where
// the host spoils it.
func trialOf(t *testing.T, text string) ran {
	t.Helper()
	l, err := jobOfText(t.Context(), withBug, text)
	if err != nil {
		t.Fatal(err)
	}
	l.Dir = t.TempDir()
	return ran{runAttempts(testContext(t), l, run), l.Dir}
}

// wantProof checks that the guest has proven something of its stack.
func wantProof(t *testing.T, r ran, facts ...string) {
	t.Helper()
	if r.Ready == nil {
		t.Errorf("the stack was not ready\n%s", show(r))
		return
	}
	all := strings.Join(r.Ready.Proof, "\n")
	for _, f := range facts {
		if !strings.Contains(all, f) {
			t.Errorf("%q is not proven:\n%s", f, all)
		}
	}
}

func wantPass(t *testing.T, r ran) {
	t.Helper()
	if r.Verdict != scenarios.Pass {
		t.Errorf("%s: %s\n%s", r.Verdict, r.Reason, show(r))
	}
}

// writeAndRead are steps that write to a layer or disk and read it back.
func writeAndRead(names ...string) string {
	var b strings.Builder
	for _, n := range names {
		b.WriteString("  - io: {op: pwrite, on: " + n + ", direct: true, length: 64KiB, offset: 64KiB}\n")
	}
	for _, n := range names {
		b.WriteString("  - check: {data: " + n + "}\n")
	}
	return b.String()
}

// Given disks on each bus, when they are written, then the data are right.
func TestBuses(t *testing.T) {
	r := trialOf(t, `
disks:
  - {id: a}
  - {id: v, bus: virtio-blk, logical_block_size: 4096, physical_block_size: 4096}
  - {id: s, bus: virtio-scsi, discard: true}
  - {id: n, bus: nvme}
steps:
`+writeAndRead("a", "v", "s", "n"))
	wantPass(t, r)
}
