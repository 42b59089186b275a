package trial

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// modelStack is a file on a file system on a mirror of two disks.
var modelStack = scenarios.Setup{
	Disks: []scenarios.Disk{{ID: "a"}, {ID: "b"}},
	Stack: []scenarios.Layer{
		{Name: "md", On: []string{"a", "b"}, MD: &scenarios.MD{Level: "raid1"}},
		{Name: "fs", On: []string{"md"}, FS: &scenarios.FS{Type: "ext4"}},
		{Name: "file", On: []string{"fs"}, File: &scenarios.File{Size: 8192}},
	},
}

func write(on string, offset, length int64, flags ...string) scenarios.Step {
	return scenarios.Step{IO: &scenarios.IO{Op: "pwrite", On: on, Offset: offset, Length: length, Count: 1, Flags: flags}}
}

func readAll(on string) scenarios.Step {
	return scenarios.Step{IO: &scenarios.IO{Op: "pread", On: on, Length: 1 << 20, Count: 1}}
}

// did is what a step showed that moved so many bytes.
func did(bytes int64) protocol.Result {
	return protocol.Result{Observation: scenarios.Observation{Returned: true, Bytes: bytes}}
}

func refused(errno string) protocol.Result {
	return protocol.Result{Observation: scenarios.Observation{Returned: true, Errno: errno}}
}

