package qemu

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestFaultThatCanNotBe(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault Fault
		want  string
	}{
		{"no effect", Fault{}, "want one of bitflip, error, lost, medium, slow, stale, stall, torn"},
		{"a read that is lost", Fault{Do: LoseWrite, Op: ReadOp}, "[write flush discard]"},
		{"a flush that is torn", Fault{Do: TearWrite, Op: FlushOp}, "[write]"},
		{"unknown operation", Fault{Do: FailRequest, Op: "trim"}, "[read write flush discard]"},
		{"unknown errno", Fault{Do: FailRequest, Errno: "ENODATA"}, "EINVAL, EIO, ENOMEM, ENOSPC"},
		{"errno of a slow request", Fault{Do: SlowRequest, Delay: 1, Errno: "EIO"}, "has none"},
		{"no length", Fault{Do: FailRequest, Offset: 512}, "length above 0"},
		{"flush of a range", Fault{Do: FailRequest, Op: FlushOp, Length: 512}, "whole disk"},
		{"negative count", Fault{Do: FailRequest, Count: -1}, "negative"},
		{"slow without delay", Fault{Do: SlowRequest}, "needs a delay"},
		{"stall with delay", Fault{Do: StallRequest, Delay: time.Second}, "slow is what ends"},
		{"chance of 2", Fault{Do: FailRequest, Chance: 2}, "0 to 1"},
	} {
		if err := tt.fault.check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestInjectNamesTheDisk(t *testing.T) {
	c := serveDisk(t, Disk{ID: "a"})
	m := &Machine{spec: Spec{Disks: []Disk{{ID: "a"}, {ID: "b"}}}, filters: map[string]*filter{"a": c.f}}
	for fault, want := range map[Fault]string{
		{Disk: "b", Do: FailRequest}:                                     "disk b has no filter",
		{Disk: "z", Do: FailRequest}:                                     `no disk "z"`,
		{Disk: "a", Do: FailRequest, Offset: testDiskSize, Length: 4096}: "the disk has 65536",
		{Disk: "a", Do: "explode"}:                                       `effect "explode"`,
	} {
		if err := m.Inject(Fault{Disk: "a", Do: FailRequest}, fault); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", fault, err, want)
		}
	}
	if got := c.at0(1); got != "." {
		t.Errorf("a fault is in force though one was refused: %s", got)
	}
}

func TestAFaultWithoutALengthGoesToTheEnd(t *testing.T) {
	c := serveDisk(t, Disk{ID: "a"})
	m := &Machine{spec: Spec{Disks: []Disk{{ID: "a"}}}, filters: map[string]*filter{"a": c.f}}
	if err := m.Inject(Fault{Disk: "a", Do: FailRequest, Op: ReadOp, Offset: 4096}); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[int64]syscall.Errno{0: 0, 4096 - 512: 0, 4096: syscall.EIO, testDiskSize - 512: syscall.EIO} {
		if _, got := c.read(at, 512); got != want {
			t.Errorf("a read at %d: errno %d, want %d", at, got, want)
		}
	}
}

