package console

import (
	"sync"
)

// kernelPhrases are lines that only a kernel prints, in nearly every boot. By
// them a log without any printk time is known for a kernel log.
var kernelPhrases = []string{
	"Linux version ", "Command line: ", "Kernel command line: ", "BIOS-provided physical RAM map", "Booting Linux on physical CPU",
	"Run /init as init process", "Run /sbin/init as init process", "Freeing unused kernel image", "Freeing unused kernel memory", "Memory: ",
	"EXT4-fs (", "device-mapper: ", "Call Trace:", "Call trace:", "SCSI subsystem initialized", "NET: Registered ", "clocksource: ", "pci_bus ",
}

// Literals that are no marker, with their place in the prefilter.
const (
	litVersion    = "Linux version "
	litMark       = "blockrig: "
	litSuppressed = " callbacks suppressed"
	litMessages   = " messages suppressed"
	litRepeated   = "message repeated "
	litDropped    = "printk messages dropped"
	litEncoding   = "Content-Transfer-Encoding: "
	litOffset     = "Kernel Offset: "
)

// tables are the compiled rows: the same for all scanners, never changed.
type tables struct {
	markers   []pattern
	harmless  []pattern
	filter    *prefilter
	heads     *heads     // of the markers that begin with text
	dullHead  *heads     // of the harmless ones
	rows      [][]uint16 // by literal: rows of markers
	dull      [][]uint16 // by literal: rows of harmlessLines
	special   []string   // by literal: one of the lit… above, or ""
	phrases   *prefilter // kernelPhrases
	look      *nameSet
	sleep     *nameSet
	entry     *nameSet
	interrupt *nameSet
	parts     [256][]uint16       // by first byte
	sites     map[string][]uint16 // by function: rows of markers
	speakers  [256][]string       // by first byte
	byDevice  []bool              // by row of markers: each device has a finding of its own
}

var compiled = sync.OnceValue(func() *tables {
	t := &tables{sites: map[string][]uint16{}, heads: newHeads(), dullHead: newHeads()}
	ids := map[string]int{}
	var literals []string
	id := func(lit string) int {
		n, ok := ids[lit]
		if !ok {
			n = len(literals)
			ids[lit] = n
			literals = append(literals, lit)
			t.rows = append(t.rows, nil)
			t.dull = append(t.dull, nil)
			t.special = append(t.special, "")
		}
		return n
	}
	if len(markers) > len(Scanner{}.hits)*64 || len(harmlessLines) > len(Scanner{}.dulls)*64 {
		panic("console: more rows than a Scanner has bits for")
	}
	for i, m := range markers {
		p, err := parsePattern(m.match)
		if err != nil {
			panic(err)
		}
		t.markers = append(t.markers, p)
		dev := false
		for _, k := range p.tokens {
			dev = dev || k.name == "dev" || k.name == "ata"
		}
		t.byDevice = append(t.byDevice, dev)
		if !t.heads.add(&p, uint16(i)) {
			n := id(p.anchor)
			t.rows[n] = append(t.rows[n], uint16(i))
		}
		for _, s := range m.sites {
			t.sites[s] = append(t.sites[s], uint16(i))
		}
	}
	for i, h := range harmlessLines {
		p, err := parsePattern(h.match)
		if err != nil {
			panic(err)
		}
		t.harmless = append(t.harmless, p)
		if !t.dullHead.add(&p, uint16(i)) {
			n := id(p.anchor)
			t.dull[n] = append(t.dull[n], uint16(i))
		}
	}
	for _, lit := range []string{litVersion, litMark, litSuppressed, litMessages, litRepeated, litDropped, litOffset, litEncoding} {
		t.special[id(lit)] = lit
	}
	t.filter = newPrefilter(literals)
	t.phrases = newPrefilter(kernelPhrases)
	for i, p := range parts {
		t.parts[p.begin[0]] = append(t.parts[p.begin[0]], uint16(i))
	}
	for _, s := range speakers {
		t.speakers[s[0]] = append(t.speakers[s[0]], s)
	}
	t.look, t.sleep, t.entry, t.interrupt = newNameSet(lookThrough), newNameSet(sleeping), newNameSet(entries), newNameSet(interrupts)
	return t
})
