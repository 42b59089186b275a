package console

import (
	"regexp"
	"testing"
)

// notInTitles is what differs from run to run, from machine to machine or from
// one way of showing a log to another.
var notInTitles = map[string]*regexp.Regexp{
	"a time":         regexp.MustCompile(`\[ *\d+\.\d+|\d\d:\d\d:\d\d|\b\d{4}-\d\d-\d\d\b`),
	"an address":     regexp.MustCompile(`0x[0-9a-fA-F]|\b[0-9a-f]{12,16}\b`),
	"an offset":      regexp.MustCompile(`\+0x|\+ADDR`),
	"a device":       regexp.MustCompile(`\b([shv]d[a-z]\d*|nvme\d+(n\d+)?|dm-\d+|md\d+|loop\d+|mmcblk\d+|sr\d+|ata\d+(\.\d+)?|zram\d+|nbd\d+|rbd\d+)\b|/dev/`),
	"a SCSI address": regexp.MustCompile(`\b\d+:\d+:\d+:\d+\b`),
	"a PCI address":  regexp.MustCompile(`\b[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\b`),
	"a prefix":       regexp.MustCompile(`^<\d|\bkernel: |^\w{3} [ \d]\d |^kern +:`),
	"a control code": regexp.MustCompile(`[\x00-\x1f\x7f]`),
	"blanks":         regexp.MustCompile(`^ | $|  `),
}

// Given any log that is kept here, in any form, when it is read, then no title
// holds what differs from run to run.
func TestTitlesHoldNothingOfTheRun(t *testing.T) {
	seen := map[string]bool{}
	look := func(what string, log []byte) {
		for _, f := range scan(log).Findings() {
			if seen[f.Title] {
				continue
			}
			seen[f.Title] = true
			for name, re := range notInTitles {
				if re.MatchString(f.Title) {
					t.Errorf("%s: %s in title %q", what, name, f.Title)
				}
			}
		}
	}
	for _, g := range goldens(t) {
		look(g.path, g.body)
		for _, form := range forms {
			look(g.path+" as "+form.name, inForm(g.body, form))
		}
	}
	for _, name := range []string{"markers.txt", "harmless.txt"} {
		for _, x := range readExamples(t, name) {
			for _, l := range append(x.lines, x.near...) {
				look(l, []byte("[    0.000000] Linux version 6.1.0 (a@b) #1\n[   12.345678] "+l+"\n"))
			}
		}
	}
	if len(seen) < 300 {
		t.Errorf("only %d titles", len(seen))
	}
}