func TestFaultsHitWhatTheyAreFor(t *testing.T) {
	const eio = "input/output error"
	for _, tt := range []struct {
		name  string
		fault Fault
		do    func(c *client) string
		want  string
		seen  int
		hit   int
	}{
		{"all reads", Fault{Do: FailRequest, Op: ReadOp}, func(c *client) string { return c.at0(1) }, eio, 1, 1},
		{"another errno", Fault{Do: FailRequest, Errno: "ENOSPC"}, func(c *client) string { return c.at0(1) }, syscall.ENOSPC.Error(), 1, 1},
		{"other operation", Fault{Do: FailRequest, Op: WriteOp}, func(c *client) string { return c.at0(1) }, "a", 0, 0},
		{"just before the range", Fault{Do: FailRequest, Offset: 512, Length: 512}, func(c *client) string { return c.at0(1) }, "a", 0, 0},
		{"into the range", Fault{Do: FailRequest, Offset: 512, Length: 1}, func(c *client) string { return c.at0(2) }, eio, 1, 1},
		{"just after the range", Fault{Do: FailRequest, Length: 512}, func(c *client) string { return fmt.Sprint(c.write(512, 512, 'x')) }, "errno 0", 0, 0},
		{"a flush, by a range", Fault{Do: FailRequest, Length: 512}, func(c *client) string { return fmt.Sprint(c.flush()) }, "errno 0", 0, 0},
		{"the third and fourth", Fault{Do: FailRequest, Op: FlushOp, After: 2, Count: 2}, func(c *client) string {
			return fmt.Sprint(int(c.flush()), int(c.flush()), int(c.flush()), int(c.flush()), int(c.flush()))
		}, "0 0 5 5 0", 5, 2},
		{"a failed write writes nothing", Fault{Do: FailRequest, Op: WriteOp, Count: 1}, func(c *client) string {
			return fmt.Sprint(c.write(0, 512, 'x')) + c.at0(1)
		}, eio + "a", 1, 1},
		{"lost write", Fault{Do: LoseWrite}, func(c *client) string { return fmt.Sprint(int(c.write(0, 512, 'x'))) + c.at0(1) }, "0a", 1, 1},
		{"lost discard", Fault{Do: LoseWrite, Op: DiscardOp}, func(c *client) string { return fmt.Sprint(int(c.discard(0, 512))) + c.at0(1) }, "0a", 1, 1},
		{"torn write", Fault{Do: TearWrite, Seed: 3}, func(c *client) string { return fmt.Sprint(int(c.write(0, 4096, 'x'))) + c.at0(8) }, "0xxxxxxxa", 1, 1},
		{"torn write of one block", Fault{Do: TearWrite}, func(c *client) string { return fmt.Sprint(int(c.write(0, 512, 'x'))) + c.at0(2) }, "0xa", 0, 0},
		{"bad medium", Fault{Do: BadMedium, Offset: 512, Length: 1024}, func(c *client) string {
			return c.at0(1) + "," + c.at0(3) + fmt.Sprint(",", int(c.write(512, 512, 'x'))) + "," + c.at0(2) + "," + c.at0(3)
		}, "a," + eio + ",0,ax," + eio, 2, 2},
		{"bad medium that is discarded", Fault{Do: BadMedium, Length: 512}, func(c *client) string { return fmt.Sprint(int(c.discard(0, 512))) + c.at0(1) }, "0" + eio, 1, 1},
		{"stale read", Fault{Do: StaleRead, Length: 512}, func(c *client) string {
			p, _ := c.read(512, 512)
			return fmt.Sprint(int(c.write(0, 1024, 'x'))) + c.at0(2) + sectors(p)
		}, "0aaa", 1, 1},
		{"flipped read", Fault{Do: FlipBit, Op: ReadOp, Count: 1, Length: 1}, func(c *client) string { return flipped(c.at0(1)) + c.at0(1) }, "one bita", 2, 1},
		{"flipped write", Fault{Do: FlipBit, Op: WriteOp, Offset: 0, Length: 1}, func(c *client) string {
			c.write(0, 512, 'a')
			return flipped(c.at0(1))
		}, "one bit", 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := serveDisk(t, Disk{ID: "a"})
			if e := c.write(0, 8192, 'a'); e != 0 {
				t.Fatal(e)
			}
			inForce(t, c, tt.fault)
			if got := tt.do(c); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if h := c.f.hits()[0]; h.Seen != tt.seen || h.Hit != tt.hit {
				t.Errorf("seen %d, hit %d; want %d, %d", h.Seen, h.Hit, tt.seen, tt.hit)
			}
			// A disk that is healed is as it should be, and the account stays.
			inForce(t, c)
			if e := c.write(0, 512, 'h'); e != 0 || c.at0(1) != "h" {
				t.Errorf("after healing: %v, %s", e, c.at0(1))
			}
			if h := c.f.hits(); len(h) != 1 || h[0].Hit != tt.hit {
				t.Errorf("account after healing: %+v", h)
			}
		})
	}
}

// flipped says that one bit of 'a' is another.
func flipped(s string) string {
	if d := s[0] ^ 'a'; d != 0 && d&(d-1) == 0 {
		return "one bit"
	}
	return s
}

