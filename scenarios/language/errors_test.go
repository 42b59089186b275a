package language

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files")

// Each row breaks testdata/good.yaml: old, once, becomes new. What Parse then
// says stands in testdata/errors.golden.
var broken = []struct{ name, old, new string }{
	{"unknown key", "memory: 384MiB", "memory: 384MiB\n  cpus: 4"},
	{"misspelt key", "expect:\n  aligned", "expct:\n  aligned"},
	{"misspelt key inside", "block_size: 4096", "blocksize: 4096"},
	{"duplicate key", "about: What", "name: again\nabout: What"},
	{"duplicate key inside", "log: disk", "log: disk, log: core"},
	{"missing key", "about: What the tests break.\n", ""},
	{"missing key inside", "size: 64MiB, ", ""},
	{"missing step key", "op: pread, ", ""},
	{"key is a list", "about: What", "[a, b]: c\nabout: What"},
	{"not a mapping", "machine:\n  memory: 384MiB", "machine: 384MiB"},
	{"nothing there", "machine:\n  memory: 384MiB", "machine:"},
	{"list for a mapping", "machine:\n  memory: 384MiB", "machine: [384MiB]"},
	{"mapping for a list", "disks:\n  - {id: a, bus: ahci, size: 128MiB}\n  - {id: b, bus: ahci, size: 128MiB}", "disks: {a: 1}"},
	{"empty list", "aligned: [data]\n  mis", "aligned: []\n  mis"},

	{"name with a slash", "name: good", "name: ../good"},
	{"name in capitals", "name: good", "name: Good"},
	{"name too long", "name: good", "name: " + strings.Repeat("g", 65)},
	{"about is a list", "about: What the tests break.", "about: [42]"},
	{"about is empty", "about: What the tests break.", `about: ""`},
	{"about with an escape", "about: What the tests break.", `about: "\e[31mred"`},

	{"memory too small", "384MiB", "64MiB"},
	{"memory with a wrong unit", "384MiB", "384MB"},
	{"memory is negative", "384MiB", "-384MiB"},
	{"memory is a fraction", "384MiB", "1.5GiB"},
	{"memory overflows", "384MiB", "9223372036854775807GiB"},
	{"memory is hexadecimal", "384MiB", "0x18000000"},
	{"memory is no multiple", "384MiB", "402653185"},

	{"disk twice", "{id: b,", "{id: a,"},
	{"disk with an odd id", "{id: a,", "{id: ../a,"},
	{"unknown bus", "id: b, bus: ahci", "id: b, bus: ahc"},
	{"disk of 1 MiB", "id: b, bus: ahci, size: 128MiB", "id: b, bus: ahci, size: 1MiB"},
	{"disk of 0 bytes", "id: b, bus: ahci, size: 128MiB", "id: b, bus: ahci, size: 0"},
	{"disk of half a sector", "id: b, bus: ahci, size: 128MiB", "id: b, bus: ahci, size: 134217984"},
	{"disks too many", "disks:\n", "disks:\n" + manyDisks(25)},
	{"one disk for a mirror", "  - {id: b, bus: ahci, size: 128MiB}\n", ""},

	{"metadata of 12 bytes", "id: b, bus: ahci", "id: b, bus: nvme, metadata: 12"},
	{"protection without metadata", "id: b, bus: ahci", "id: b, bus: nvme, protection: 1"},
	{"metadata of ahci", "id: b, bus: ahci", "id: b, bus: ahci, metadata: 8"},
	{"serial number too long", "id: b, bus: ahci", "id: b, bus: ahci, serial: abcdefghijklmnopqrstu"},
	{"serial number twice", "{id: a, bus: ahci, size: 128MiB}\n  - {id: b, bus: ahci", "{id: a, bus: ahci, serial: x, size: 128MiB}\n  - {id: b, bus: ahci, serial: x"},
	{"FUA of ahci", "id: b, bus: ahci", "id: b, bus: ahci, fua: true"},
	{"blocks of 4096 of ahci", "id: b, bus: ahci", "id: b, bus: ahci, logical_block_size: 4096"},
	{"nvme without a write cache", "id: b, bus: ahci", "id: b, bus: nvme, no_write_cache: true"},

	{"dma_alignment not a mask", "511", "512"},
	{"dma_alignment is negative", "511", "-1"},
	{"dma_alignment is text", "511", "sector"},

	{"unknown volume type", "type: mirror", "type: mirrror"},
	{"volume size no multiple", "size: 64MiB", "size: 65MiB"},
	{"volume too small for ext4", "size: 64MiB", "size: 4MiB"},
	{"mirror without log", "log: disk, ", ""},
	{"mirror without dmeventd", ", dmeventd: false", ""},
	{"dmeventd is yes", "dmeventd: false", "dmeventd: yes"},
	{"dmeventd in quotes", "dmeventd: false", `dmeventd: "false"`},
	{"raid1 with log", "type: mirror", "type: raid1"},
	{"md on what is taken", "  - fs:", "  - md: {on: [a, b], level: raid1}\n  - fs:"},
	{"unknown md level", "  - fs:", "  - md: {level: raid7}\n  - fs:"},
	{"plain on two disks", "  - lvm: {type: mirror, size: 64MiB, log: disk, dmeventd: false}\n", ""},
	{"no file system", "  - fs: {type: ext4, block_size: 4096}\n", ""},
	{"no file", "  - file: {size: 1MiB}\n", ""},
	{"block size of 8 KiB", "block_size: 4096", "block_size: 8192"},
	{"file larger than the volume", "file: {size: 1MiB}", "file: {size: 1GiB}"},

	{"unknown op", "op: pread", "op: read"},
	{"direct is a number", "direct: true", "direct: 1"},
	{"offset is negative", "length: ${length}", "offset: -1, length: ${length}"},
	{"offset outside the file", "length: ${length}", "offset: 1048576, length: ${length}"},
	{"offset is text", "length: ${length}", "offset: start, length: ${length}"},
	{"offset is octal", "length: ${length}", "offset: 010, length: ${length}"},
	{"length 0", "length: [512, 4096]", "length: [512, 0]"},
	{"length beyond the end", "length: ${length}", "offset: 1048064, length: ${length}"},
	{"length beyond the file", "length: [512, 4096]", "length: [512, 4194304]"},
	{"memory offset beyond the page", "memory_offset: [0, 32]", "memory_offset: [0, 4096]"},
	{"memory offset is negative", "memory_offset: [0, 32]", "memory_offset: [-32, 0]"},
	{"text around a parameter", "length: ${length}", "length: a${length}"},

	{"parameter not declared", "length: ${length}", "length: ${lenght}"},
	{"parameter not used", "length: ${length}", "length: 4096"},
	{"no matrix", "matrix:\n  length: [512, 4096]\n  memory_offset: [0, 32]\n", ""},
	{"matrix is empty", "matrix:\n  length: [512, 4096]\n  memory_offset: [0, 32]\n", "matrix: {}\n"},
	{"parameter's name", "  length: [512, 4096]\n", "  Length: [512, 4096]\n"},
	{"parameter twice", "  length: [512, 4096]\n", "  length: [512, 4096]\n  length: [512]\n"},
	{"value twice", "length: [512, 4096]", "length: [512, 4096, 512]"},
	{"value is text", "length: [512, 4096]", "length: [512, big]"},
	{"value is no list", "length: [512, 4096]", "length: 512"},
	{"too many cases", "length: [512, 4096]", "length: [" + strings.Join(numbers(1, 2049), ", ") + "]"},

	{"unknown errno", "EINVAL", "EINVALID"},
	{"errno in small letters", "EINVAL", "einval"},
	{"outcome twice", "[data, EINVAL]", "[data, EINVAL, data]"},
	{"nothing expected of the misaligned", "  misaligned: [data, EINVAL]\n", ""},
	{"nothing expected of the aligned", "  aligned: [data]\n", ""},

	{"every title allowed", "story:\n", "allow: [\"*\"]\nstory:\n"},
	{"unknown role", "role: before", "role: good"},
	{"no reference", "ref: debian:6.17", "ref: 6.17"},
	{"unknown verdict", "verdict: pass", "verdict: passed"},
	{"error is no verdict", "verdict: pass", "verdict: error"},
	{"also is worse", "also: [degraded]", "also: [hang]"},
	{"story of an unknown parameter", "when: {memory_offset: 32}", "when: {offset: 32}"},
	{"story of an unknown value", "when: {memory_offset: 32}", "when: {memory_offset: 31}"},
	{"story with an empty when", "when: {memory_offset: 32}", "when: {}"},
	{"story that says nothing of a case", "        - verdict: pass\n", ""},
	{"story that can't be heard", "        - verdict: pass\n", "        - verdict: pass\n        - verdict: hang\n"},
	{"story with an unknown role", "${before}", "${after}"},

	{"alias", "aligned: [data]\n  misaligned: [data, EINVAL]", "aligned: &ok [data]\n  misaligned: *ok"},
	{"alias alone", "misaligned: [data, EINVAL]", "misaligned: *ok"},
	{"tag", "name: good", "name: !!str good"},
	{"merge key", "  memory: 384MiB", "  <<: {memory: 384MiB}"},
	{"second document", "holds: It was good on ${before}.\n", "holds: It was good.\n---\nname: second\n"},
	{"second empty document", "holds: It was good on ${before}.\n", "holds: It was good.\n---\n"},
	{"second broken document", "holds: It was good on ${before}.\n", "holds: It was good.\n---\n]\n"},
	{"tab", "  memory: 384MiB", "\tmemory: 384MiB"},
	{"unclosed list", "length: [512, 4096]", "length: [512, 4096"},
	{"unclosed quote", "name: good", `name: "good`},
	{"colon in text", "about: What the tests", "about: What: the tests"},
	{"wrong indentation", "  - fs: {", " - fs: {"},
	{"control character", "about: What", "about: \x1b[31mWhat"},
	{"not UTF-8", "about: What", "about: \xff\xfeWhat"},
}

