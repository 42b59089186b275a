package layer

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

func on(names ...string) []*Part {
	var out []*Part
	for _, n := range names {
		out = append(out, &Part{Name: n, Device: Device{Name: "sd" + n}, Path: "/dev/sd" + n})
	}
	return out
}

func TestPlacesOfAnArray(t *testing.T) {
	p := &Part{On: on("a", "b", "c", "d")}
	for name, tt := range map[string]struct {
		md   scenarios.MD
		want string
	}{
		"plain":               {scenarios.MD{}, "[/dev/sda /dev/sdb /dev/sdc /dev/sdd] [] []"},
		"a spare":             {scenarios.MD{Spares: 1}, "[/dev/sda /dev/sdb /dev/sdc] [/dev/sdd] []"},
		"a journal":           {scenarios.MD{Journal: true}, "[/dev/sda /dev/sdb /dev/sdc] [] [/dev/sdd]"},
		"a spare and journal": {scenarios.MD{Journal: true, Spares: 1}, "[/dev/sda /dev/sdb] [/dev/sdc] [/dev/sdd]"},
		"one left out":        {scenarios.MD{Missing: []int{1}}, "[/dev/sda missing /dev/sdc /dev/sdd] [] []"},
		"all are spares":      {scenarios.MD{Spares: 4}, ""},
		"no such place":       {scenarios.MD{Missing: []int{4}}, ""},
	} {
		members, spares, journal, err := md{tt.md}.roles(p)
		got := "[" + strings.Join(members, " ") + "] [" + strings.Join(spares, " ") + "] [" + strings.Join(journal, " ") + "]"
		if (err != nil) != (tt.want == "") || err == nil && got != tt.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, tt.want)
		}
	}
}

func TestImagesOfAVolume(t *testing.T) {
	for want, v := range map[int]scenarios.LVM{
		1: {Type: "linear"}, 2: {Type: "mirror"}, 3: {Type: "raid1", Mirrors: 2}, 5: {Type: "raid6", Stripes: 3},
		4: {Type: "raid10", Stripes: 2}, 6: {Type: "raid10", Stripes: 3}, 8: {Type: "striped", Stripes: 8},
	} {
		if got := (lvm{&v}).images(); got != want {
			t.Errorf("%+v has %d images, not %d", v, got, want)
		}
	}
}

func TestOptionsOfAMount(t *testing.T) {
	for options, want := range map[string]struct {
		flags uintptr
		data  string
	}{
		"":                               {0, ""},
		"ro,noatime":                     {unix.MS_RDONLY | unix.MS_NOATIME, ""},
		"data=journal,sync,,nobarrier":   {unix.MS_SYNCHRONOUS, "data=journal,nobarrier"},
		"defaults,compress=zstd:1,nodev": {unix.MS_NODEV, "compress=zstd:1"},
	} {
		if flags, data := mountOptions(options); flags != want.flags || data != want.data {
			t.Errorf("%q: %#x, %q", options, flags, data)
		}
	}
}

func TestParametersOfModules(t *testing.T) {
	stack := []scenarios.Layer{
		{Brd: &scenarios.Brd{Size: 1 << 20}},
		{Brd: &scenarios.Brd{Size: 1 << 20}},
		{Zram: &scenarios.Zram{}},
		{SCSIDebug: &scenarios.SCSIDebug{Size: 8 << 20, SectorSize: 4096, Args: []string{"lbpu=1"}}},
	}
	disks := []protocol.Disk{{Disk: scenarios.Disk{PollQueues: 2}}, {}}
	for module, want := range map[string]string{
		"brd": "rd_nr=2 rd_size=1024", "zram": "num_devices=1", "null_blk": "nr_devices=0",
		"scsi_debug": "dev_size_mb=8 sector_size=4096 lbpu=1", "dm_mod": "", "nvme": "poll_queues=2",
	} {
		if got := ModuleParameters(module, disks, stack); got != want {
			t.Errorf("%s: %q, want %q", module, got, want)
		}
	}
	two := append(stack, stack[3])
	if got, want := ModuleParameters("scsi_debug", disks, two), "dev_size_mb=8 sector_size=4096 add_host=2 per_host_store=1 lbpu=1"; got != want {
		t.Errorf("two of scsi_debug: %q, want %q", got, want)
	}
}

