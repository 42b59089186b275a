package layer

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/scenarios"
)

func TestParseLegs(t *testing.T) {
	leg := func(name, health string) scenarios.Leg {
		return scenarios.Leg{Name: name, Health: health, OK: health == "A" || health == "a"}
	}
	tests := []struct {
		name   string
		target dmTarget
		legs   []scenarios.Leg
		inSync bool
	}{
		{
			"a mirror in sync",
			dmTarget{kind: "mirror", params: "2 253:1 253:2 128/128 1 AA 3 disk 253:0 A"},
			[]scenarios.Leg{leg("253:1", "A"), leg("253:2", "A")},
			true,
		},
		{
			"a mirror that is being synchronised",
			dmTarget{kind: "mirror", params: "2 253:1 253:2 47/128 1 AA 3 disk 253:0 A"},
			[]scenarios.Leg{leg("253:1", "A"), leg("253:2", "A")},
			false,
		},
		{
			"a mirror whose first leg failed a read",
			dmTarget{kind: "mirror", params: "2 253:1 253:2 128/128 1 RA 3 disk 253:0 A"},
			[]scenarios.Leg{leg("253:1", "R"), leg("253:2", "A")},
			true,
		},
		{
			"a mirror with a core log",
			dmTarget{kind: "mirror", params: "2 253:0 253:1 64/64 1 AA 1 core"},
			[]scenarios.Leg{leg("253:0", "A"), leg("253:1", "A")},
			true,
		},
		{
			"a raid1 in sync",
			dmTarget{kind: "raid", params: "raid1 2 AA 131072/131072 idle 0 0 -"},
			[]scenarios.Leg{leg("rimage_0", "A"), leg("rimage_1", "A")},
			true,
		},
		{
			"a raid1 whose second leg failed",
			dmTarget{kind: "raid", params: "raid1 2 AD 131072/131072 idle 0 0 -"},
			[]scenarios.Leg{leg("rimage_0", "A"), leg("rimage_1", "D")},
			true,
		},
		{
			"a raid1 at its first synchronisation",
			dmTarget{kind: "raid", params: "raid1 2 aa 4096/131072 resync 0 0 -"},
			[]scenarios.Leg{leg("rimage_0", "a"), leg("rimage_1", "a")},
			false,
		},
	}
	for _, tt := range tests {
		legs, inSync, err := parseLegs(tt.target)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if diff := cmp.Diff(tt.legs, legs); diff != "" || inSync != tt.inSync {
			t.Errorf("%s: in sync %t, want %t; legs (-want +got):\n%s", tt.name, inSync, tt.inSync, diff)
		}
	}
	for _, bad := range []dmTarget{
		{kind: "linear", params: "8:0 2048"},
		{kind: "mirror", params: ""},
		{kind: "mirror", params: "2 253:1 253:2 128/128 1 A 3"},
		{kind: "mirror", params: "-1 x"},
		{kind: "raid", params: "raid1 2"},
	} {
		if _, _, err := parseLegs(bad); err == nil {
			t.Errorf("%q: no error", bad.params)
		}
	}
}

func TestCheckTable(t *testing.T) {
	mirror := scenarios.LVM{Type: "mirror", Log: "disk"}
	good := dmTarget{kind: "mirror", params: "disk 2 253:0 1024 2 253:1 0 253:2 0 1 handle_errors"}
	if err := checkTable(good, mirror); err != nil {
		t.Errorf("the mirror of the mail: %v", err)
	}
	for _, tt := range []struct {
		name   string
		target dmTarget
		volume scenarios.LVM
	}{
		{"no handle_errors", dmTarget{kind: "mirror", params: "disk 2 253:0 1024 2 253:1 0 253:2 0"}, mirror},
		{"another log", dmTarget{kind: "mirror", params: "core 1 1024 2 253:1 0 253:2 0 1 handle_errors"}, mirror},
		{"no mirror", dmTarget{kind: "linear", params: "8:0 2048"}, mirror},
		{"another raid", dmTarget{kind: "raid", params: "raid5_ls 3"}, scenarios.LVM{Type: "raid1"}},
	} {
		if err := checkTable(tt.target, tt.volume); err == nil {
			t.Errorf("%s: accepted", tt.name)
		}
	}
}

// dmAnswer builds what the kernel writes for DM_TABLE_STATUS.
func dmAnswer(t *testing.T, flags uint32, targets ...dmTarget) []byte {
	t.Helper()
	buf := make([]byte, 4096)
	h := dmHeader{DataSize: 4096, DataStart: dmStructSize, TargetCount: uint32(len(targets)), Flags: flags}
	if _, err := binary.Encode(buf, binary.NativeEndian, &h); err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, tg := range targets {
		d := buf[dmStructSize+at:]
		binary.NativeEndian.PutUint64(d, tg.start)
		binary.NativeEndian.PutUint64(d[8:], tg.length)
		copy(d[24:40], tg.kind)
		copy(d[dmTargetSize:], tg.params)
		at += (dmTargetSize + len(tg.params) + 1 + 7) &^ 7
		binary.NativeEndian.PutUint32(d[20:], uint32(at))
	}
	return buf
}

func TestParseDM(t *testing.T) {
	want := []dmTarget{
		{0, 2048, "linear", "8:0 2048"},
		{2048, 4096, "mirror", "core 1 1024 2 253:1 0 253:2 0"},
	}
	got, err := parseDM(dmAnswer(t, 0, want...))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(dmTarget{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := parseDM(dmAnswer(t, dmFlagFull, want...)); err == nil {
		t.Error("an answer that did not fit is accepted")
	}
	cut := dmAnswer(t, 0, want...)[:dmStructSize+50]
	if _, err := parseDM(cut); err == nil {
		t.Error("a cut answer is accepted")
	}
}

func TestDMHeaderHasTheKernelsSize(t *testing.T) {
	if n := unsafe.Sizeof(dmHeader{}); n != dmStructSize {
		t.Errorf("struct dm_ioctl has %d bytes here, %d in the kernel", n, dmStructSize)
	}
}

func TestParseCounts(t *testing.T) {
	got, err := parseCounts("     120        3     4096       40       17        2      512       11        1       50       51        0        0        0        0        0        0\n")
	if want := (Counts{Reads: 120, Writes: 17, InFlight: 1}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "1 2 3", "a b c d e f g h i"} {
		if _, err := parseCounts(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestSerialFromPage(t *testing.T) {
	for want, page := range map[string][]byte{
		"blockrig-a": append([]byte{0, 0x80, 0, 20}, "blockrig-a          "...),
		"x":          append([]byte{0, 0x80, 0, 9}, "x"...), // shorter than it says
		"":           {0, 0x83, 0, 1, 'x'},
	} {
		if got := serialFromPage(page); got != want {
			t.Errorf("page %q: got %q, want %q", page, got, want)
		}
	}
	if got := serialFromPage(nil); got != "" {
		t.Errorf("no page: got %q", got)
	}
}
