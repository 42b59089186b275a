package guest

import (
	"testing"

	"github.com/blockrig/blockrig/initramfs/protocol"
)

func TestSigns(t *testing.T) {
	for line, want := range map[string]sign{
		"4,1,2,-;BUG: unable to handle page fault for address: ffff":    signDead,
		"4,1,2,-;Oops: Oops: 0000 [#1] SMP NOPTI":                       signDead,
		"4,1,2,-;kernel BUG at block/bio.c:100!":                        signDead,
		"3,1,2,-;I/O error, dev sdb, sector 5060 op 0x0:(READ)":         signIO,
		"4,1,2,-;blk_print_req_error: 241000 callbacks suppressed":      signIO,
		"4,1,2,-;WARNING: block/bio.c:1044 at bio_add_page+0x18b/0x250": signNone, // the task may go on
		"5,1,2,-;blockrig: guest: lvm says: BUG: not a kernel's":        signNone,
		"6,1,2,-;Command line: console=ttyS0":                           signNone,
	} {
		if got := signOf(line); got != want {
			t.Errorf("%q: got sign %d, want %d", line, got, want)
		}
	}
}

func TestBootTimes(t *testing.T) {
	var b protocol.Boot
	for _, r := range []string{
		"5,0,0,-;Linux version 6.18.15\n",
		"6,300,412000,-;Trying to unpack rootfs image as initramfs...\n",
		"6,339,612345,-;Freeing initrd memory: 24576K\n",
		"5,400,900000,-;" + protocol.GuestLine{Text: "hello from PID 1"}.String() + "\n",
		"5,401,990000,-;" + protocol.GuestLine{Text: "phase disks"}.String() + "\n",
		"nonsense", "a,b,c;Freeing initrd memory",
	} {
		takeBootTime(&b, r)
	}
	if want := (protocol.Boot{UnpackFrom: 412000, UnpackTo: 612345, Init: 900000}); b != want {
		t.Errorf("got %+v, want %+v", b, want)
	}
}
