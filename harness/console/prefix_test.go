package console

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Given a line as any program shows the kernel's, when its prefixes are taken
// off, then what is left is the kernel's text.
func TestPrefixes(t *testing.T) {
	const text = "sd 0:0:0:0: Device offlined - not ready after error recovery"
	for _, line := range []string{
		"[  170.474994] kernel: " + text,
		"[   49.655037]@0 " + text,
		"[    8.888@0] " + text,
		"[    8.8] " + text,
		"[   12.345678@1]  " + text,
		"[19318.46 / 11-29 21:16:45.862] " + text,
		"[    0.048509 ][    T0 ] " + text,
		"[   12.345678]  (2)[123:kworker/2:1]" + text,
		"[   12.345678] -(0)[0:swapper/0]" + text,
		"[   12.345678] \\(2\\)[123:mount]" + text,
		"\\[   12.345678\\] " + text,
		"> \\[   12.345678\\] " + text,
		"Jun 14 18:08:32 dalek 4,416,1799000,-;" + text,
		"[   12.345678]  [2:           comm:  133] " + text,
		"[   12.345678] I[0:      swapper/0:    1] " + text,
		"[    2.345678] c2    123 " + text,
		"[<    0.000042>] " + text,
		"[    1.234567 <    0.000010>] " + text,
		"[2024-06-14T23:37:24.858812Z] [19732.858812] " + text,
		"[2024-06-14 23:37:24] [19732.858812] " + text,
		"[ven. juin 14 18:08:32 2024] " + text,
		"[Fr Jun 14 18:08:32 2024] " + text,
		"kernel: " + text,
		"Feb 14 10:53:28 dalek kernel: : " + text,
		"kernel:[  123.456789] " + text,
		" kernel:[  123.456789] " + text,
		"**" + text + "**",
		"`[  123.456789] " + text + "`",
		"- [  123.456789] " + text,
		"<pre>[  123.456789] " + text,
		"\ufeff[  123.456789] " + text,
		"6,416,1799000,-;" + text,
		"4,416,1799000,-,caller=T77;" + text,
		"6.12.0-rc1+,6,416,1799000,c;" + text,
		"<4>1 2026-06-14T18:08:32.123456Z dalek kernel - - - \ufeff" + text,
		"<4>1 2026-06-14T18:08:32.123456Z dalek kernel - - [meta sequenceId=\"12\"] \ufeff[  123.456789] " + text,
		"2026-06-14T18:08:32.123456Z dalek kernel - - - " + text,
		"14. Juni 18:08:32 dalek kernel: " + text,
		"juin 14 18:08:32 dalek kernel: " + text,
		"6月 14 18:08:32 dalek kernel: [  123.456789] " + text,
		"Mär 03 18:08:32 dalek kernel: " + text,
		"14 июн 18:08:32 dalek kernel: " + text,
		"Fri Jun 14 18:08:32 2026 kern.warn kernel: [  123.456789] " + text,
		"Jun 14 18:08:32 2026 dalek kernel: " + text,
		"2026/06/14 18:08:32 dalek kernel: " + text,
		"14.06.2026 18:08:32 dalek kernel: " + text,
		"06-14 18:08:32.123     0     0 W kernel  : [  123.456789] " + text,
		"06-14 18:08:32.123  1234  1235 W kernel  : " + text,
		"2026-06-14 18:08:32.123     0     0 W         : " + text,
		"W/kernel  (    0): " + text,
		"2026-06-14T18:08:32.123456789Z stdout F [  123.456789] " + text,
		"Jun 14 18:08:32 dalek kernel: <4>[  123.456789] " + text,
		"> > 14. Juni 18:08:32 dalek kernel: " + text,
	} {
		m := split([]byte(line))
		if string(trimBlanks(m.text)) != text {
			t.Errorf("%q: text %q", line, m.text)
		}
		if f := scan([]byte(line + "\n")).Findings(); len(f) != 1 || f[0].Title != "SCSI device offlined" {
			t.Errorf("%q: %+v", line, f)
		}
	}
	for _, line := range []string{
		"Jun 14 18:08:32 dalek systemd[1]: " + text,
		"juin 14 18:08:32 dalek systemd[1]: " + text,
		"06-14 18:08:32.123  1234  1235 W vold    : " + text,
		"W/vold    (  123): " + text,
		"Fri Jun 14 18:08:32 2026 daemon.info procd[1]: " + text,
		"2026-06-14T18:08:32.123456Z dalek sudo[12]: " + text,
		"<13>1 2026-06-14T18:08:32.123456Z dalek fio 12 - - " + text,
		"12,416,1799000,-;fio: " + text,
	} {
		if f := scan([]byte(line + "\n")).Findings(); len(f) != 0 {
			t.Errorf("another program's: %q: %+v", line, f)
		}
	}
}

