package verdict

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/scenarios"
)

func at(n int64) *int64 { return &n }

// done is a step that returned with healthy legs, having read from a disk.
func done(change func(*Report)) Report {
	r := Report{
		Phase: "done", Step: "pread", Asked: 4096, Expect: []string{"data", "EINVAL"},
		Reads: 1,
		Observation: scenarios.Observation{
			Returned: true, Bytes: 4096,
			Legs: []scenarios.Leg{{Name: "253:1", Disk: "a", Health: "A", OK: true}, {Name: "253:2", Disk: "b", Health: "A", OK: true}},
		},
	}
	if change != nil {
		change(&r)
	}
	return r
}

var (
	warning  = console.Finding{Kind: console.KindWarn, Title: "WARNING in bio_add_page", Line: 10}
	oops     = console.Finding{Kind: console.KindBug, Title: "BUG: unable to handle page fault in bio_add_page", Line: 20}
	ioError  = console.Finding{Kind: console.KindIO, Title: "I/O error on sdb", Line: 30}
	stall    = console.Finding{Kind: console.KindHang, Title: "rcu stall in do_region", Line: 40}
	panicked = console.Finding{Kind: console.KindPanic, Title: "kernel panic: Fatal exception", Line: 50}
)

func TestStepThatIsRefusedNeedNotReachTheDisks(t *testing.T) {
	einval := StepReport{Observation: scenarios.Observation{Returned: true, Errno: "EINVAL"}}
	for name, tc := range map[string]struct {
		report Report
		want   bool
	}{
		"data":               {done(nil), false},
		"refused":            {done(func(r *Report) { r.Bytes, r.Errno = 0, "EINVAL" }), true},
		"refused before":     {done(func(r *Report) { r.Before = []StepReport{einval} }), true},
		"two that gave data": {done(func(r *Report) { r.Before = []StepReport{{}} }), false},
	} {
		if got := tc.report.Refused(); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// Given a machine whose processor shows what none can, when QEMU emulated it,
// then there is no verdict, whatever else the trial shows.
func TestEmulatorThatWentWrong(t *testing.T) {
	broken := oops
	broken.Impossible = "EFLAGS 00010200"
	hung := func(r *Report) {
		r.Phase, r.Returned, r.Bytes = "step", false, 0
		r.Stuck = &Stuck{What: "pread", State: "D", MS: 2000}
	}
	for name, tc := range map[string]struct {
		finding console.Finding
		change  func(*Report)
		want    scenarios.Verdict
	}{
		"an oops":           {broken, func(r *Report) { r.Emulated = true }, scenarios.Error},
		"and a hang":        {broken, func(r *Report) { hung(r); r.Emulated = true }, scenarios.Error},
		"flags that can be": {oops, func(r *Report) { r.Emulated = true }, scenarios.Bug},
		"a real processor":  {broken, nil, scenarios.Bug},
		"one that hangs":    {broken, func(r *Report) { hung(r) }, scenarios.Hang},
	} {
		j := Judge([]console.Finding{tc.finding}, done(tc.change), nil)
		if j.Verdict != tc.want || j.Doubtful != (tc.want == scenarios.Error) {
			t.Errorf("%s: %s, doubtful %v, want %s: %s", name, j.Verdict, j.Doubtful, tc.want, j.Reason)
		}
	}
}

func TestJudge(t *testing.T) {
	hung := func(r *Report) {
		r.Phase, r.Returned, r.Bytes = "step", false, 0
		r.Killed = "a flood of I/O errors"
		r.Stuck = &Stuck{What: "pread", State: "D", Where: "__iomap_dio_rw", MS: 2000}
	}
	tests := []struct {
		name     string
		findings []console.Finding
		report   Report
		want     scenarios.Verdict
		also     []scenarios.Verdict
		phase    string
	}{
		{"all bytes", nil, done(nil), scenarios.Pass, nil, "done"},
		{"a stall on a host that stood still", []console.Finding{stall}, done(func(r *Report) { r.Paused = "the host stood still for 30 s" }), scenarios.Error, nil, "step"},
		{
			"a stall and a warning on a host that stood still",
			[]console.Finding{stall, warning},
			done(func(r *Report) { r.Paused = "the host stood still for 30 s" }), scenarios.Error, nil, "step",
		},
		{
			"a task that can't be killed, on a host that stood still",
			[]console.Finding{stall},
			done(func(r *Report) { hung(r); r.Paused = "the host stood still for 30 s" }), scenarios.Hang, nil, "step",
		},
		{
			"a disk's timeout and what came of it, on a host that stood still",
			[]console.Finding{{Kind: console.KindIO, Title: "ATA exception", Timer: true}, {Kind: console.KindIO, Title: "I/O error", Consequence: true}},
			done(func(r *Report) { r.Errno, r.Bytes, r.Paused = "EIO", 0, "the host stood still for 30 s" }), scenarios.Error, nil, "step",
		},
		{
			"a disk's timeout, on a host that did not",
			[]console.Finding{{Kind: console.KindIO, Title: "ATA exception", Timer: true}},
			done(nil), scenarios.Degraded, nil, "step",
		},
		{
			"a disk's error, on a host that stood still",
			[]console.Finding{{Kind: console.KindIO, Title: "ATA exception"}},
			done(func(r *Report) { r.Errno, r.Bytes, r.Paused = "EIO", 0, "the host stood still for 30 s" }),
			scenarios.EIO,
			[]scenarios.Verdict{scenarios.Degraded},
			"step",
		},
		{"EINVAL where it is right", nil, done(func(r *Report) { r.Bytes, r.Errno, r.Reads = 0, "EINVAL", 0 }), scenarios.Pass, nil, "done"},
		{
			"EINVAL where it is wrong", nil,
			done(func(r *Report) { r.Bytes, r.Errno, r.Expect = 0, "EINVAL", []string{"data"} }),
			scenarios.Errno, nil, "step",
		},
		{"short", nil, done(func(r *Report) { r.Bytes = 512 }), scenarios.Errno, nil, "step"},
		{"EIO, legs healthy", nil, done(func(r *Report) { r.Bytes, r.Errno = 0, "EIO" }), scenarios.EIO, nil, "step"},
		{
			"EIO and both legs blamed",
			[]console.Finding{ioError},
			done(func(r *Report) { r.Bytes, r.Errno = 0, "EIO"; r.Legs[0].OK, r.Legs[1].OK = false, false }),
			scenarios.EIO,
			[]scenarios.Verdict{scenarios.Degraded},
			"step",
		},
		{"data, but a leg failed", nil, done(func(r *Report) { r.Legs[1].OK = false }), scenarios.Degraded, nil, "step"},
		{"data, but I/O errors on the console", []console.Finding{ioError}, done(nil), scenarios.Degraded, nil, "step"},
		{"wrong bytes", nil, done(func(r *Report) { r.Mismatch = at(512) }), scenarios.Corrupt, nil, "step"},
		{"bytes beyond the buffer", nil, done(func(r *Report) { r.Overrun = at(4096) }), scenarios.Corrupt, nil, "step"},
		{
			"wrong bytes and a warning",
			[]console.Finding{warning},
			done(func(r *Report) { r.Mismatch = at(0) }),
			scenarios.Corrupt,
			[]scenarios.Verdict{scenarios.Warn},
			"step",
		},
		{"a warning", []console.Finding{warning}, done(nil), scenarios.Warn, nil, "step"},
		{"an oops", []console.Finding{oops, warning}, done(nil), scenarios.Bug, []scenarios.Verdict{scenarios.Warn}, "step"},
		{"a panic", []console.Finding{panicked}, Report{Phase: "step", Step: "pread"}, scenarios.Bug, nil, "step"},
		{"unkillable, with a flood", []console.Finding{warning, ioError}, done(hung), scenarios.Hang, []scenarios.Verdict{scenarios.Warn, scenarios.Degraded}, "step"},
		{"unkillable, with an oops", []console.Finding{oops}, done(hung), scenarios.Hang, []scenarios.Verdict{scenarios.Bug}, "step"},
		{"a stall", []console.Finding{stall}, done(nil), scenarios.Hang, nil, "step"},
		{"silence", nil, Report{Phase: "step", Step: "pread", Silent: "the guest stopped answering for 3.0 s"}, scenarios.Hang, nil, "step"},
		{"lvcreate hangs", nil, Report{Phase: "stack", Setup: "lvcreate: can't be killed", Stuck: &Stuck{What: "lvcreate"}}, scenarios.Hang, nil, "stack"},
		{"mount oopses", []console.Finding{oops}, Report{Phase: "stack", Setup: "mount: signal: killed"}, scenarios.Bug, nil, "stack"},
		{"a triple fault in the step", nil, Report{Phase: "step", Reset: "the guest ended the machine (guest-reset)"}, scenarios.Bug, nil, "step"},

		{"mkfs fails", nil, Report{Phase: "stack", Setup: "mke2fs: exit status 1"}, scenarios.Error, nil, "stack"},
		{"the kernel does not come up", []console.Finding{panicked}, Report{Phase: "boot", Setup: "the kernel panicked"}, scenarios.Error, nil, "boot"},
		{"a triple fault at boot", nil, Report{Phase: "boot", Reset: "the guest ended the machine"}, scenarios.Error, nil, "boot"},
		{"QEMU killed in the step", []console.Finding{warning}, Report{Phase: "step", Host: "QEMU ended: signal: killed"}, scenarios.Error, nil, "step"},
		{"killed and reaped", nil, done(func(r *Report) { r.Returned, r.Killed = false, "no I/O" }), scenarios.Error, nil, "done"},
		{"no answer at all", nil, Report{Phase: "step"}, scenarios.Error, nil, "step"},
		{"the data came from nowhere", nil, done(func(r *Report) { r.Reads = 0 }), scenarios.Error, nil, "done"},
		{"a console that is not complete", nil, done(func(r *Report) { r.LogError = "cut" }), scenarios.Error, nil, "done"},
		{"a console that is not complete, and EIO", nil, done(func(r *Report) { r.Bytes, r.Errno, r.LogError = 0, "EIO", "cut" }), scenarios.EIO, nil, "step"},
		{"disks not known", nil, done(func(r *Report) { r.DiskError = "no such file" }), scenarios.Error, nil, "done"},
		{"a hang that may be the host's, and an oops", []console.Finding{oops}, done(func(r *Report) { hung(r); r.Doubt = "QEMU does not come to rest" }), scenarios.Error, nil, "step"},
		{"a hang that may be the host's, and wrong bytes", nil, done(func(r *Report) { hung(r); r.Doubt, r.Mismatch = "QEMU does not come to rest", at(0) }), scenarios.Corrupt, nil, "step"},
		{"a hang that may be the host's, and one that is not", []console.Finding{stall}, done(func(r *Report) { hung(r); r.Doubt = "QEMU does not come to rest" }), scenarios.Hang, nil, "step"},
		{"legs not known", nil, done(func(r *Report) { r.LegsError = "no answer" }), scenarios.Error, nil, "done"},

		{"an act that fails, where it must not", nil, done(func(r *Report) { r.Failed, r.FailAs = "mdadm --add: exit status 1", scenarios.Degraded }), scenarios.Degraded, nil, "step"},
		{"a tool that fails, which says nothing of the kernel", nil, done(func(r *Report) { r.Failed, r.FailAs = "exit status 1", scenarios.Error }), scenarios.Error, nil, "done"},
		{"a wait for what never comes", nil, done(func(r *Report) { r.Failed, r.FailAs = "not after 30s", scenarios.Hang }), scenarios.Hang, nil, "step"},
		{"the same on a host that stood still", nil, done(func(r *Report) {
			r.Failed, r.FailAs, r.Paused = "not after 30s", scenarios.Hang, "the host stood still"
		}), scenarios.Error, nil, "step"},
		{"the same while QEMU does not come to rest", nil, done(func(r *Report) {
			r.Failed, r.FailAs, r.Doubt = "not after 30s", scenarios.Hang, "it does not come to rest"
		}), scenarios.Error, nil, "step"},
		{"a write that reached no disk", nil, done(func(r *Report) { r.Moves = MovesWrites }), scenarios.Error, nil, "done"},
		{"a write that failed need not", nil, done(func(r *Report) { r.Moves, r.Bytes, r.Errno = MovesWrites, 0, "EINVAL" }), scenarios.Pass, nil, "done"},
		{"a read that a layer answers by itself", nil, done(func(r *Report) { r.Moves, r.Reads, r.Submitted = MovesTask, 0, 4096 }), scenarios.Pass, nil, "done"},
		{"a read that it may answer, and does not", nil, done(func(r *Report) { r.Moves, r.Reads = MovesTask, 1 }), scenarios.Pass, nil, "done"},
		{"a read that it may answer, and was not asked", nil, done(func(r *Report) { r.Moves, r.Reads = MovesTask, 0 }), scenarios.Error, nil, "done"},
		{"a read that needs a disk, and came from elsewhere", nil, done(func(r *Report) { r.Reads, r.Submitted = 0, 4096 }), scenarios.Error, nil, "done"},
		{"I/O errors that the scenario injected", []console.Finding{ioError}, done(func(r *Report) { r.Explained = true }), scenarios.Pass, nil, "done"},
		{"a warning beside them", []console.Finding{ioError, warning}, done(func(r *Report) { r.Explained = true }), scenarios.Warn, nil, "step"},
		{"a leg that the scenario failed", nil, done(func(r *Report) { r.Legs[0].OK, r.Legs[0].Known = false, true }), scenarios.Pass, nil, "done"},
		{"any errno is expected", nil, done(func(r *Report) { r.Bytes, r.Errno, r.Expect = 0, "EBUSY", []string{"any"} }), scenarios.Pass, nil, "done"},

		{"a warning that the scenario allows", []console.Finding{warning}, done(func(r *Report) { r.Allow = []string{"WARNING in bio_*"} }), scenarios.Pass, nil, "done"},
		{"another one beside it", []console.Finding{warning, oops}, done(func(r *Report) { r.Allow = []string{"WARNING in bio_*"} }), scenarios.Bug, nil, "step"},
		{"the boot's own warning", []console.Finding{{Kind: console.KindWarn, Baseline: true}}, done(nil), scenarios.Pass, nil, "done"},
		{
			"a panic that panic_on_warn made of a warning",
			[]console.Finding{warning, {Kind: console.KindPanic, Title: "kernel panic", Consequence: true}},
			Report{Phase: "step", Step: "pread"},
			scenarios.Warn, nil, "step",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Judge(tt.findings, tt.report, nil)
			if got.Verdict != tt.want || got.Phase != tt.phase {
				t.Errorf("got %s in phase %s (%s), want %s in %s", got.Verdict, got.Phase, got.Reason, tt.want, tt.phase)
			}
			want := append([]scenarios.Verdict{}, tt.also...)
			if diff := cmp.Diff(want, got.Also); diff != "" {
				t.Errorf("also (-want +got):\n%s", diff)
			}
			if got.Reason == "" {
				t.Error("no reason")
			}
		})
	}
}

func TestSignatureIsStableOverTheOrderOfTitles(t *testing.T) {
	r := done(func(r *Report) { r.Legs[0].OK = false })
	a := Judge([]console.Finding{warning, oops}, r, nil)
	b := Judge([]console.Finding{oops, warning, warning}, r, nil)
	if a.Signature.String() != b.Signature.String() {
		t.Errorf("%q and %q differ", a.Signature, b.Signature)
	}
	want := "step/pread/bug: BUG: unable to handle page fault in bio_add_page; WARNING in bio_add_page"
	if a.Signature.String() != want {
		t.Errorf("got %q, want %q", a.Signature, want)
	}
}

// Given a write that was acknowledged, and of which the disks saw nothing, when
// the trial goes on, then it is corrupt where the data are not read back, and no
// verdict where they are.
func TestWriteThatReachesNoDiskIsJudgedByWhatFollows(t *testing.T) {
	wrote := done(func(r *Report) { r.Moves = MovesWrites })
	if !wrote.MayGoOn() || wrote.AsExpected() {
		t.Errorf("may go on: %v, as expected: %v", wrote.MayGoOn(), wrote.AsExpected())
	}
	if read := done(func(r *Report) { r.Reads = 0 }); read.MayGoOn() {
		t.Error("a read that reached no disk is gone on from")
	}
	for _, tc := range []struct {
		name  string
		after func(*Report)
		want  scenarios.Verdict
	}{
		{"read back", func(*Report) {}, scenarios.Error},
		{"lost", func(r *Report) { r.Mismatch = at(0) }, scenarios.Corrupt},
		{"not to be read", func(r *Report) { r.Bytes, r.Errno = 0, "EIO" }, scenarios.EIO},
	} {
		r := wrote
		for range 2 { // the second step does not hide what the first lacks
			next := Report{Step: "check", Expect: []string{"data"}, Moves: MovesNothing}
			r.Begin(next)
			r.Returned = true
		}
		tc.after(&r)
		j := Judge(nil, r, nil)
		if j.Verdict != tc.want || tc.want == scenarios.Error && j.Reason != wrote.unmoved() {
			t.Errorf("%s: %s: %s, want %s", tc.name, j.Verdict, j.Reason, tc.want)
		}
	}
}

// Given a sync that was interrupted, when that was while the stack was built,
// then it proves nothing, and afterwards it does.
func TestSyncThatIsInterrupted(t *testing.T) {
	f := console.Finding{Kind: console.KindIO, Title: "md: resync interrupted"}
	for phase, want := range map[string]scenarios.Verdict{scenarios.PhaseStack: scenarios.Pass, scenarios.PhaseStep: scenarios.Degraded} {
		if j := Judge([]console.Finding{f}, done(nil), func(console.Finding) string { return phase }); j.Verdict != want {
			t.Errorf("in phase %s: %s, want %s", phase, j.Verdict, want)
		}
	}
}

func TestPhaseOf(t *testing.T) {
	phase := PhaseOf([]console.Mark{
		{Line: 3, Text: "blockrig: guest: phase disks: load modules"},
		{Line: 8, Text: "blockrig: guest: phase stack"},
		{Line: 9, Text: "blockrig: guest: lvm says: phase step"},
		{Line: 20, Text: "blockrig: guest: phase step"},
		{Line: 30, Text: "blockrig: guest: phase done"},
	})
	for line, want := range map[int]string{1: "", 5: "disks", 12: "stack", 25: "step", 31: "step"} {
		if got := phase(console.Finding{Line: line}); got != want {
			t.Errorf("line %d: got phase %q, want %q", line, got, want)
		}
	}
}

func TestWhere(t *testing.T) {
	for want, stack := range map[string][]string{
		"__iomap_dio_rw": {"blk_io_schedule+0x1a/0x20", "__iomap_dio_rw+0x4d1/0x770", "ext4_file_read_iter+0x1/0x2 [ext4]"},
		"do_region":      {"do_region.isra.0+0x1/0x2 [dm_mod]"},
		"":               {"0x0"},
	} {
		if got := Where(stack); got != want {
			t.Errorf("Where(%q) = %q, want %q", stack, got, want)
		}
	}
}

func TestTheReasonOfARefusedWriteNamesTheFile(t *testing.T) {
	r := Report{Phase: scenarios.PhaseDone, Step: "write", Expect: []string{"data"}, Moves: MovesNothing}
	r.Observation = scenarios.Observation{Returned: true, Errno: "EINVAL", Output: "write \"x\" to /sys/block/md0/md/level:\ninvalid argument"}
	j := Judge(nil, r, nil)
	if want := `write failed with EINVAL: write "x" to /sys/block/md0/md/level: invalid argument`; j.Verdict != scenarios.Errno || j.Reason != want {
		t.Errorf("got %s, %q; want errno, %q", j.Verdict, j.Reason, want)
	}
	r.Observation = scenarios.Observation{Returned: true}
	if got := r.Outcome(); got != "done" {
		t.Errorf("what moves nothing and went well: got %q, want done", got)
	}
}
