package console

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Given a console that is still being written, when the first line of a
// report is there, then that is told at once, before any other; the finding
// follows when the report is whole, and marks as they come.
func TestCallbacks(t *testing.T) {
	var events []string
	s := NewScanner(
		OnSign(func(x Sign) { events = append(events, fmt.Sprintf("sign %s %d %s", x.Kind, x.Line, x.Text)) }),
		OnFinding(func(f Finding) { events = append(events, "finding "+f.Title) }),
		OnMark(func(line int, text string) { events = append(events, fmt.Sprintf("mark %d %s", line, text)) }),
	)
	expect := func(piece string, want ...string) {
		t.Helper()
		if n, err := s.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Errorf("wrote %d: %v", n, err)
		}
		if d := cmp.Diff(want, events); d != "" {
			t.Errorf("after %q: %s", piece, d)
		}
		events = nil
	}
	expect("[    1.0000")
	expect("00] blockrig: guest: phase step\r\n[    5.000000] BUG: kernel NULL poin", "mark 1 blockrig: guest: phase step")
	expect("ter dereference, address: 0000000000000008\n", "sign bug 2 BUG: kernel NULL pointer dereference, address: 0000000000000008")
	expect("[    5.000001] Oops: Oops: 0000 [#1] SMP\n[    5.000002] RIP: 0010:bio_add_page+0x1/0x2\n[    5.000003] Call Trace:\n")
	expect("[    5.000004]  do_region+0x1/0x2\n[    5.000005] ---[ end trace 0000000000000000 ]---\n",
		"finding BUG: unable to handle kernel NULL pointer dereference in bio_add_page")
	flood := func(usec int) string {
		return fmt.Sprintf("[    6.%06d] I/O error, dev sdb, sector 8 op 0x0:(READ) flags 0x0 phys_seg 0 prio class 2\n", usec)
	}
	expect(flood(1), "sign io 8 I/O error, dev sdb, sector 8 op 0x0:(READ) flags 0x0 phys_seg 0 prio class 2", "finding I/O error, READ")
	expect(flood(2) + flood(3))
	expect("[    7.000000] INFO: task dd:1 blocked for more than 120 seconds.\n", "sign hang 11 INFO: task dd:1 blocked for more than 120 seconds.")
	expect("blockrig: host: {\"ended\":\"quit\"}\nblockrig: host: no newline", "mark 12 blockrig: host: {\"ended\":\"quit\"}")
	s.Close()
	if d := cmp.Diff([]string{"mark 13 blockrig: host: no newline", "finding INFO: task hung"}, events); d != "" {
		t.Error(d)
	}
	s.Close()
	if n := s.Findings()[1].Count; n != 3 {
		t.Errorf("%d I/O errors", n)
	}
}

// Given the start of a line that is never ended, when more and more of it is
// written, then its beginning is read and the rest costs no memory.
func TestLongLine(t *testing.T) {
	s := NewScanner()
	s.Write([]byte("[    1.000000] Kernel panic - not syncing: No working init found. "))
	for range 1000 {
		s.Write(bytes.Repeat([]byte("x"), 1<<16))
	}
	s.Close()
	if f := s.Findings(); len(f) != 1 || f[0].Kind != KindBoot || cap(s.carry) > 4*maxLine {
		t.Errorf("%+v", f)
	}
}

// Given more different findings than anyone can read, when they are read,
// then memory stays within a bound and what is left out is counted.
func TestConstantMemory(t *testing.T) {
	s := NewScanner()
	var line bytes.Buffer
	feed := func(from, to int) {
		for i := from; i < to; i++ {
			line.Reset()
			fmt.Fprintf(&line, "[%5d.%06d] I/O error, dev sd%c%c%c%c, sector %d op 0x0:(READ) flags 0x0 phys_seg 0 prio class 2\n", i/1000, i%1000,
				'a'+i%26, 'a'+i/26%26, 'a'+i/676%26, 'a'+i/17576%26, i)
			fmt.Fprintf(&line, "[%5d.%06d] WARNING: CPU: 0 PID: 1 at lib/a.c:%d f%d+0x1/0x2\n", i/1000, i%1000, i, i)
			fmt.Fprintf(&line, "[%5d.%06d] Call Trace:\n g%d+0x1/0x2\n", i/1000, i%1000, i)
			s.Write(line.Bytes())
		}
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	feed(0, 20_000)
	before := heap()
	feed(20_000, 200_000)
	after := heap()
	s.Close()
	if len(s.Findings()) != maxFindings || s.Dropped() < 300_000 {
		t.Errorf("%d findings, %d left out", len(s.Findings()), s.Dropped())
	}
	if after > before+1<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
}

// Given random text with literals in it, when the prefilter goes through it,
// then it finds what a search for each literal finds.
func TestPrefilter(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	p := compiled().filter
	for range 3000 {
		var b strings.Builder
		for range rnd.IntN(8) {
			lit := p.literals[rnd.IntN(len(p.literals))]
			switch rnd.IntN(4) {
			case 0:
				lit = lit[:rnd.IntN(len(lit)+1)]
			case 1:
				lit = lit[rnd.IntN(len(lit)):]
			}
			b.WriteString(lit)
			for range rnd.IntN(3) {
				b.WriteByte(byte(' ' + rnd.IntN(95)))
			}
		}
		text := b.String()
		ids, at := p.find([]byte(text), nil, nil)
		got := map[int][]int{}
		for i, id := range ids {
			got[id] = append(got[id], at[i])
		}
		for _, found := range got {
			slices.Sort(found)
		}
		for id, lit := range p.literals {
			var want []int
			for i := 0; i+len(lit) <= len(text); i++ {
				if text[i:i+len(lit)] == lit {
					want = append(want, i)
				}
			}
			if !slices.Equal(got[id], want) {
				t.Fatalf("%q in %q: at %v, want %v", lit, text, got[id], want)
			}
		}
	}
}

// Given a quiet log, when it is read, then nothing is found and each line
// counts.
func TestQuiet(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "quiet", "boot.log"))
	if err != nil {
		t.Fatal(err)
	}
	s := scan(text)
	if n := bytes.Count(text, []byte("\n")); len(s.Findings()) > 0 || s.Lines() != n || s.KernelLines() != n || s.Boots() != 1 {
		t.Errorf("%d lines, %d of the kernel, %d boots, %+v", s.Lines(), s.KernelLines(), s.Boots(), s.Findings())
	}
}

