package console

import (
	"slices"
	"strings"
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

// What a SCSI disk says that refuses a command, the commands that nothing is
// lost without (UNMAP, WRITE SAME), and what a reader without a card says.
var (
	litRefused  = []string{"Sense Key : Illegal Request", "Sense Key : 0x5 "}
	litNeedless = []string{"CDB: Unmap", "CDB: Write same(", "CDB: opcode=0x42 ", "CDB: opcode=0x41 ", "CDB: opcode=0x93 "}
	litAbsent   = []string{"Add. Sense: Medium not present", "ASC=0x3a "}
)

// literals are texts that lines are searched for, with what they point to.
type literals struct {
	texts   []string
	ids     map[string]int
	rows    [][]uint16 // by literal: rows of markers
	dull    [][]uint16 // by literal: rows of harmlessLines
	special []string   // by literal: one of the lit… above, or a stem of complaints; or ""
	filter  *prefilter
}

func newLiterals() *literals { return &literals{ids: map[string]int{}} }

func (l *literals) id(text string) int {
	n, ok := l.ids[text]
	if !ok {
		n = len(l.texts)
		l.ids[text] = n
		l.texts = append(l.texts, text)
		l.rows, l.dull, l.special = append(l.rows, nil), append(l.dull, nil), append(l.special, "")
	}
	return n
}

// mayBe is what a line may be, to judge by its first bytes.
type mayBe uint8

const (
	mayComplain mayBe = 1 << iota // storage speaks
	mayBePart                     // a part of a report
	mayBegin                      // a row of the markers
	mayBeShort                    // a row of the markers that begins with a short head
)

// two is a number for two bytes, which ASCII tells apart.
func two(a, b byte) int { return int(a&0x7f)<<7 | int(b&0x7f) }

// mayBe says what a line may be.
func (t *tables) mayBe(text []byte) mayBe {
	if len(text) < 2 {
		return 0
	}
	may := t.twoBytes[two(text[0], text[1])]
	if len(text) >= minHead && t.heads.four[hashFour(text)] != 0 {
		may |= mayBegin
	}
	return may
}

// tables are the compiled rows: the same for all scanners, never changed.
type tables struct {
	markers  []pattern
	harmless []pattern
	literals            // in the lines that rows match
	short    literals   // of rows that begin with a head too short for heads: looked for in lines that begin so
	numbered []uint16   // rows whose messages hold "[#", as an oops does
	heads    *heads     // of the markers that begin with text; its short ones are also of the harmless
	dullHead *heads     // of the harmless ones
	phrases  *prefilter // kernelPhrases
	// twoBytes says what lines that begin with these two bytes may be.
	twoBytes  [1 << 14]mayBe
	look      *nameSet
	sleep     *nameSet
	entry     *nameSet
	interrupt *nameSet
	parts     [256][]uint16       // by first byte
	sites     map[string][]uint16 // by function: rows of markers
	speakers  [256][]speaker      // by first byte
	loose     [256][]string       // by first byte: what may begin a part without a head, and what shows that it is none
	byDevice  []bool              // by row of markers: each device has a finding of its own
	failed    int                 // the row of a SCSI command that failed
}

var compiled = sync.OnceValue(func() *tables {
	t := &tables{sites: map[string][]uint16{}, heads: newHeads(), dullHead: newHeads()}
	all, short := newLiterals(), newLiterals()
	if len(markers) > len(seen{}.hits)*64 || len(harmlessLines) > len(seen{}.dulls)*64 {
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
			lits := all
			switch {
			case t.heads.addShort(&p):
				lits = short
			case strings.Contains(p.source, "[#"):
				t.numbered = append(t.numbered, uint16(i))
				lits = nil
			}
			if lits != nil {
				n := lits.id(p.anchor)
				lits.rows[n] = append(lits.rows[n], uint16(i))
			}
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
			lits := all
			if t.heads.addShort(&p) {
				lits = short
			}
			n := lits.id(p.anchor)
			lits.dull[n] = append(lits.dull[n], uint16(i))
		}
	}
	for _, lit := range []string{litVersion, litMark, litSuppressed, litMessages, litRepeated, litDropped, litOffset, litEncoding} {
		all.special[all.id(lit)] = lit
	}
	for _, lits := range [][]string{litRefused, litNeedless, litAbsent} {
		for _, lit := range lits {
			all.special[all.id(lit)] = lits[0]
		}
	}
	for _, stem := range stems {
		short.special[short.id(stem)] = stem
	}
	all.filter, short.filter = newPrefilter(all.texts, wideWindow), newPrefilter(short.texts, window)
	t.literals, t.short = *all, *short
	t.phrases = newPrefilter(kernelPhrases, window)
	for i, p := range parts {
		t.parts[p.begin[0]] = append(t.parts[p.begin[0]], uint16(i))
	}
	for _, h := range slices.Concat(registerHeads, traceHeads, dumpHeads, []string{traceEnd}) {
		t.loose[h[0]] = append(t.loose[h[0]], h)
		t.twoBytes[two(h[0], h[1])] |= mayBePart
	}
	for _, s := range slices.Concat(speakers, drivers) {
		head, tail, number := strings.Cut(s, "#")
		t.speakers[s[0]] = append(t.speakers[s[0]], speaker{head, tail, number})
		t.twoBytes[two(s[0], s[1])] |= mayComplain
	}
	for _, list := range t.heads.short {
		for _, h := range list {
			if len(h) == 1 {
				for second := range 256 {
					t.twoBytes[two(h[0], byte(second))] |= mayBegin | mayBeShort
				}
				continue
			}
			t.twoBytes[two(h[0], h[1])] |= mayBegin | mayBeShort
		}
	}
	t.failed = slices.IndexFunc(markers, func(m marker) bool { return strings.Contains(m.match, "] tag#{_#} FAILED Result: ") })
	t.look, t.sleep, t.entry, t.interrupt = newNameSet(lookThrough), newNameSet(sleeping), newNameSet(entries), newNameSet(interrupts)
	return t
})
