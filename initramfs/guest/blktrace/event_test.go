package blktrace

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var (
	sda     = unix.Mkdev(8, 0)
	sda1    = unix.Mkdev(8, 1)
	mimage  = unix.Mkdev(254, 1)
	mirror  = unix.Mkdev(254, 3)
	noWhole = func(uint64) uint64 { return 0 }
)

// The lines are those of 6.18.15 and 7.2, the second shape of a completed
// request being the older one.
func TestLinesOfATraceAreRead(t *testing.T) {
	for line, want := range map[string]Event{
		"     blockrig-io-158     [000] .....    11.641355: block_bio_queue: 254,3 RS 16776 + 1 [blockrig-io]": {
			At: 11641355 * time.Microsecond, Kind: Queued, Dev: mirror, Op: "read", Sector: 16776, Sectors: 1,
		},
		"     kworker/0:0-9       [000] d.h1.    11.642679: block_bio_remap: 254,1 WS 16776 + 8 <- (254,3) 16768": {
			At: 11642679 * time.Microsecond, Kind: Remapped, Dev: mimage, Op: "write", Sector: 16776, Sectors: 8, From: mirror, FromAt: 16768,
		},
		"     blockrig-io-158     [001] .l...    11.644122: ended: (bio_endio+0x4/0x1f0) dev=8388608 op=34816 sector=18824 status=19": {
			At: 11644122 * time.Microsecond, Kind: Ended, Dev: sda, Op: "read", Sector: 18824, Errno: "EINVAL",
		},
		"     a task - [x]-158     [000] .....    11.644890: block_bio_complete: 8,0 RS 18824 + 1 [-22]": {
			At: 11644890 * time.Microsecond, Kind: Completed, Dev: sda, Op: "read", Sector: 18824, Sectors: 1, Errno: "EINVAL",
		},
		"          <idle>-0       [000] ..s1.     7.000001: block_rq_complete: 8,0 FWFS () 2048 + 8 none,0,0 [-5]": {
			At: 7000001 * time.Microsecond, Kind: Requested, Dev: sda, Op: "write", Sector: 2048, Sectors: 8, Errno: "EIO",
		},
		"          <idle>-0       [000] ..s1.     7.000001: block_rq_complete: 8,0 D (28 00 00) 2048 + 8 [0]": {
			At: 7000001 * time.Microsecond, Kind: Requested, Dev: sda, Op: "discard", Sector: 2048, Sectors: 8,
		},
	} {
		got, ok := parse(line)
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("%s\n%t (-want +got):\n%s", line, ok, diff)
		}
	}
	for _, line := range []string{
		"", "# tracer: nop", "blockrig-io-158 [000] ..... 11.6: block_bio_queue: 254,3",
		"     blockrig-io-158     [000] .....    11.644122: ended: (bio_endio+0x4/0x1f0) dev=(fault) op=0 sector=0 status=0",
		"     blockrig-io-158     [000] .....    11.644122: ended: (bio_endio+0x4/0x1f0) dev=0 op=0 sector=0 status=10", // of no device
		"     blockrig-io-158     [000] .....    11.644122: ended: (bio_endio+0x4/0x1f0) dev=4294967295 op=0 sector=0 status=10",
		"     blockrig-io-158     [000] .....    11.641355: block_plug: [blockrig-io]",
	} {
		if got, ok := parse(line); ok {
			t.Errorf("%q is read as %+v", line, got)
		}
	}
}

func TestOperationsAreThoseOfTheLetters(t *testing.T) {
	for rwbs, want := range map[string]string{
		"R": "read", "RA": "read", "WS": "write", "FWS": "write", "WZ": "zeroes", "D": "discard", "F": "flush", "FN": "flush", "N": "other",
	} {
		if got := opOf(rwbs); got != want {
			t.Errorf("%s is %s, want %s", rwbs, got, want)
		}
	}
}

func TestEachDeviceHasItsFirstError(t *testing.T) {
	r := Record{Errors: []Event{
		{Kind: Requested, Dev: sda, Sector: 1, Errno: "EIO"},
		{Kind: Ended, Dev: sda, Sector: 9, Errno: "EIO"},
		{Kind: Ended, Dev: mimage, Sector: 3, Errno: "EIO"},
		{Kind: Completed, Dev: mirror},
		{Kind: Completed, Dev: mirror, Sector: 5, Errno: "EINVAL"},
	}}
	want := []Event{r.Errors[0], r.Errors[2], r.Errors[4]}
	if diff := cmp.Diff(want, r.First()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Given two reads of a sector, the second from another leg, then its way is
// the second's, through the partition that the leg is on.
func TestTheWayOfASectorIsThatOfItsLastRead(t *testing.T) {
	other := unix.Mkdev(254, 2)
	flow := []Event{
		{Kind: Remapped, Op: "read", Dev: other, Sector: 100, Sectors: 8, From: mirror, FromAt: 0},
		{Kind: Remapped, Op: "read", Dev: mimage, Sector: 200, Sectors: 8, From: mirror, FromAt: 0},
		{Kind: Queued, Op: "read", Dev: mimage, Sector: 200, Sectors: 8},
		{Kind: Remapped, Op: "read", Dev: sda1, Sector: 1200, Sectors: 8, From: mimage, FromAt: 200},
		{Kind: Remapped, Op: "read", Dev: sda1, Sector: 3248, Sectors: 8, From: sda1, FromAt: 1200}, // as kernels have it that keep the number
		{Kind: Remapped, Op: "write", Dev: other, Sector: 7, Sectors: 8, From: mirror, FromAt: 0},
	}
	whole := func(dev uint64) uint64 {
		if dev == sda1 {
			return sda
		}
		return 0
	}
	want := []Spot{{mirror, 3}, {mimage, 203}, {sda1, 1203}, {sda, 3251}}
	if diff := cmp.Diff(want, Way(flow, Spot{mirror, 3}, whole)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := Way(flow, Spot{mirror, 8}, noWhole); len(got) != 1 {
		t.Errorf("a sector that nobody read went %v", got)
	}
}

func TestLostEventsAreCounted(t *testing.T) {
	if n := lostOf("entries: 5\noverrun: 2\ncommit overrun: 0\nbytes: 400\noldest event ts: 1.0\ndropped events: 40\nread events: 1\n"); n != 42 {
		t.Errorf("%d, want 42", n)
	}
}