// The table is sound by the rules that the kernel has for one
// (block/partitions/efi.c, is_gpt_valid).
func TestAPartitionTableIsSound(t *testing.T) {
	le := binary.LittleEndian
	for _, block := range []int64{512, 4096} {
		const size = 64 << 20
		head, tail, err := gpt(size, block, 1<<20, 16<<20)
		if err != nil {
			t.Fatal(err)
		}
		disk := make([]byte, size)
		copy(disk, head)
		copy(disk[size-len(tail):], tail)
		last := uint64(size/block - 1)
		for mine, other := range map[uint64]uint64{1: last, last: 1} {
			h := slices.Clone(disk[int64(mine)*block:][:gptHeader])
			sum := le.Uint32(h[16:])
			le.PutUint32(h[16:], 0)
			at := int64(le.Uint64(h[72:]))
			entries := disk[at*block:][:gptEntries*gptEntrySize]
			if string(h[:8]) != "EFI PART" || sum != crc32.ChecksumIEEE(h) || le.Uint64(h[24:]) != mine || le.Uint64(h[32:]) != other ||
				le.Uint32(h[88:]) != crc32.ChecksumIEEE(entries) {
				t.Errorf("blocks of %d: the table at block %d is broken", block, mine)
			}
			if first, to := le.Uint64(entries[32:]), le.Uint64(entries[40:]); int64(first)*block != 1<<20 || int64(to+1)*block != 17<<20 ||
				first < le.Uint64(h[40:]) || to > le.Uint64(h[48:]) {
				t.Errorf("blocks of %d: the partition is from %d to %d", block, first, to)
			}
		}
		if disk[510] != 0x55 || disk[511] != 0xaa || disk[450] != 0xee {
			t.Errorf("blocks of %d: no protective MBR", block)
		}
	}
	for name, a := range map[string][3]int64{"over the table": {512, 512, 0}, "over the end": {512, 1 << 20, 64 << 20}, "half a block": {4096, 1<<20 + 512, 0}} {
		if _, _, err := gpt(64<<20, a[0], a[1], a[2]); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTablesOfVolumes(t *testing.T) {
	for params, v := range map[string]scenarios.LVM{
		"raid raid5_ls 3 128 region_size 1024 3": {Type: "raid5"}, "raid raid6_zr 3 128 5": {Type: "raid6"}, "raid raid10 3 128 4": {Type: "raid10"},
		"striped 2 128 8:0 0 8:16 0": {Type: "striped", Stripes: 2}, "cache 253:1 253:2 253:3 128 1 writethrough smq 0": {Type: "cache"},
		"snapshot-origin 253:1": {Type: "snapshot"}, "thin 253:3 1": {Type: "thin"},
	} {
		kind, rest, _ := strings.Cut(params, " ")
		if err := checkTable(dmTarget{kind: kind, params: rest}, v); err != nil {
			t.Errorf("%s: %v", params, err)
		}
	}
	if err := checkTable(dmTarget{kind: "raid", params: "raid6_zr 3"}, scenarios.LVM{Type: "raid5"}); err == nil {
		t.Error("raid6 is taken for raid5")
	}
	if err := checkTable(dmTarget{kind: "cache", params: "1 2 3 128 1 writeback smq 0"}, scenarios.LVM{Type: "cache"}); err == nil {
		t.Error("writeback is taken for writethrough")
	}
	if diff := cmp.Diff("0 8 crypt aes-xts-plain64 - 0 8:0 0", dmTarget{0, 8, "crypt", "aes-xts-plain64 0011 0 8:0 0"}.hideKey()); diff != "" {
		t.Error(diff)
	}
}
