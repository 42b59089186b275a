//go:build vm && long

package trial

import "testing"

// Given disks with zones, with protection information, with FUA and with a
// serial number of their own, when they are used, then they are what was asked
// for, and the data are right.
func TestKindsOfDisks(t *testing.T) {
	r := trialOf(t, `
disks:
  - {id: a, serial: MINE-0001}
  - {id: z, bus: nvme, size: 64MiB, zones: {size: 4MiB, max_open: 4, max_active: 8}}
  - {id: p, bus: nvme, size: 64MiB, metadata: 8, protection: 1}
  - {id: m, bus: nvme, size: 64MiB, metadata: 16, protection: 3, logical_block_size: 4096}
  - {id: f, bus: virtio-scsi, fua: true}
  - {id: a_very_long_name}
steps:
  - check: {file: "{z.sys}/queue/zoned", is: host-managed}
  - check: {file: "{z.sys}/queue/chunk_sectors", is: 8192}
  - check: {file: "{z.sys}/queue/max_open_zones", is: 4}
  - check: {file: "{p.sys}/integrity/format", is: T10-DIF-TYPE1-CRC}
  - check: {file: "{p.sys}/metadata_bytes", is: 8}
  - check: {file: "{f.sys}/queue/fua", is: 1}
  - io: {op: pwrite, on: z, direct: true, length: 64KiB, count: 8}
  - io: {op: pwrite, on: z, direct: true, length: 4KiB, offset: 8MiB, expect: [data]}
  - io: {op: pread, on: z, direct: true, length: 64KiB, count: 8}
`+writeAndRead("a", "p", "m", "f", "a_very_long_name"))
	wantPass(t, r)
	wantProof(t, r, "zoned host-managed")
}

// Given a device of each target that the kernel has and no other test uses, when
// it is written, then the data are right.
func TestTargets(t *testing.T) {
	r := trialOf(t, `
machine: {memory: 512MiB}
disks: [{id: a, size: 4MiB}, {id: b, size: 4MiB}]
stack:
  - brd: {name: r1, size: 12MiB}
  - brd: {name: r2, size: 12MiB}
  - brd: {name: r3, size: 12MiB}
  - brd: {name: r4, size: 12MiB}
  - brd: {name: r5, size: 12MiB}
  - brd: {name: r6, size: 12MiB}
  - brd: {name: r7, size: 12MiB}
  - brd: {name: r8, size: 12MiB}
  - brd: {name: r9, size: 12MiB}
  - dm: {name: clone, table: ["0 24576 clone {r1} {r2} {r3} 8"]}
  - dm: {name: switch, table: ["0 16384 switch 2 128 0 {r4} 0 {r5} 0"]}
  - dm: {name: logged, table: ["0 16384 log-writes {r6} {r7}"]}
  - dm: {name: paths, table: ["0 16384 multipath 2 queue_mode bio 0 1 1 round-robin 0 1 1 {r8} 1"]}
  - dm: {name: mixed, table: ["0 8192 striped 2 128 {r9} 0 {r9} 8192", "8192 8 error", "8200 8192 zero"]}
steps:
`+writeAndRead("clone", "switch", "logged", "paths", "mixed")+`
  - io: {op: pread, on: mixed, direct: true, offset: 4MiB, expect: [EIO]}
  - io: {op: pwrite, on: a, direct: true, length: 1MiB, count: 4}
  - exec: [veritysetup, format, --root-hash-file, /run/root, "{a}", "{b}"]
  - exec: [veritysetup, open, --root-hash-file, /run/root, "{a}", v, "{b}"]
  - exec: [veritysetup, status, v]
  - exec: [dd, "if=/dev/mapper/v", "of=/dev/null", "bs=65536"]
  - exec: [veritysetup, close, v]
  - io: {op: pwrite, on: a, direct: true, length: 4096, offset: 1MiB}
  - exec: {args: [veritysetup, verify, --root-hash-file, /run/root, "{a}", "{b}"], expect: failure}
`)
	wantPass(t, r)
}

// Given arrays, volumes and encrypted devices with what no other test asks for,
// when they are written, then they are what was asked for and hold the data.
func TestOptionsOfLayers(t *testing.T) {
	wantPass(t, trialOf(t, `
disks: [{id: e, size: 64MiB}, {id: f, size: 64MiB}, {id: g, size: 64MiB}, {id: h, size: 64MiB}, {id: i, size: 32MiB}]
stack:
  - lvm: {name: core, on: [e, f], type: mirror, size: 32MiB, log: core, dmeventd: false, nosync: true}
  - lvm: {name: checked, on: [g, h], type: raid1, size: 16MiB, integrity: true, region_size: 512KiB}
  - crypt: {on: [i], type: luks2, integrity: hmac-sha256, sector_size: 4096}
steps:
`+writeAndRead("core", "checked", "crypt")+`
  - check: {metadata: checked}
`))
	wantPass(t, trialOf(t, `
disks: [{id: a, size: 16MiB}, {id: b, size: 16MiB}, {id: c, size: 16MiB}, {id: d, size: 16MiB}]
stack:
  - md: {name: journal, on: [a, b, c, d], level: raid5, journal: true, metadata: "1.1"}
  - brd: 16MiB
  - brd: {name: r2, size: 16MiB}
  - brd: {name: r3, size: 16MiB}
  - brd: {name: r4, size: 16MiB}
  - md: {name: far, on: [brd, r2], level: raid10, layout: f2, metadata: "1.0"}
  - md: {name: offset, on: [r3, r4], level: raid10, layout: o2, metadata: "0.90"}
steps:
`+writeAndRead("journal", "far", "offset")+`
  - check: {metadata: journal}
  - check: {metadata: far}
  - check: {metadata: offset}
  - check: {file: "{journal.sys}/md/consistency_policy", is: journal}
`))
}