// Each row breaks testdata/wide.yaml, which has what good.yaml has not.
var brokenWide = []struct{ name, old, new string }{
	{"unknown kind of layer", "- crypt: plain", "- cript: plain"},
	{"unknown kind of step", "- wait: 500ms", "- sleep: 500ms"},
	{"two kinds in one item", "- wait: 500ms", "- wait: 500ms\n    check: {legs: r}"},
	{"an item without a kind", "- wait: 500ms", "- {}"},
	{"a word for a layer", "- crypt: plain", "- crypt"},
	{"keys beside the kind", "- act: {name: lose a leg, do: fail", "- name: lose a leg\n    act: {do: fail"},
	{"stack without dashes", "stack:\n  - md:", "stack:\n  raid:"},

	{"layer with a bad name", "name: r,", "name: R 1,"},
	{"layer with the name of a disk", "name: r,", "name: a,"},
	{"layer on nothing that there is", "on: [a, b], level", "on: [a, q], level"},
	{"layer on one that comes later", "on: [a, b], level", "on: [a, crypt], level"},
	{"layer on the same twice", "on: [a, b], level", "on: [a, a], level"},
	{"layer on what is taken", "- crypt: plain", "- crypt: {on: [a]}"},
	{"layer on a file system", "- file: 1MiB", "- loop: {}"},
	{"a RAM disk on something", "- brd: {name: ram, size: 16MiB}", "- brd: {name: ram, on: [c], size: 16MiB}"},

	{"RAM disks of two sizes", "[{brd: 16MiB}, {null_blk", "[{brd: 8MiB}, {null_blk"},
	{"scrub of ext4", "do: fail, to: r, member: b", "do: scrub, to: fs"},
	{"raid6 of two", "level: raid1,", "level: raid6,"},
	{"chunk of a raid1", "bitmap: internal", "bitmap: internal, chunk: 64KiB"},
	{"write-behind without a bitmap", "bitmap: internal, ", ""},
	{"write-behind without write-mostly", ", write_mostly: [1]", ""},
	{"member out of range", "write_mostly: [1]", "write_mostly: [2]"},
	{"member twice", "write_mostly: [1]", "write_mostly: [1, 1]"},
	{"a missing place that is none", "write_mostly: [1]", "write_mostly: [1], missing: [3]"},
	{"journal of a raid1", "write_mostly: [1]", "write_mostly: [1], journal: true"},
	{"ppl of a raid1", "write_mostly: [1]", "write_mostly: [1], consistency: ppl"},
	{"a number that is text", "write_behind: 256", "write_behind: lots"},
	{"a number too large", "write_behind: 256", "write_behind: 16384"},

	{"target that is not known", "flakey {c}", "flaky {c}"},
	{"table that names no device", "flakey {c}", "flakey {q}"},
	{"table with a gap", "32768 32768 linear", "32769 32768 linear"},
	{"table with a bad length", "0 32768 flakey", "0 all flakey"},
	{"line that is too short", "0 32768 flakey {c} 0 5 1", "0 32768"},

	{"block size that xfs has and ext4 not", "fs: {type: ext4, on: [crypt]", "fs: {type: ext4, block_size: 512, on: [crypt]"},
	{"file system too large for its device", "fs: {type: ext4, on: [crypt], mkfs: [-O, ^metadata_csum]}", "fs: {type: xfs, on: [crypt]}"},

	{"io on an unknown layer", "on: r, offset: 1MiB", "on: rr, offset: 1MiB"},
	{"flags of pwrite", "op: pwrite, ", "op: pwrite, flags: [DSYNC], "},
	{"unknown flag", "flags: [NOWAIT]", "flags: [NOWAI]"},
	{"vectors that do not add up", "length: 1536, vectors", "length: 2048, vectors"},
	{"range below the length", "count: 8, depth", "count: 8, range: 512, depth"},
	{"depth of pwrite", "op: pwrite, ", "op: pwrite, depth: 4, "},
	{"count beyond the end", "count: 8, depth", "count: 1000, depth"},
	{"discard of a file", "op: discard, on: c", "op: discard, on: file"},
	{"buffer larger than memory", "length: 1MiB}", "length: 512MiB}"},
	{"fallocate on a device", "op: discard, on: c", "op: fallocate, on: c"},

	{"fixed buffers of pwrite", "op: pwrite, ", "op: pwrite, fixed: [buffers], "},
	{"unknown thing that is fixed", "op: pwrite, ", "op: io_uring-write, fixed: [bufers], "},
	{"fixed buffers with vectors", "op: preadv2, flags: [NOWAIT]", "op: io_uring-read, fixed: [buffers]"},
	{"polled and not direct", "op: pwrite, ", "op: io_uring-write, polled: true, "},
	{"polled libaio", "op: libaio-read", "op: libaio-read, direct: true, polled: true"},
	{"polled on what can't be", "op: pwrite, ", "op: io_uring-write, direct: true, polled: true, "},
	{"queues to poll of AHCI", "{id: b}", "{id: b, poll_queues: 1}"},
	{"zones of AHCI", "{id: b}", "{id: b, zones: 4MiB}"},
	{"zones of an odd size", "bus: nvme, logical", "bus: nvme, zones: 3MiB, logical"},
	{"zones without a size", "bus: nvme, logical", "bus: nvme, zones: {max_open: 2}, logical"},
	{"zones that can be written beyond their end", "bus: nvme, logical", "bus: nvme, zones: {size: 4MiB, capacity: 5MiB}, logical"},
	{"zones of null_blk that is not zoned", "null_blk: {size: 8MiB, ", "null_blk: {size: 8MiB, max_open: 2, "},
	{"zone of what is not zoned", "- heal: a", "- zone: {do: reset, on: a}"},
	{"zone of a file system", "- heal: a", "- zone: {do: reset, on: fs}"},
	{"unknown operation on a zone", "- heal: a", "- zone: {do: finnish, on: d}"},
	{"unknown condition of a zone", "- heal: a", "- zone: {do: report, on: d, condition: opened}"},
	{"threads of none", "op: pwrite, ", "op: pwrite, threads: 0, "},
	{"buffer of a read that changes", "op: libaio-read", "op: libaio-read, changing: true"},
	{"medium error of writes", "do: error, op: read", "do: medium, op: write"},
	{"medium error by chance", "do: error, op: read, offset: 1MiB, length: 4KiB, ", "do: medium, "},
	{"fault in parallel", "- - exec: [ls]", "- - fault: {disk: a, do: error}"},
	{"append to a device", "flags: [NOWAIT]", "flags: [APPEND], on: r"},
	{"append by threads", "op: pwrite, ", "op: pwritev2, flags: [APPEND], threads: 2, "},
	{"chain of one", "- heal: a", "- linked: [{op: io_uring-write}]"},
	{"chain with a pwrite", "- heal: a", "- linked: [{op: io_uring-write}, {op: pwrite}]"},
	{"chain with a count", "- heal: a", "- linked: [{op: io_uring-write, count: 2}, {op: io_uring-fsync}]"},
	{"misspelt key in a chain", "- heal: a", "- linked: [{op: io_uring-write, lenght: 2}, {op: io_uring-fsync}]"},
	{"a name of two lines", "name: lose a leg", "name: \"lose\\na leg\""},
	{"unknown act", "do: fail", "do: fial"},
	{"act without its member", ", member: b", ""},
	{"act on another kind", "do: fail, to: r", "do: fail, to: fs"},
	{"act with an unknown member", "member: b", "member: bb"},
	{"verdict of what is right anyway", "expect: any", "expect: any, verdict: hang"},

	{"scheduler that is not known", "- wait: 500ms", "- queue: {of: a, scheduler: deadline}"},
	{"queue of a file system", "- wait: 500ms", "- queue: {of: fs, nr_requests: 4}"},
	{"queue of nobody", "- wait: 500ms", "- queue: {of: aa, nr_requests: 4}"},
	{"queue that sets nothing", "- wait: 500ms", "- queue: {of: a}"},
	{"misspelt limit of a queue", "- wait: 500ms", "- queue: {of: a, max_sector_kb: 64}"},
	{"limit of a queue that is no number", "- wait: 500ms", "- queue: {of: a, nr_requests: many}"},
	{"CPU that goes and comes", "- wait: 500ms", "- cpu: {offline: 1, online: 1}"},
	{"no CPU", "- wait: 500ms", "- cpu: {}"},
	{"sysctl with a path", "- wait: 500ms", "- sysctl: {key: /proc/sys/vm/swappiness, value: 1}"},
	{"sysctl without a value", "- wait: 500ms", "- sysctl: {key: vm.swappiness}"},
	{"reshape to nothing", "do: fail, to: r, member: b", "do: reshape, to: r"},
	{"reshape to an unknown level", "do: fail, to: r, member: b", "do: reshape, to: r, level: raid7"},
	{"reshape of a file system", "do: fail, to: r, member: b", "do: reshape, to: fs, level: raid5"},
	{"chunks of a raid1 to be", "do: fail, to: r, member: b", "do: reshape, to: r, level: raid1, chunk: 64KiB"},
	{"level of another act", "do: fail, to: r, member: b", "do: fail, to: r, level: raid5, member: b"},

	{"placeholder of nobody", "{r.sys}/md/sync_action\n", "{rr.sys}/md/sync_action\n"},
	{"placeholder with an unknown part", "{r.sys}/md/sync_action\n", "{r.sis}/md/sync_action\n"},
	{"mount of a device", "{fs.mount}", "{r.mount}"},
	{"device of a file system", "{fs.mount}", "{fs.sys}"},
	{"placeholder without quotes", "[mdadm, --detail, \"{r}\"]", "[mdadm, --detail, {r}]"},
	{"the shell's own variable", "$${x}", "${x}"},
	{"a path outside", "to: \"{r.sys}/md/sync_action\"", "to: /etc/passwd"},
	{"a time without a unit", "wait: 500ms", "wait: 500"},
	{"waits for two things", "{file: \"{r.sys}/md/sync_action\", is: idle", "{in_sync: r, file: \"{r.sys}/md/sync_action\", is: idle"},
	{"waits for nothing", "{file: \"{r.sys}/md/sync_action\", is: idle, limit: 60s}", "{limit: 60s}"},
	{"waits for a file to say nothing", ", is: idle, limit", ", limit"},
	{"checks a disk's legs", "legs: r", "legs: a"},
	{"checks the metadata of a disk", "check: {legs: r}", "check: {metadata: a}"},
	{"checks the metadata of what has none", "check: {legs: r}", "check: {metadata: crypt}"},
	{"checks the metadata of a table without any", "check: {legs: r}", "check: {metadata: f}"},
	{"checks the metadata of a file system", "check: {legs: r}", "check: {metadata: fs}"},
	{"misspelt check", "check: {legs: r}", "check: {metdata: r}"},
	{"a tool that no guest has", "- heal: a", "- exec: [sfdisk, -l]"},
	{"a misspelt tool", "- heal: a", "- exec: [dmsteup, ls]"},
	{"repeat once", "- heal: a", "- repeat: {times: 1, steps: [{heal: a}]}"},
	{"repeat in a repeat", "- heal: a", "- repeat: {times: 2, steps: [{repeat: {times: 2, steps: [{heal: a}]}}]}"},
	{"too many steps by a repeat", "- heal: a", "- repeat: {times: 256, steps: [{heal: a}, {heal: a}, {heal: a}, {heal: a}, {heal: a}]}"},
	{"hold in a round, release of more", "- heal: a", "- repeat: {times: 2, steps: [{act: {do: hold, to: b}}, {act: {do: release, to: b}}, {act: {do: release, to: b}}]}"},
	{"misspelt step of a repeat", "- heal: a", "- repeat: {times: 2, steps: [{heel: a}]}"},
	{"legs of what has none", "check: {legs: r}", "check: {legs: f}"},
	{"in sync without legs", "{file: \"{r.sys}/md/sync_action\", is: idle, limit: 60s}", "{in_sync: crypt}"},
	{"copies of a file system", "check: {legs: r}", "check: {agree: fs}"},
	{"an operation for a kind of step", "- wait: 500ms", "- fsync: {on: r}"},
	{"an act for a kind of step", "- wait: 500ms", "- grow: {to: r}"},
	{"a level for a kind of layer", "- crypt: plain", "- raid5: {}"},
	{"one outcome for a list", "expect: [data, EIO]", "expect: EIO"},
	{"one device for a list", "on: [a, b], level", "on: a, level"},
	{"a colon in a text", "about: ", "about: md: "},
	{"lines of the shell not indented", "- wait: 500ms", "- run: |\n    ls\n  ls"},
	{"profile of ext4", "fs: {type: ext4, on: [crypt]", "fs: {type: ext4, profile: raid1, on: [crypt]"},
	{"profile that btrfs has not", "fs: {type: ext4, on: [crypt], mkfs: [-O, ^metadata_csum]}", "fs: {type: btrfs, profile: raid2, on: [crypt]}"},
	{"profile of too few devices", "fs: {type: ext4, on: [crypt], mkfs: [-O, ^metadata_csum]}", "fs: {type: btrfs, profile: raid1, on: [crypt]}"},
	{"checks a file system that is none", "fsck: fs", "fsck: r"},
	{"parallel of one", "      - - io: {op: fsync}\n", ""},
	{"fault on a layer", "fault: {disk: a", "fault: {disk: r"},
	{"fault that reads can't have", "do: error, op: read", "do: lost, op: read"},
	{"fault beyond the end", "offset: 1MiB, length: 4KiB", "offset: 1GiB, length: 4KiB"},
	{"chance above one", "chance: 0.5", "chance: 1.5"},
	{"chance in words", "chance: 0.5", "chance: half"},
	{"removes a disk of ahci", "do: error, op: read, offset: 1MiB, length: 4KiB, chance: 0.5", "do: remove"},
	{"power cut in parallel", "- - exec: [ls]", "- - power_cut: now"},
	{"power cut with a RAM disk", "- heal: a", "- power_cut: now"},

	{"parameter in itself", "extra: [ls]", "extra: [\"${extra}\"]"},
	{"parameter in parameters and matrix", "  size: 1MiB\n", "  size: 1MiB\n  mode: fast\n"},
	{"list inside of a text", "echo ${size}", "echo ${below}"},
	{"value with a comma", "[fast, slow]", "[\"fast,er\", slow]"},
	{"value without a name", "[fast, slow]", "[[fast], slow]"},
	{"bad value in a named one", "[{zram: 32MiB}]", "[{zram: 32MB}]"},
	{"exclude of an unknown parameter", "- {mode: slow, below: ram}", "- {mod: slow, below: ram}"},
	{"exclude of an unknown value", "- {mode: slow, below: ram}", "- {mode: slow, below: rams}"},
	{"exclude of nothing", "- {mode: slow, below: ram}", "- {mode: slow, below: ram}\n  - {below: ram, mode: slow}"},
	{"exclude of everything", "- {mode: slow, below: ram}", "- {mode: slow}\n  - {mode: fast}"},
	{"expect that is empty", "expect: [data, EIO]", "expect: {}"},
}