// Given what the kernel's rate limit left out, wherever it is said, then it
// is added to the errors that it belongs to.
func TestSuppressed(t *testing.T) {
	const (
		sdb   = " I/O error, dev sdb, sector 8 op 0x0:(READ) flags 0x0 phys_seg 0 prio class 2\n"
		sdc   = " I/O error, dev sdc, sector 8 op 0x0:(READ) flags 0x0 phys_seg 0 prio class 2\n"
		minus = " blk_print_req_error: 100 callbacks suppressed\n"
	)
	for _, c := range []struct {
		name string
		log  string
		want map[string]int64
	}{
		{"after the first", "[    1.000000]" + sdb + "[    2.000000]" + minus + "[    3.000000]" + sdb, map[string]int64{"sdb": 102}},
		{"before any", "[    2.000000]" + minus + "[    3.000000]" + sdb, map[string]int64{"sdb": 101}},
		{"of the latest device", "[    1.000000]" + sdb + "[    2.000000]" + sdc + "[    2.000001]" + minus, map[string]int64{"sdb": 1, "sdc": 101}},
		{"of something else", "[    1.000000]" + sdb + "[    2.000000] net_ratelimit: 100 callbacks suppressed\n", map[string]int64{"sdb": 1}},
		{"folded by another syslog", "Jun 14 18:08:32 dalek kernel:" + sdb + "Jun 14 18:08:32 dalek last message repeated 7 times\n", map[string]int64{"sdb": 8}},
		{"folded, of another program", "Jun 14 18:08:32 dalek kernel:" + sdb + "Jun 14 18:08:32 dalek cron[1]: x\nJun 14 18:08:32 dalek last message repeated 7 times\n", map[string]int64{"sdb": 1}},
		{"folded by rsyslog", "Jun 14 18:08:32 dalek kernel: [    1.000000]" + sdb + "Jun 14 18:08:33 dalek kernel: message repeated 3 times: [ [    1.000000]" + sdb[:len(sdb)-1] + "]\n", map[string]int64{"sdb": 4}},
		{"folded by syslog", "Jun 14 18:08:32 dalek kernel:" + sdb + "Jun 14 18:08:32 dalek kernel: last message repeated 7 times\n", map[string]int64{"sdb": 8}},
	} {
		got := map[string]int64{}
		for _, f := range scan([]byte(c.log)).Findings() {
			got[f.Place] = f.Count
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

// Given a function that the compiler split or cloned, when it is to blame,
// then the title is the same as for the whole one.
func TestTitleStable(t *testing.T) {
	for _, fn := range []string{
		"do_region", "do_region.isra.0", "do_region.constprop.0", "do_region.part.0.isra.0", "do_region.cold", "do_region.constprop.0.cold", "do_region.llvm.1234567890",
		"do_region.lto_priv.0",
	} {
		for _, head := range []string{
			"WARNING: CPU: 0 PID: 1 at drivers/md/dm-io.c:350 %s+0x1/0x2\n",
			"WARNING: CPU: 7 PID: 9 at drivers/md/dm-io.c:350 %s+0x10/0x200 [dm_mod]\n",
			"WARNING: drivers/md/dm-io.c:350 at %s+0x1/0x2 [dm_mod], CPU#22: kworker/22:0/18929\n",
		} {
			f := scan(fmt.Appendf(nil, "[    1.000000] "+head, fn)).Findings()
			if len(f) != 1 || f[0].Title != "WARNING in do_region" {
				t.Errorf("%s: %+v", fn, f)
			}
		}
	}
}
