package hunt

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/programs"
)

// Every program is one that a scenario can have, stays in its space, and has one
// to six operations.
func TestEveryProgramIsAScenario(t *testing.T) {
	g := programs.NewGenerator(7)
	file, err := ParseStack("lvm-raid1+ext4")
	if err != nil {
		t.Fatal(err)
	}
	for n := range g.Pairs() + 150 {
		p := g.Program(n)
		if len(p) < 1 || len(p) > programs.Longest {
			t.Fatalf("program %d has %d operations", n, len(p))
		}
		for _, o := range p {
			if o.Offset+o.Length > programs.Space || o.Length < 1 {
				t.Errorf("program %d leaves its space: %s", n, p)
			}
		}
		if _, c, err := single("try", "A program.", Stack{Name: Plain}, p, setting{filled: true}); err != nil {
			t.Fatalf("program %d, %s: %v", n, p, err)
		} else if got := ioOf(c.Steps); len(got) != len(p)+1 || programs.Say(got[1]) != programs.Say(p[0]) {
			t.Errorf("program %d, %s: the scenario says %s", n, p, got)
		}
		if slices.ContainsFunc(p, func(o scenarios.IO) bool { return o.Op == "zeroes" || o.Op == "discard" }) {
			continue // they go to devices only
		}
		if _, _, err := single("try", "A program.", file, p, setting{filled: true}); err != nil {
			t.Fatalf("program %d on a file, %s: %v", n, p, err)
		}
	}
}

func ioOf(steps []scenarios.Step) (out Program) {
	for _, st := range steps {
		if st.IO != nil {
			out = append(out, *st.IO)
		}
	}
	return out
}