// Given what was done, when all is read, then this may stand there.
func TestTheModelKnowsWhatMayStandWhere(t *testing.T) {
	type done struct {
		step scenarios.Step
		seen protocol.Result
	}
	file := func(at, n int64, zero bool, of ...uint32) protocol.Extent {
		return protocol.Extent{Offset: at, Length: n, Generations: of, Zero: zero}
	}
	zeroes := scenarios.Step{IO: &scenarios.IO{Op: "fallocate", Mode: "zero-range", Offset: 1024, Length: 1024}}
	trim := scenarios.Step{IO: &scenarios.IO{Op: "discard", On: "b", Length: 512}}
	two := scenarios.Step{IO: &scenarios.IO{Op: "pwrite", Length: 512, Count: 2}}
	both := scenarios.Step{Parallel: &scenarios.Parallel{Groups: [][]scenarios.Step{{write("", 0, 1024)}, {write("", 512, 1024)}}}}
	chain := scenarios.Step{Linked: &scenarios.Linked{IO: []scenarios.IO{*write("", 0, 1024).IO, *readAll("").IO, *write("", 512, 1024).IO}}}
	atomic := write("", 0, 1024, "ATOMIC")
	for name, tt := range map[string]struct {
		on   string
		done []done
		want []protocol.Extent
	}{
		"nothing":                           {"", nil, []protocol.Extent{file(0, 8192, false, 0)}},
		"a write":                           {"", []done{{write("", 512, 1024), did(1024)}}, []protocol.Extent{file(0, 512, false, 0), file(512, 1024, false, 1), file(1536, 6656, false, 0)}},
		"one over another":                  {"", []done{{write("", 0, 8192), did(8192)}, {write("", 0, 4096), did(4096)}}, []protocol.Extent{file(0, 4096, false, 2), file(4096, 4096, false, 1)}},
		"one that failed":                   {"", []done{{write("", 0, 512), refused("EIO")}}, []protocol.Extent{file(0, 512, false, 0, 1), file(512, 7680, false, 0)}},
		"one without an answer":             {"", []done{{write("", 0, 512), protocol.Result{}}}, []protocol.Extent{file(0, 512, false, 0, 1), file(512, 7680, false, 0)}},
		"a short one":                       {"", []done{{write("", 0, 1024), did(512)}}, []protocol.Extent{file(0, 512, false, 1), file(512, 512, false, 0, 1), file(1024, 7168, false, 0)}},
		"one of two that failed":            {"", []done{{two, did(512)}}, []protocol.Extent{file(0, 1024, false, 0, 1), file(1024, 7168, false, 0)}},
		"zeroes":                            {"", []done{{zeroes, did(0)}}, []protocol.Extent{file(0, 1024, false, 0), file(1024, 1024, true), file(2048, 6144, false, 0)}},
		"a discard is a hint":               {"b", []done{{write("b", 0, 1024), did(1024)}, {trim, did(0)}}, []protocol.Extent{file(0, 512, true, 1), file(512, 512, false, 1)}},
		"a disk that was never written":     {"a", nil, []protocol.Extent{}},
		"a disk under what was written":     {"a", []done{{write("a", 0, 512), did(512)}, {write("", 0, 512), did(512)}}, []protocol.Extent{}},
		"a layer over a disk that was":      {"", []done{{write("a", 0, 512), did(512)}}, []protocol.Extent{file(0, 8192, false, 0)}},
		"two at the same time":              {"", []done{{both, protocol.Result{Groups: [][]protocol.Result{{did(1024)}, {did(1024)}}}}}, []protocol.Extent{file(0, 512, false, 1), file(512, 512, false, 1, 2), file(1024, 512, false, 2), file(1536, 6656, false, 0)}},
		"two of which one was never done":   {"", []done{{both, protocol.Result{Groups: [][]protocol.Result{{did(1024)}, {}}}}}, []protocol.Extent{file(0, 512, false, 1), file(512, 512, false, 1, 2), file(1024, 512, false, 0, 2), file(1536, 6656, false, 0)}},
		"a chain":                           {"", []done{{chain, protocol.Result{Groups: [][]protocol.Result{{did(1024), did(8192), did(1024)}}}}}, []protocol.Extent{file(0, 512, false, 1), file(512, 512, false, 2), file(1024, 512, false, 2), file(1536, 6656, false, 0)}},
		"a chain that was cancelled":        {"", []done{{chain, protocol.Result{Groups: [][]protocol.Result{{did(1024), refused("EIO"), refused("ECANCELED")}}}}}, []protocol.Extent{file(0, 512, false, 1), file(512, 512, false, 1, 2), file(1024, 512, false, 0, 2), file(1536, 6656, false, 0)}},
		"one that is whole or not, unknown": {"", []done{{atomic, protocol.Result{}}}, []protocol.Extent{{Offset: 0, Length: 1024, Generations: []uint32{0, 1}, Whole: true}, file(1024, 7168, false, 0)}},
	} {
		m := newModel(modelStack)
		for _, d := range tt.done {
			m.end(m.begin(d.step), d.seen)
		}
		if diff := cmp.Diff(tt.want, m.begin(readAll(tt.on)).Data, cmp.Transformer("none", func(g []uint32) []uint32 { return append([]uint32{}, g...) })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Given a write-back bcache that was written twice, when it is discarded, then
// anything may stand there: its cache drops what it alone had.
func TestADiscardOfAWriteBackCacheMayBringBackAnything(t *testing.T) {
	for mode, want := range map[string]int{"writeback": 1, "writethrough": 2} {
		setup := scenarios.Setup{Disks: []scenarios.Disk{{ID: "a"}, {ID: "b"}}, Stack: []scenarios.Layer{
			{Name: "c", On: []string{"a", "b"}, Bcache: &scenarios.Bcache{Mode: mode}},
			{Name: "d", On: []string{"c"}, DM: &scenarios.DM{Table: []string{"0 8 linear {c} 0"}}},
		}}
		m := newModel(setup)
		for _, st := range []scenarios.Step{write("d", 0, 1024), write("d", 0, 1024)} {
			m.end(m.begin(st), did(1024))
		}
		m.end(m.begin(scenarios.Step{IO: &scenarios.IO{Op: "discard", On: "d", Length: 512}}), did(0))
		if got := m.begin(readAll("d")).Data; len(got) != want {
			t.Errorf("%s: %d ranges are known, want %d: %v", mode, len(got), want, got)
		}
	}
}

// Given a snapshot that an act made of a volume over a bcache, when it is
// discarded, then anything may stand there where the bcache is a write-back one,
// as it would in the volume, which keeps what it had.
func TestADiscardOfASnapshotGoesToWhatItsOriginLiesOn(t *testing.T) {
	for mode, want := range map[string]int{"writeback": 1, "writethrough": 2} {
		m := newModel(scenarios.Setup{Disks: []scenarios.Disk{{ID: "a"}, {ID: "b"}}, Stack: []scenarios.Layer{
			{Name: "c", On: []string{"a", "b"}, Bcache: &scenarios.Bcache{Mode: mode}},
			{Name: "v", On: []string{"c"}, LVM: &scenarios.LVM{Type: "thin"}},
		}})
		do := func(st scenarios.Step) { m.end(m.begin(st), did(1024)) }
		do(write("v", 0, 1024))
		do(scenarios.Step{Act: &scenarios.Act{Do: "snapshot", To: "v", Snapshot: "s"}})
		do(scenarios.Step{Act: &scenarios.Act{Do: "snapshot", To: "s", Snapshot: "of s"}})
		for _, on := range []string{"s", "of s"} {
			do(scenarios.Step{IO: &scenarios.IO{Op: "discard", On: on, Length: 512}})
			if got := m.begin(readAll(on)).Data; len(got) != want {
				t.Errorf("%s, %s: %d ranges are known, want %d: %v", mode, on, len(got), want, got)
			}
		}
		if got := m.begin(readAll("v")).Data; len(got) != 1 || got[0].Length != 1024 {
			t.Errorf("%s: of the volume %v is known, want all", mode, got)
		}
	}
}

// Given a volume whose disk is known, when a snapshot of it is written, then the
// disk is not known any more: the snapshot lies there, too.
func TestAWriteToASnapshotForgetsWhatLiesBelow(t *testing.T) {
	m := newModel(scenarios.Setup{Disks: []scenarios.Disk{{ID: "a"}}, Stack: []scenarios.Layer{{Name: "v", On: []string{"a"}, LVM: &scenarios.LVM{Type: "linear"}}}})
	for _, st := range []scenarios.Step{{Act: &scenarios.Act{Do: "snapshot", To: "v", Snapshot: "s"}}, write("a", 0, 512), write("s", 0, 512)} {
		m.end(m.begin(st), did(512))
	}
	if got := m.begin(readAll("a")).Data; len(got) != 0 {
		t.Errorf("of the disk %v is known", got)
	}
}

// Given a snapshot with a name, when it and its origin are written, then each
// has its own, until the snapshot is merged.
func TestASnapshotHasItsOwnData(t *testing.T) {
	m := newModel(scenarios.Setup{Disks: []scenarios.Disk{{ID: "a"}}, Stack: []scenarios.Layer{{Name: "v", On: []string{"a"}, LVM: &scenarios.LVM{Type: "linear"}}}})
	act := func(do string) scenarios.Step {
		return scenarios.Step{Act: &scenarios.Act{Do: do, To: "v", Snapshot: "s"}}
	}
	now := func(on string) (g []uint32) {
		for _, e := range m.begin(readAll(on)).Data {
			g = append(g, e.Generations...)
		}
		return g
	}
	for _, st := range []scenarios.Step{write("v", 0, 1024), act("snapshot"), write("v", 0, 512), write("s", 512, 512)} {
		m.end(m.begin(st), did(1024))
	}
	if v, s := now("v"), now("s"); !slices.Equal(v, []uint32{2, 1}) || !slices.Equal(s, []uint32{1, 3}) {
		t.Errorf("the volume has %v, the snapshot %v", v, s)
	}
	m.end(m.begin(act("merge")), did(0))
	if v := now("v"); !slices.Equal(v, []uint32{1, 3}) {
		t.Errorf("merged, the volume has %v", v)
	}
}

// Given writes of which some were made durable, when the power is cut, then the
// others may be there or not.
func TestAfterAPowerCutWhatWasNotFlushedMayBeGone(t *testing.T) {
	m := newModel(modelStack)
	do := func(st scenarios.Step, r protocol.Result) { m.end(m.begin(st), r) }
	do(write("", 0, 512), did(512))
	do(scenarios.Step{IO: &scenarios.IO{Op: "fsync"}}, did(0))
	do(write("", 0, 512), did(512))
	do(write("", 512, 512, "DSYNC"), did(512))
	do(write("", 1024, 512), did(512))
	do(scenarios.Step{IO: &scenarios.IO{Op: "fsync"}}, refused("EIO"))
	m.mark()
	m.cut(0)
	var got []protocol.Extent
	for _, e := range m.begin(readAll("")).Data {
		got = append(got, protocol.Extent{Offset: e.Offset, Length: e.Length, Generations: e.Generations})
	}
	want := []protocol.Extent{
		{Offset: 0, Length: 512, Generations: []uint32{1, 2}},
		{Offset: 512, Length: 512, Generations: []uint32{3}},
		{Offset: 1024, Length: 512, Generations: []uint32{0, 4}},
		{Offset: 1536, Length: 6656, Generations: []uint32{0}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Given marks between steps, when the power is cut in the past, then what was
// flushed by then stands, and of what came later all may or may not.
func TestAPowerCutInThePastKnowsOnlyWhatWasFlushedByThen(t *testing.T) {
	for mark, want := range [][]uint32{{0, 1, 2}, {0, 1, 2}, {1, 2}, {1, 2}, {2}} {
		m := newModel(modelStack)
		m.mark()
		for _, st := range []scenarios.Step{write("", 0, 512), {IO: &scenarios.IO{Op: "fsync"}}, write("", 0, 512), {IO: &scenarios.IO{Op: "fsync"}}} {
			r := did(0)
			if st.IO.Writes() {
				r = did(512)
			}
			m.end(m.begin(st), r)
			m.mark()
		}
		m.cut(mark)
		if got := m.begin(readAll("")).Data[0].Generations; !slices.Equal(got, want) {
			t.Errorf("cut after mark %d: %v may stand, want %v", mark, got, want)
		}
	}
}

// Given many writes in many places, when they are read, then a few words tell
// what may stand there, and none of it is wrong.
func TestWhatManyWritesLeftIsToldInFewWords(t *testing.T) {
	m := newModel(scenarios.Setup{Disks: []scenarios.Disk{{ID: "a"}}})
	random := &scenarios.IO{Op: "pwrite", On: "a", Length: 512, Count: 20_000, Random: true, Range: 64 << 20}
	m.end(m.begin(scenarios.Step{IO: &scenarios.IO{Op: "pwrite", On: "a", Length: 64 << 20, Count: 1}}), did(64<<20))
	m.end(m.begin(scenarios.Step{IO: random}), did(20_000*512))
	got := m.begin(scenarios.Step{IO: &scenarios.IO{Op: "pread", On: "a", Length: 64 << 20, Count: 1}}).Data
	if len(got) > mostExtents || len(got) == 0 {
		t.Fatalf("%d extents", len(got))
	}
	at := map[int64][]uint32{}
	for p := range random.Places() {
		at[p] = []uint32{2}
	}
	for _, e := range got {
		for p := e.Offset; p < e.Offset+e.Length; p += 512 {
			want := uint32(1)
			if at[p] != nil {
				want = 2
			}
			if !slices.Contains(e.Generations, want) {
				t.Fatalf("at %d may stand %v, and %d does", p, e.Generations, want)
			}
		}
	}
}

// Given a chain that writes and reads the same place, then what is read is what
// the write before it has put there, and nothing older.
func TestAChainReadsWhatItHasWritten(t *testing.T) {
	m := newModel(modelStack)
	got := m.begin(scenarios.Step{Linked: &scenarios.Linked{IO: []scenarios.IO{
		*write("", 0, 512).IO, {Op: "io_uring-read", Length: 512, Count: 1}, *write("", 0, 512).IO, {Op: "io_uring-read", Length: 512, Count: 1},
	}}})
	for i, want := range map[int]uint32{1: 1, 3: 2} {
		if d := got.Groups[0][i].Data; len(d) != 1 || !slices.Equal(d[0].Generations, []uint32{want}) {
			t.Errorf("link %d may read %v, want generation %d", i, d, want)
		}
	}
}