// Given text that only looks like a prefix, when it is split, then it stays.
func TestNoPrefix(t *testing.T) {
	for _, line := range []string{
		"pci 0000:00:10.0: reg 0x10: [mem 0xfebd0000-0xfebd0fff]",
		"[mem 0x00000000-0x0009fbff] usable",
		"[<ffffffff81234567>] do_region+0x227/0x2a0",
		"<TASK>",
		"*ERROR* something",
		"- not a list",
		"1.2.3 is a release",
		"123",
		"[123",
		"kernelspace: no",
	} {
		if m := split([]byte(line)); string(m.text) != line || m.origin != originUnknown {
			t.Errorf("%q: %+v, text %q", line, m, m.text)
		}
	}
}

// Given a log of which each line has a prefix that nobody knows, when it is
// read whole or in pieces, then what stands in it is found, on its line.
func TestUnknownPrefix(t *testing.T) {
	const trouble = "sd 0:0:0:0: [sda] tag#1 FAILED Result: hostbyte=DID_TIME_OUT driverbyte=DRIVER_OK cmd_age=30s"
	texts := []string{
		"Linux version 6.1.0 (a@b) (gcc) #1 SMP", "pci_bus 0000:00: resource 4 [io 0x0000-0x0cf7]", "usb 1-1: new high-speed USB device number 2",
		"EXT4-fs (sda1): mounted filesystem", "random: crng init done", trouble, "NET: Registered PF_INET6 protocol family", "hub 1-0:1.0: USB hub found", "audit: initializing netlink subsys",
	}
	for name, prefix := range map[string]func(i int) string{
		"columns":          func(i int) string { return fmt.Sprintf("node7 | 00:%02d | ", i) },
		"tabs":             func(i int) string { return fmt.Sprintf("2026-06-14T23:37:%02d.000+0000\tkernel\t", i%60) },
		"commas":           func(i int) string { return fmt.Sprintf("%d,kernel,", i) },
		"quoted commas":    func(i int) string { return fmt.Sprintf("\"2026-06-14T23:37:%02dZ\",\"", i%60) },
		"a word":           func(int) string { return "node12: " },
		"odd brackets":     func(i int) string { return fmt.Sprintf("<<%d>> host{4} [kern] >> ", i) },
		"blanks":           func(i int) string { return fmt.Sprintf("14/06/2026 23:37:%02d  kernel  ", i%60) },
		"a bracket inside": func(i int) string { return fmt.Sprintf("Jun 14 23:37:%02d dalek kernel: [%d] ", i%60, i) },
		"a web page":       func(i int) string { return fmt.Sprintf("<span class=\"t\">[    %d.123456]</span> ", i%10) },
	} {
		for _, more := range []int{0, 200, 2000} { // quiet lines after it
			var log strings.Builder
			for i, text := range texts {
				log.WriteString(prefix(i) + text + "\n")
			}
			for i := range more {
				log.WriteString(prefix(i) + "eth0: Link is Up\n")
			}
			want := []string{"io SCSI command FAILED sda 6 x1"}
			line := func(f Finding) string {
				return fmt.Sprintf("%s %s %s %d x%d", f.Kind, f.Title, f.Place, f.Line, f.Count)
			}
			whole, err := ReadAll(strings.NewReader(log.String()))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			s := NewScanner()
			for _, b := range []byte(log.String()) {
				s.Write([]byte{b})
			}
			s.Close()
			for how, findings := range map[string][]Finding{"whole": whole.Findings, "in pieces": s.Findings()} {
				var got []string
				for _, f := range findings {
					got = append(got, line(f))
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("%s, %d lines more, %s: %s", name, more, how, d)
				}
			}
			if s.KernelLines() != whole.KernelLines || s.KernelLines() == 0 {
				t.Errorf("%s: %d and %d lines of the kernel", name, s.KernelLines(), whole.KernelLines)
			}
		}
	}
}

// Given a live console of an unknown prefix, when enough of it is read, then
// what went wrong is told before the log ends.
func TestUnknownPrefixLive(t *testing.T) {
	var found []Finding
	s := NewScanner(OnFinding(func(f Finding) { found = append(found, f) }))
	for i := range 2 * learnEarly {
		fmt.Fprintf(s, "node7 | 00:%02d | %s\n", i, []string{"EXT4-fs (sda1): mounted filesystem", "eth0: Link is Up"}[i%2])
	}
	fmt.Fprint(s, "node7 | 01:00 | Aborting journal on device sda1-8.\n")
	if len(found) != 1 || found[0].Line != 2*learnEarly+1 {
		t.Errorf("%+v", found)
	}
}

// Given a line of storage's trouble that no row knows, on which the prefix of a
// log is learned, when it is read, then it is found once, without the prefix.
func TestTheLineThatAPrefixIsLearnedOn(t *testing.T) {
	s := NewScanner()
	for i := range learnEarly - 1 {
		fmt.Fprintf(s, "node7 | 00:%02d | %s\n", i, []string{"EXT4-fs (sda1): mounted filesystem", "eth0: Link is Up"}[i%2])
	}
	fmt.Fprint(s, "node7 | 01:00 | nvme nvme0: frobnicator failed: x\n")
	s.Close()
	f := s.Findings()
	if len(f) != 1 || f[0].Title != "not recognised: nvme DEV: frobnicator failed: x" || f[0].Line != learnEarly {
		t.Errorf("%+v", f)
	}
}
