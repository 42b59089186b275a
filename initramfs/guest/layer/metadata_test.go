package layer

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// examined is what mdadm 4.4 prints of a member of a mirror.
const examined = `/dev/sda:
          Magic : a92b4efc
        Version : 1.2
    Feature Map : 0x0
     Array UUID : 12ef2c3a:7b6dc4b9:0a5d2a3e:3c9b2f11
           Name : 0
     Raid Level : raid1
   Raid Devices : 2

 Avail Dev Size : 30720 sectors (15.00 MiB 15.73 MB)
     Array Size : 15360 KiB (15.00 MiB 15.73 MB)
    Data Offset : 2048 sectors
   Super Offset : 8 sectors
          State : clean
    Device UUID : 0b5f52a5:d3bb0ce6:6d0a4a9f:6f1f6f0c

    Update Time : Thu Nov 26 20:00:00 2026
  Bad Block Log : 512 entries available at offset 16 sectors
       Checksum : 65e4c0a1 - correct
         Events : 17


   Device Role : Active device 0
   Array State : AA ('A' == active, '.' == missing, 'R' == replacing)
`

// Given the superblocks of a mirror, when one says another thing than the other
// or than the kernel, then that is named.
func TestSuperblocksAreCompared(t *testing.T) {
	other := strings.NewReplacer("/dev/sda", "/dev/sdb", "Active device 0", "Active device 1", "0b5f52a5", "1b5f52a5").Replace(examined)
	array := mdArray{members: []mdMember{
		{"sda", []string{"in_sync"}, "0"}, {"sdb", []string{"in_sync"}, "1"}, {"sdc", []string{"faulty"}, "none"},
	}}
	kernel := map[string]string{"Raid Level": "raid1", "Raid Devices": "2"}
	for _, tt := range []struct{ old, new, want string }{
		{"", "", ""},
		{"Events : 17", "Events : 16", `the superblocks disagree: sda says Events "17", and sdb "16"`},
		{"- correct", "- expected 65e4c0a2", "the superblock of sdb has a wrong checksum: 65e4c0a1 - expected 65e4c0a2"},
		{"Raid Devices : 2", "Raid Devices : 3", `the superblock of sdb says Raid Devices "3", and the kernel "2"`},
		{"12ef2c3a", "22ef2c3a", "the superblocks disagree: sda says Array UUID"},
		{"State : clean", "State : active", "the superblocks disagree: sda says State"},
		{"Active device 1", "Active device 0", `the superblock of sdb says "Active device 0", and the kernel has it in place 1`},
		{"16 sectors", "16 sectors - bad blocks present.", "sdb has bad blocks on record"},
		{other, "mdadm: No md superblock detected on /dev/sdb.\n", "sdb is a member of the array, and has no superblock"},
		{"AA (", "A. (", "the superblocks disagree: sda says Array State"},
	} {
		out := examined + strings.Replace(other, tt.old, tt.new, 1)
		err := array.compare(parseExamine(out), kernel)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("sound superblocks: %v", err)
		case tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)):
			t.Errorf("%q for %q: %v, want %s", tt.new, tt.old, err, tt.want)
		}
	}
	stale := strings.NewReplacer("Events : 17", "Events : 18", "AA (", ".A (").Replace(other)
	array.members = []mdMember{{"sda", []string{"in_sync"}, "0"}, {"sdb", []string{"in_sync"}, "1"}}
	for range 2 {
		slices.Reverse(array.members)
		if err := array.compare(parseExamine(examined+stale), kernel); err == nil || !strings.Contains(err.Error(), "disagree") {
			t.Errorf("a superblock that is stale, %s first: %v", array.members[0].name, err)
		}
	}
	both := strings.ReplaceAll(examined+other, "AA (", "A. (")
	if err := array.compare(parseExamine(both), kernel); err == nil || !strings.Contains(err.Error(), "place 1") {
		t.Errorf("superblocks that agree, but not with the kernel: %v", err)
	}
}

// Given ends of a tool that looks for damage, when they are told, then only its
// own no is damage.
func TestDamageIsAToolsNo(t *testing.T) {
	for code, want := range map[string]bool{"1": true, "4": true, "8": false, "127": false} {
		err := damage("e2fsck", exec.Command("sh", "-c", "exit "+code).Run())
		if got := strings.HasPrefix(err.Error(), "damage"); got != want {
			t.Errorf("exit status %s: %v", code, err)
		}
	}
	if err := damage("thin_check", exec.Command("sh", "-c", "exit 64").Run()); !strings.HasPrefix(err.Error(), "damage") {
		t.Errorf("a tool of another kind: %v", err)
	}
	busy := fmt.Errorf("%w: /dev/dm-1: Device or resource busy", exec.Command("sh", "-c", "exit 64").Run())
	if err := damage("thin_check", busy); strings.HasPrefix(err.Error(), "damage") {
		t.Errorf("a tool that could not open the device: %v", err)
	}
	if err := damage("thin_check", exec.Command("sh", "-c", "kill -9 $$").Run()); strings.HasPrefix(err.Error(), "damage") {
		t.Errorf("a killed tool: %v", err)
	}
	if err := damage("vgck", nil); err != nil {
		t.Error(err)
	}
}
