package language

import (
	"errors"
	"flag"
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
	{"duplicate key inside", "log: disk", "log: disk\n    log: core"},
	{"missing key", "about: What the tests break.\n", ""},
	{"missing key inside", "    size: 64MiB\n", ""},
	{"missing step key", "  op: pread\n", ""},
	{"key is a list", "about: What", "[a, b]: c\nabout: What"},
	{"not a mapping", "machine:\n  memory: 384MiB", "machine: 384MiB"},
	{"nothing there", "machine:\n  memory: 384MiB", "machine:"},
	{"list for a mapping", "machine:\n  memory: 384MiB", "machine: [384MiB]"},
	{"mapping for a list", "disks:\n  - {id: a, bus: ahci, size: 128MiB}\n  - {id: b, bus: ahci, size: 128MiB}", "disks: {a: 1}"},
	{"empty list", "aligned: [data]\n  mis", "aligned: []\n  mis"},

	{"name with a slash", "name: good", "name: ../good"},
	{"name in capitals", "name: good", "name: Good"},
	{"name too long", "name: good", "name: " + strings.Repeat("g", 65)},
	{"about is a number", "about: What the tests break.", "about: 42"},
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
	{"disks too many", "disks:\n", "disks:\n" + strings.Repeat("  - {id: x, bus: ahci, size: 128MiB}\n", 6)},
	{"three disks for a mirror", "disks:\n", "disks:\n  - {id: c, bus: ahci, size: 128MiB}\n"},
	{"one disk for a mirror", "  - {id: b, bus: ahci, size: 128MiB}\n", ""},

	{"dma_alignment not a mask", "511", "512"},
	{"dma_alignment is negative", "511", "-1"},
	{"dma_alignment is text", "511", "sector"},

	{"unknown volume type", "type: mirror", "type: mirrror"},
	{"volume size no multiple", "size: 64MiB", "size: 65MiB"},
	{"volume too small for ext4", "size: 64MiB", "size: 4MiB"},
	{"mirror without log", "    log: disk\n", ""},
	{"mirror without dmeventd", "    dmeventd: false\n", ""},
	{"dmeventd is yes", "dmeventd: false", "dmeventd: yes"},
	{"dmeventd in quotes", "dmeventd: false", `dmeventd: "false"`},
	{"raid1 with log", "type: mirror", "type: raid1"},
	{"linear on two disks", "type: mirror", "type: linear"},
	{"lvm and md", "  ext4:\n", "  md: {level: raid1}\n  ext4:\n"},
	{"unknown md level", "  ext4:\n", "  md: {level: raid5}\n  ext4:\n"},
	{"plain on two disks", "  lvm:\n    type: mirror\n    size: 64MiB\n    log: disk\n    dmeventd: false\n", ""},
	{"no file system", "  ext4:\n    block_size: 4096\n", ""},
	{"no file", "  file:\n    size: 1MiB\n", ""},
	{"block size of 8 KiB", "block_size: 4096", "block_size: 8192"},
	{"file larger than the volume", "  file:\n    size: 1MiB", "  file:\n    size: 1GiB"},

	{"unknown op", "op: pread", "op: read"},
	{"direct is a number", "direct: true", "direct: 1"},
	{"offset is negative", "offset: 0\n  length", "offset: -1\n  length"},
	{"offset outside the file", "offset: 0\n  length", "offset: 1048576\n  length"},
	{"offset is text", "offset: 0\n  length", "offset: start\n  length"},
	{"offset is octal", "offset: 0\n  length", "offset: 010\n  length"},
	{"length 0", "length: [512, 4096]", "length: [512, 0]"},
	{"length beyond the end", "offset: 0\n  length", "offset: 1048064\n  length"},
	{"length beyond the file", "length: [512, 4096]", "length: [512, 4194304]"},
	{"memory offset beyond the page", "memory_offset: [0, 32]", "memory_offset: [0, 4096]"},
	{"memory offset is negative", "memory_offset: [0, 32]", "memory_offset: [-32, 0]"},
	{"text around a parameter", "length: ${length}", "length: 1${length}"},

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
	{"wrong indentation", "    log: disk", "   log: disk"},
	{"control character", "about: What", "about: \x1b[31mWhat"},
	{"not UTF-8", "about: What", "about: \xff\xfeWhat"},
}

func numbers(from, to int) []string {
	var out []string
	for i := from; i <= to; i++ {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

func TestParseSaysWhatIsWrongAndWhere(t *testing.T) {
	good, err := os.ReadFile("testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse("good.yaml", good); err != nil {
		t.Fatalf("given the scenario that the others are made from: %v", err)
	}

	var got strings.Builder
	for _, row := range broken {
		if n := strings.Count(string(good), row.old); n != 1 {
			t.Errorf("%s: %q is %d times in good.yaml", row.name, row.old, n)
			continue
		}
		s, err := Parse("bad.yaml", []byte(strings.Replace(string(good), row.old, row.new, 1)))
		if err == nil {
			t.Errorf("%s: Parse gave %+v, want an error", row.name, s)
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Line < 1 || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%s: want one line with the place, got %q", row.name, err)
		}
		got.WriteString(row.name + "\n\t" + err.Error() + "\n")
	}
	for _, row := range []struct{ name, src string }{
		{"empty file", ""},
		{"only a comment", "# nothing\n"},
		{"only a document start", "---\n"},
		{"a list", "- a\n"},
		{"a word", "scenario\n"},
		{"a file too large", "# " + strings.Repeat("x", maxSource)},
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