func TestChanceIsTheSeeds(t *testing.T) {
	pattern := func(seed uint64) string {
		c := serveDisk(t, Disk{ID: "a"})
		inForce(t, c, Fault{Do: FailRequest, Op: FlushOp, Chance: 0.3, Seed: seed})
		var out strings.Builder
		for range 100 {
			fmt.Fprint(&out, int(c.flush()))
		}
		return out.String()
	}
	one, two := pattern(1), pattern(2)
	if one != pattern(1) || one == two {
		t.Errorf("seed 1 %s, then %s; seed 2 %s", one, pattern(1), two)
	}
	if n := strings.Count(one, "5"); n < 10 || n > 60 {
		t.Errorf("%d of 100 hit with a chance of 0.3", n)
	}
}

func TestHeldRequestsWaitAndDoNotCountAsPending(t *testing.T) {
	for name, fault := range map[string]Fault{
		"stall": {Do: StallRequest, Op: ReadOp},
		"slow":  {Do: SlowRequest, Op: ReadOp, Delay: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			c := serveDisk(t, Disk{ID: "a"})
			inForce(t, c, fault)
			held := c.begin(nbdRead, 0, 0, 512, nil)
			if e := c.write(0, 512, 'x'); e != 0 { // after it, on the same connection
				t.Error(e)
			}
			if n := c.f.heldNow(); n != 1 {
				t.Errorf("%d are held, want 1", n)
			}
			c.idle()
			inForce(t, c)
			if e := <-held.done; e != 0 || sectors(held.read) != "x" {
				t.Errorf("when let go: %v, %s", e, sectors(held.read))
			}
			// One that is still held when all ends leaves nothing: see serveContent.
			inForce(t, c, fault)
			c.begin(nbdRead, 0, 0, 512, nil)
		})
	}
}

// Given a disk with blocks of 4096 bytes of which one is bad, then a write of a
// part of it fails, and one of all of it makes it good.
func TestBadMediumIsOfWholeBlocks(t *testing.T) {
	c := serveDisk(t, Disk{ID: "a", PhysicalBlockSize: 4096})
	inForce(t, c, Fault{Do: BadMedium, Offset: 4096 + 512, Length: 512})
	const bad = syscall.EIO
	for _, tt := range []struct {
		what       string
		write      bool
		at, length int64
		want       syscall.Errno
	}{
		{"the block before", false, 0, 4096, 0},
		{"its first sector", false, 4096, 512, bad},
		{"the block after", false, 8192, 4096, 0},
		{"a part of the block before", true, 512, 512, 0},
		{"a part of it", true, 4096, 512, bad},
		{"its end and more", true, 7680, 1024, bad},
		{"its begin and what is before", true, 0, 4608, bad},
		{"the same as before", false, 4096, 512, bad},
		{"all of it, and a part of the next", true, 4096, 4608, 0},
		{"what was written", false, 0, 16384, 0},
	} {
		var got syscall.Errno
		if tt.write {
			got = c.write(tt.at, tt.length, 'x')
		} else {
			_, got = c.read(tt.at, tt.length)
		}
		if got != tt.want {
			t.Errorf("%s: errno %d, want %d", tt.what, got, tt.want)
		}
	}
}

// Given a fault that has hit as often as it may, when another one joins it, then
// it does not begin anew.
func TestAFaultGoesOnWhenAnotherOneComes(t *testing.T) {
	c := serveDisk(t, Disk{ID: "a"})
	once := Fault{Do: FailRequest, Op: ReadOp, Count: 1}
	inForce(t, c, once)
	if _, e := c.read(0, 512); e != syscall.EIO {
		t.Fatal(e)
	}
	inForce(t, c, once, Fault{Do: FailRequest, Op: FlushOp})
	if _, e := c.read(0, 512); e != 0 {
		t.Errorf("a fault of one request has hit another one: %v", e)
	}
	inForce(t, c, once, once)
	if _, e := c.read(0, 512); e != syscall.EIO {
		t.Errorf("the same fault once more does not hit: %v", e)
	}
	if h := c.f.hits(); len(h) != 3 {
		t.Errorf("%+v, want each fault once", h)
	}
}

// Given a bad sector whose write is lost, then it stays bad.
func TestBadMediumStaysWhereAWriteIsLost(t *testing.T) {
	c := serveDisk(t, Disk{ID: "a"})
	inForce(t, c, Fault{Do: BadMedium}, Fault{Do: LoseWrite})
	if e := c.write(0, 512, 'x'); e != 0 {
		t.Error(e)
	}
	if _, e := c.read(0, 512); e != syscall.EIO {
		t.Errorf("errno %d, want that it is bad", e)
	}
}