func TestStacks(t *testing.T) {
	for name, disks := range map[string]int{"plain": 1, "lvm-mirror": 2, "md-raid1": 2, "crypt+md-raid1": 2, "lvm-raid1+ext4": 2, "md-raid1+md-raid1": 4, "brd": 0, "zram+md-raid1": 0, "lvm-raid6+f2fs": 5} {
		s, err := ParseStack(name)
		if err != nil {
			t.Fatal(err)
		}
		var setup scenarios.Setup
		s.Build(&setup, "s1")
		if len(setup.Disks) != disks {
			t.Errorf("%s has %d disks, want %d", name, len(setup.Disks), disks)
		}
		if _, _, err := single("x", "x", s, Program{{Op: "pread", Length: 512, Count: 1, Depth: 1}}, setting{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range StackNames() {
		s, err := ParseStack(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := single("x", "x", s, Program{{Op: "pread", Length: 512, Count: 1, Depth: 1}}, setting{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []string{"", "lvm-raid", "ext4+lvm-raid1", "md-raid6+md-raid6+md-raid6", "md-raid1+brd", "lvm-thin+lvm-raid1", "crypt+dm-era", "scsi_debug+md-raid1"} {
		if _, err := ParseStack(bad); err == nil {
			t.Errorf("%q is a stack", bad)
		}
	}
	if _, err := newField([]Stack{{Name: Plain}, must(t, "lvm-mirror"), must(t, "md-raid1"), must(t, "lvm-raid1+ext4")}); err != nil {
		t.Error(err)
	}
}

func must(t *testing.T, name string) Stack {
	t.Helper()
	s, err := ParseStack(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Given a suspect whose copies differed, then its scenario compares those of each
// layer that keeps some, and another's does not.
func TestCopiesAreComparedWhereTheyDiffered(t *testing.T) {
	for name, want := range map[string]int{"md-raid1": 1, "lvm-mirror+md-raid1": 3, "md-raid5": 0} {
		for _, agree := range []bool{true, false} {
			_, c, err := single("x", "x", must(t, name), Program{{Op: "pwrite", Direct: true, Length: 512, Count: 1, Depth: 1}}, setting{agree: agree})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, st := range c.Steps {
				if st.Check != nil && st.Check.Agree != "" {
					n++
				}
			}
			if agree && n != want || !agree && n != 0 {
				t.Errorf("%s, asked for %t: %d layers are compared, want %d", name, agree, n, want)
			}
		}
	}
}

// Given a suspect on a file, then it is tried on one that was written, and on one
// of which nothing stands anywhere; a device is filled instead. A report says so.
func TestAFileIsTriedUnwritten(t *testing.T) {
	p := Program{{Op: "pwrite", Direct: true, Offset: 512, Length: 512, Unmapped: true}}
	for name, want := range map[string][]string{"xfs": {"", "unwritten"}, "md-raid1": {"", "fill", "fill"}} {
		c := confirmation{stack: must(t, name), program: p}
		var first []string
		for _, in := range c.settings() {
			_, cs, err := single("try", "A program.", c.stack, p, in)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(cs.Steps, func(st scenarios.Step) bool { return st.IO != nil })
			said := cs.Steps[i].Name
			if programs.Say(*cs.Steps[i].IO) == programs.Say(p[0]) {
				said = ""
			}
			first = append(first, said)
			f := Finding{Before: in.begins(c.stack)}
			if r := f.Report(); strings.Contains(r, "fallocate zero-range 262144@0\n") != in.unwritten || strings.Contains(r, "pwrite direct 262144@0\n") != in.filled {
				t.Errorf("%s: %+v: %s", name, in, r)
			}
		}
		if diff := cmp.Diff(want, first); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Given a part with a layer below its last device, then that lies there, and the
// part on it and on the others.
func TestALegHasALayerOfItsOwn(t *testing.T) {
	parts["lies"] = array(2, scenarios.MD{Level: "raid1"}).in(func(p *part) {
		p.leg = func() scenarios.Layer {
			return scenarios.Layer{DM: &scenarios.DM{Table: []string{"0 8 linear {0} 0", "8 8 error"}}}
		}
	})
	defer delete(parts, "lies")
	var setup scenarios.Setup
	top := must(t, "lies").Build(&setup, "")
	want := []scenarios.Layer{
		{Name: "l1", On: []string{"d2"}, DM: &scenarios.DM{Table: []string{"0 8 linear {d2} 0", "8 8 error"}}},
		{Name: "l2", On: []string{"d1", "l1"}, MD: &scenarios.MD{Level: "raid1"}},
	}
	if diff := cmp.Diff(want, setup.Stack); diff != "" || top != "l2" {
		t.Errorf("top %s (-want +got):\n%s", top, diff)
	}
}

// Given a target inside a table, then the table has no gap and the size that is
// asked for.
func TestATargetInsideATable(t *testing.T) {
	for name := range parts {
		if !strings.HasSuffix(name, "-inside") {
			continue
		}
		var setup scenarios.Setup
		must(t, name).Build(&setup, "")
		at := int64(0)
		for _, line := range setup.Stack[0].DM.Table {
			var from, length int64
			if _, err := fmt.Sscan(line, &from, &length); err != nil || from != at || length <= 0 {
				t.Fatalf("%s: %q follows sector %d: %v", name, line, at, err)
			}
			at += length
		}
		if len(setup.Stack[0].DM.Table) != 3 || at*sector != int64(volumeSize) {
			t.Errorf("%s: %d sectors of %q", name, at, setup.Stack[0].DM.Table)
		}
	}
}

func TestRightAnswers(t *testing.T) {
	odd := scenarios.IO{Op: "pread", Direct: true, Length: 4096, MemoryOffset: 32}
	even := scenarios.IO{Op: "pread", Direct: true, Length: 4096}
	for _, tt := range []struct {
		o      scenarios.IO
		answer string
		want   bool
	}{
		{odd, "", true},
		{odd, "EINVAL", true},
		{odd, "EIO", false},
		{odd, "stale@512", false},
		{even, "EINVAL", false},
		{even, "short 512", false},
		{scenarios.IO{Op: "pread", Length: 511, MemoryOffset: 1}, "EINVAL", false},
		{scenarios.IO{Op: "preadv2", Flags: []string{"NOWAIT"}, Length: 512}, "EAGAIN", true},
		{scenarios.IO{Op: "preadv2", Flags: []string{"NOWAIT"}, Length: 1024}, "short 512", true},
		{scenarios.IO{Op: "preadv2", Flags: []string{"NOWAIT"}, Length: 1024}, "short 0", false},
		{scenarios.IO{Op: "pwrite", Length: 512, Unmapped: true}, "EFAULT", true},
		{scenarios.IO{Op: "pwrite", Length: 512, Unmapped: true}, "short 0", false},
		{scenarios.IO{Op: "pwrite", Length: 512, MemoryOffset: 3584, Unmapped: true}, "short 256", false},
		{scenarios.IO{Op: "pwrite", Length: 4608, Unmapped: true}, "short 4096", true},
		{scenarios.IO{Op: "discard", Length: 512}, "ENOTSUP", true},
		{scenarios.IO{Op: "zeroes", Length: 512}, "ENOTSUP", false},
	} {
		if ok := right(tt.o, Stack{}, tt.answer); ok != tt.want {
			t.Errorf("%s answers %q: right %t", programs.Say(tt.o), tt.answer, ok)
		}
	}
	noWait := scenarios.IO{Op: "pwritev2", Flags: []string{"NOWAIT"}, Length: 512}
	for _, tt := range []struct {
		stack  string
		direct bool
		want   bool
	}{{"f2fs", false, true}, {"f2fs", true, false}, {"md-raid1+f2fs", false, true}, {"ext4", false, false}, {"md-raid1", false, false}} {
		o := noWait
		o.Direct = tt.direct
		if ok := right(o, must(t, tt.stack), "EINVAL"); ok != tt.want {
			t.Errorf("%s of %s, direct %t, answers EINVAL: right %t", programs.Say(o), tt.stack, tt.direct, ok)
		}
	}
}
