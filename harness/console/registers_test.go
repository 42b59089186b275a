package console

import (
	"fmt"
	"strings"
	"testing"
)

// Given a report with flags, when no processor can have them, then the finding
// says so.
func TestFlagsThatNoProcessorHas(t *testing.T) {
	log := `[    7.9] BUG: kernel NULL pointer dereference, address: 0000000000000000
[    7.9] Oops: Oops: 0000 [#1] SMP NOPTI
[    7.9] CPU: 0 UID: 0 PID: 51 Comm: kworker/0:2 Not tainted 6.18.15+deb13-amd64 #1 PREEMPT(lazy)
[    7.9] RIP: 0010:bio_add_page+0x5c/0x150
[    7.9] FLAGS
[    7.9] RAX: 0000000000000001 RBX: ffff8f2904270200 RCX: 0000000000000000
[    7.9] Call Trace:
[    7.9]  do_region+0x18a/0x2a0 [dm_mod]
[    7.9] ---[ end trace 0000000000000000 ]---
`
	for line, want := range map[string]string{
		"RSP: 0018:ffffd01a005b3ba8 EFLAGS: 00000202":                                                        "",
		"RSP: 0018:ffffd01a005b3ba8 EFLAGS: 00010286 ORIG_RAX: 000000000011":                                 "",
		"RSP: 0018:ffffd01a005b3ba8 EFLAGS: 00210a97":                                                        "",
		"RSP: 0018:ffffd01a005b3ba8 EFLAGS: 0000020":                                                         "", // cut
		"RSP: 0018:ffffd01a005b3ba8 EFLAGS: 00010":                                                           "",
		"RSP: 0018:ffffd01a005b3ba8 EFLAGS: 00010200":                                                        "EFLAGS 00010200", // bit 1 is always set
		"RSP: 0018:ffffd01a005b3ba8 EFLAGS: 0001028e":                                                        "EFLAGS 0001028e",
		"RSP: 0018:ffffd01a005b3ba8 EFLAGS: c1d00206":                                                        "EFLAGS c1d00206",
		"RSP: 0018:ffffd01a005b3ba8 EFLAGS: ffff8f2904270206":                                                "EFLAGS ffff8f2904270206",
		"DS: 007b ES: 007b FS: 00d8 GS: 00e0 SS: 0068 EFLAGS: ffffffff":                                      "EFLAGS ffffffff",
		"DS: 007b ES: 007b FS: 00d8 GS: 00e0 SS: 0068 EFLAGS: 00010246":                                      "",
		"RSP: 0000:0000000000000000 EFLAGS: 00000000 ORIG_RAX: 0000000000000000":                             "", // a kernel thread's, of user space
		"RSP: 002b:00007ffcbb248608 EFLAGS: 00000000":                                                        "",
		"RSP: 0018:ffffd01a005b3ba8 EFLAGS: 00000000":                                                        "",
		"DS: 0000 ES: 0000 CR0: 0000000080050033":                                                            "",
		"RSP: 0018:ffffd01a005b3ba8 EFLAGS: 00000202\n[    7.9] RSP: 0018:ffffd01a005b3ba8 EFLAGS: 10000000": "EFLAGS 10000000",
	} {
		got, err := ReadAll(strings.NewReader(strings.Replace(log, "FLAGS", line, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Findings) != 1 || got.Findings[0].Impossible != want {
			t.Errorf("%s: %+v, want one finding with %q", line, got.Findings, want)
		}
	}
}

// Given a double fault, when its stack was sound, then the finding says so.
func TestDoubleFaultOnASoundStack(t *testing.T) {
	log := `[    7.9] traps: PANIC: double fault, error_code: 0x0
[    7.9] Oops: double fault: 0000 [#1] SMP NOPTI
[    7.9] CPU: 0 UID: 0 PID: 51 Comm: pread Not tainted 6.18.15+deb13-amd64 #1 PREEMPT(lazy)
[    7.9] RIP: 0010:__sg_alloc_table+0x5c/0x150
[    7.9] RSP: 0018:%s EFLAGS: 00000202
[    7.9] RAX: 0000000000000001 RBX: ffff8f2904270200 RCX: 0000000000000000
[    7.9] CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033
[    7.9] CR2: %s CR3: 000000000384c000 CR4: 00000000000006f0
[    7.9] Call Trace:
[    7.9]  scsi_alloc_sgtables+0x18a/0x2a0 [scsi_mod]
[    7.9] Kernel panic - not syncing: Fatal exception in interrupt
`
	const impossible = "a double fault on a sound stack"
	for _, tc := range []struct{ rsp, cr2, want string }{
		{"ffffd01a005b3ba8", "00007f2f6a8c1000", impossible},
		{"ffffd01a005b3ba8", "0000000000000000", impossible},
		{"ffffd01a005b3ba8", "ffff8f2904270200", impossible},
		{"ffffd01a005b0008", "ffffd01a005afff8", ""}, // its end was reached
		{"ffffd01a005afe08", "ffffd01a005afff8", ""},
		{"0000000000000000", "fffffffffffffff8", ""}, // none of the kernel's
		{"ffffd01a005b3ba8", "ffffd01a005a", ""},     // cut
	} {
		got, err := ReadAll(strings.NewReader(fmt.Sprintf(log, tc.rsp, tc.cr2)))
		if err != nil {
			t.Fatal(err)
		}
		f := got.Findings[0]
		if f.Title != "PANIC: double fault in __sg_alloc_table" || f.Impossible != tc.want {
			t.Errorf("RSP %s, CR2 %s: %s, %q, want %q", tc.rsp, tc.cr2, f.Title, f.Impossible, tc.want)
		}
	}
}
