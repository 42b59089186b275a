package console

import "testing"

// Given a line as any program shows the kernel's, when its prefixes are taken
// off, then what is left is the kernel's text.
func TestPrefixes(t *testing.T) {
	const text = "sd 0:0:0:0: Device offlined - not ready after error recovery"
	for _, line := range []string{
		"[  170.474994] kernel: " + text,
		"[   49.655037]@0 " + text,
		"[    8.888@0] " + text,
		"[   12.345678@1]  " + text,
		"[19318.46 / 11-29 21:16:45.862] " + text,
		"[    0.048509 ][    T0 ] " + text,
		"[   12.345678]  (2)[123:kworker/2:1]" + text,
		"[   12.345678] -(0)[0:swapper/0]" + text,
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