func manyDisks(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  - {id: x%d}\n", i)
	}
	return b.String()
}

func numbers(from, to int) []string {
	var out []string
	for i := from; i <= to; i++ {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

func TestParseSaysWhatIsWrongAndWhere(t *testing.T) {
	var got strings.Builder
	for _, table := range []struct {
		file string
		rows []struct{ name, old, new string }
	}{{"testdata/good.yaml", broken}, {"testdata/wide.yaml", brokenWide}} {
		good, err := os.ReadFile(table.file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(table.file, good); err != nil {
			t.Fatalf("given the scenario that the others are made from: %v", err)
		}
		for _, row := range table.rows {
			if n := strings.Count(string(good), row.old); n != 1 {
				t.Errorf("%s: %q is %d times in %s", row.name, row.old, n, table.file)
				continue
			}
			_, err := Parse("bad.yaml", []byte(strings.Replace(string(good), row.old, row.new, 1)))
			if err == nil {
				t.Errorf("%s: Parse gave no error", row.name)
				continue
			}
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("%s: want one line with the place, got %q", row.name, err)
			}
			got.WriteString(row.name + "\n\t" + err.Error() + "\n")
		}
	}
	for _, row := range []struct{ name, src string }{
		{"empty file", ""},
		{"only a comment", "# nothing\n"},
		{"only a document start", "---\n"},
		{"a list", "- a\n"},
		{"a word", "scenario\n"},
		{"a file too large", "# " + strings.Repeat("x", maxSource)},
		{"power cut at every flush and now", "name: bad\nabout: It says when twice.\ndisks: [{id: a}]\nsteps:\n  - power_cut: {every: flush, at: now}\n"},
		{"power cuts at every flush of another", "name: bad\nabout: It has two.\ndisks: [{id: a}]\nsteps:\n  - power_cut: {every: flush}\n  - power_cut: {every: flush}\n"},
		{"power cuts at every flush by a repeat", "name: bad\nabout: It has two.\ndisks: [a]\nsteps:\n  - repeat: {times: 2, steps: [{power_cut: {every: flush}}]}\n"},
		{"beyond a file on what has grown", "name: bad\nabout: It is as it was.\ndisks: [a, b]\nstack: [md: raid1, fs: ext4, file: 1MiB]\nsteps:\n  - act: {do: grow, to: md, args: [--size=max]}\n  - io: {op: pread, offset: 1MiB}\n"},
		{"legs of what was stopped", "name: bad\nabout: They are gone.\ndisks: [{id: a}, {id: b}]\nstack: [md: raid1]\nsteps:\n  - act: {do: stop, to: md}\n  - check: {legs: md}\n"},
		{"release of what is not held", "name: bad\nabout: Once too often.\ndisks: [{id: a}]\nsteps:\n  - act: {do: hold, to: a}\n  - act: {do: release, to: a}\n  - act: {do: release, to: a}\n"},
		{"hold of a file system", "name: bad\nabout: It is none that can be opened.\ndisks: [{id: a}]\nstack: [fs: ext4]\nsteps:\n  - act: {do: hold, to: fs}\n"},
		{"in sync though stopped", "name: bad\nabout: It is gone.\ndisks: [{id: a}, {id: b}]\nstack: [md: raid1]\nsteps:\n  - act: {do: stop, to: md}\n  - act: {do: assemble, to: md}\n  - act: {do: stop, to: md}\n  - wait: {in_sync: md}\n"},
		{"power cut without a disk", "name: bad\nabout: It has none.\nsteps:\n  - power_cut: now\n"},
		{"plain device that is formatted", "name: bad\nabout: It has no header.\ndisks: [{id: a}]\nstack: [crypt: {type: plain, format: [--label, x]}]\nsteps:\n  - io: {op: pread}\n"},
		{"disks of scsi_debug that differ", "name: bad\nabout: They are alike.\nstack:\n  - scsi_debug: {name: x, size: 16MiB}\n  - scsi_debug: {name: y, size: 32MiB}\nsteps:\n  - io: {op: pread}\n"},
		{"lockless bitmap beside a journal", "name: bad\nabout: It has both.\ndisks: [a, b, c, d]\nstack: [md: {level: raid5, bitmap: lockless, journal: true}]\nsteps:\n  - io: {op: pread}\n"},
		{"lockless bitmap of old metadata", "name: bad\nabout: It has no room.\ndisks: [a, b]\nstack: [md: {level: raid1, bitmap: lockless, metadata: \"0.90\"}]\nsteps:\n  - io: {op: pread}\n"},
		{"misspelt bitmap", "name: bad\nabout: It has none.\ndisks: [a, b]\nstack: [md: {level: raid1, bitmap: lokless}]\nsteps:\n  - io: {op: pread}\n"},
		{"snapshot before it is made", "name: bad\nabout: It is not there.\ndisks: [a]\nstack: [lvm: {name: v, type: linear, size: 32MiB}]\nsteps:\n  - io: {op: pread, on: s}\n  - act: {do: snapshot, to: v, snapshot: s, args: [-L, 8MiB]}\n"},
		{"snapshot in the step that makes it", "name: bad\nabout: It is not there.\ndisks: [a]\nstack: [lvm: {name: v, type: linear, size: 32MiB}]\nsteps:\n  - act: {do: snapshot, to: v, snapshot: s, args: [-L, \"{s.sectors}s\"]}\n"},
		{"snapshot after it was merged", "name: bad\nabout: It is not there.\ndisks: [a]\nstack: [lvm: {name: v, type: linear, size: 32MiB}]\nsteps:\n  - act: {do: snapshot, to: v, snapshot: s}\n  - act: {do: merge, to: v, snapshot: s}\n  - exec: [ls, \"{s}\"]\n"},
		{"snapshot after the power failed", "name: bad\nabout: It is not there.\ndisks: [a]\nstack: [lvm: {name: v, type: linear, size: 32MiB}]\nsteps:\n  - act: {do: snapshot, to: v, snapshot: s}\n  - power_cut: now\n  - check: {data: s}\n"},
		{"snapshot in parallel", "name: bad\nabout: It is not there.\ndisks: [a]\nstack: [lvm: {name: v, type: linear, size: 32MiB}]\nsteps:\n  - parallel:\n      - - act: {do: snapshot, to: v, snapshot: s}\n      - - wait: 1s\n"},
		{"snapshot with a name that is taken", "name: bad\nabout: It is not there.\ndisks: [a]\nstack: [lvm: {name: v, type: linear, size: 32MiB}]\nsteps:\n  - act: {do: snapshot, to: v, snapshot: a}\n"},
		{"snapshot with a name of lvm's", "name: bad\nabout: lvm has it.\ndisks: [a]\nstack: [lvm: {name: v, type: linear, size: 32MiB}]\nsteps:\n  - act: {do: snapshot, to: v, snapshot: snapshot1}\n"},
		{"merge into another volume", "name: bad\nabout: It is v's.\ndisks: [a, b]\nstack:\n  - lvm: {name: v, on: [a], type: linear, size: 32MiB}\n  - lvm: {name: w, on: [b], type: linear, size: 32MiB}\nsteps:\n  - act: {do: snapshot, to: v, snapshot: s}\n  - act: {do: merge, to: w, snapshot: s}\n"},
		{"merge of what no step made", "name: bad\nabout: It is not there.\ndisks: [a]\nstack: [lvm: {name: v, type: linear, size: 32MiB}]\nsteps:\n  - act: {do: merge, to: v, snapshot: s}\n"},
		{"snapshot that may not be made", "name: bad\nabout: It is not there.\ndisks: [a]\nstack: [lvm: {name: v, type: linear, size: 32MiB}]\nsteps:\n  - act: {do: snapshot, to: v, snapshot: s, expect: any}\n"},
		{"snapshot of another act", "name: bad\nabout: It is not there.\ndisks: [a]\nstack: [lvm: {name: v, type: linear, size: 32MiB}]\nsteps:\n  - act: {do: lvchange, to: v, snapshot: s}\n"},
		{"legs of a snapshot", "name: bad\nabout: It is not there.\ndisks: [a]\nstack: [lvm: {name: v, type: linear, size: 32MiB}]\nsteps:\n  - act: {do: snapshot, to: v, snapshot: s}\n  - check: {legs: s}\n"},
		{"act on a snapshot", "name: bad\nabout: It is not there.\ndisks: [a]\nstack: [lvm: {name: v, type: linear, size: 32MiB}]\nsteps:\n  - act: {do: snapshot, to: v, snapshot: s}\n  - act: {do: grow, to: s}\n"},
		{"beyond the end of a snapshot", "name: bad\nabout: It is not there.\ndisks: [a]\nstack: [lvm: {name: v, type: linear, size: 32MiB}]\nsteps:\n  - act: {do: snapshot, to: v, snapshot: s}\n  - io: {op: pread, on: s, offset: 32MiB}\n"},
		{"partition that shrinks", "name: bad\nabout: It is too much.\ndisks: [{id: a, size: 64MiB}]\nstack: [partition: {name: p, size: 16MiB}]\nsteps:\n  - act: {do: grow, to: p, size: 8MiB}\n"},
		{"partition that shrinks after it has grown", "name: bad\nabout: It is too much.\ndisks: [{id: a, size: 128MiB}]\nstack: [partition: {name: p, size: 16MiB}]\nsteps:\n  - act: {do: grow, to: p, size: 96MiB}\n  - act: {do: grow, to: p, size: 64MiB}\n"},
		{"partition that grows too far", "name: bad\nabout: It is too much.\ndisks: [{id: a, size: 64MiB}]\nstack: [partition: {name: p, size: 16MiB}]\nsteps:\n  - act: {do: grow, to: p, size: 63MiB}\n"},
		{"partition that grows by a tool", "name: bad\nabout: It is too much.\ndisks: [{id: a, size: 64MiB}]\nstack: [partition: {name: p, size: 16MiB}]\nsteps:\n  - act: {do: grow, to: p, args: [--size=max]}\n"},
		{"size of another act", "name: bad\nabout: It is not there.\ndisks: [a]\nstack: [lvm: {name: v, type: linear, size: 32MiB}]\nsteps:\n  - act: {do: grow, to: v, size: 64MiB}\n"},
		{"zone that there is not", "name: bad\nabout: It has four.\ndisks: [{id: n, bus: nvme, size: 16MiB, zones: 4MiB}]\nsteps:\n  - zone: {do: reset, on: n, zone: 4}\n"},
		{"more zones than there are", "name: bad\nabout: It has four.\ndisks: [{id: n, bus: nvme, size: 16MiB, zones: 4MiB}]\nsteps:\n  - zone: {do: reset, on: n, zone: 3, count: 2}\n"},
		{"write pointer outside of a zone", "name: bad\nabout: It is of 4 MiB.\ndisks: [{id: n, bus: nvme, size: 16MiB, zones: 4MiB}]\nsteps:\n  - zone: {do: report, on: n, write_pointer: 5MiB}\n"},
		{"power cut of a zoned disk", "name: bad\nabout: It forgets.\ndisks: [{id: n, bus: nvme, size: 16MiB, zones: 4MiB}]\nsteps:\n  - power_cut: now\n"},
		{"zoned disk taken away", "name: bad\nabout: It stays.\ndisks: [{id: n, bus: nvme, size: 16MiB, zones: 4MiB}]\nsteps:\n  - fault: {disk: n, do: remove}\n"},
		{"nested without end", strings.Repeat("[", 20000)},
	} {
		_, err := Parse("bad.yaml", []byte(row.src))
		if err == nil {
			t.Errorf("%s: Parse gave no error", row.name)
			continue
		}
		got.WriteString(row.name + "\n\t" + err.Error() + "\n")
	}
	golden(t, "testdata/errors.golden", got.String())
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
	}
}
