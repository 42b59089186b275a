package hunt

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// Plain is the stack that the others are compared with: a disk.
const Plain = "plain"

// A part is what a stack is put together of.
type part struct {
	over   int // on how many devices it lies
	layers func() []scenarios.Layer
}

const (
	diskSize   scenarios.Bytes = 48 << 20
	volumeSize scenarios.Bytes = 20 << 20
)

func layer(l scenarios.Layer) func() []scenarios.Layer {
	return func() []scenarios.Layer { return []scenarios.Layer{l} }
}

func volume(over int, l scenarios.LVM) part {
	l.Size = volumeSize
	return part{over, layer(scenarios.Layer{LVM: &l})}
}

func array(over int, level string) part {
	return part{over, layer(scenarios.Layer{MD: &scenarios.MD{Level: level}})}
}

func table(over int, line string) part {
	return part{over, layer(scenarios.Layer{DM: &scenarios.DM{Table: []string{line}}})}
}

func fileOn(fs scenarios.FS) part {
	return part{1, func() []scenarios.Layer {
		return []scenarios.Layer{{FS: &fs}, {File: &scenarios.File{Size: 1 << 20}}}
	}}
}

// parts are all there are, by name.
var parts = map[string]part{
	"lvm-linear":     volume(1, scenarios.LVM{Type: "linear"}),
	"lvm-striped":    volume(2, scenarios.LVM{Type: "striped", Stripes: 2}),
	"lvm-mirror":     volume(2, scenarios.LVM{Type: "mirror", Log: "disk"}),
	"lvm-raid0":      volume(2, scenarios.LVM{Type: "raid0", Stripes: 2}),
	"lvm-raid1":      volume(2, scenarios.LVM{Type: "raid1"}),
	"lvm-raid5":      volume(3, scenarios.LVM{Type: "raid5", Stripes: 2}),
	"lvm-raid10":     volume(4, scenarios.LVM{Type: "raid10", Stripes: 2}),
	"lvm-thin":       volume(1, scenarios.LVM{Type: "thin"}),
	"lvm-snapshot":   volume(1, scenarios.LVM{Type: "snapshot"}),
	"lvm-cache":      volume(1, scenarios.LVM{Type: "cache"}),
	"lvm-writecache": volume(1, scenarios.LVM{Type: "writecache"}),
	"md-linear":      array(2, "linear"),
	"md-raid0":       array(2, "raid0"),
	"md-raid1":       array(2, "raid1"),
	"md-raid5":       array(3, "raid5"),
	"md-raid6":       array(4, "raid6"),
	"md-raid10":      array(4, "raid10"),
	"dm-linear":      table(1, "0 65536 linear {0} 0"),
	"dm-striped":     table(2, "0 65536 striped 2 128 {0} 0 {1} 0"),
	"crypt":          {1, layer(scenarios.Layer{Crypt: &scenarios.Crypt{Type: "plain", SectorSize: 512}})},
	"partition":      {1, layer(scenarios.Layer{Partition: &scenarios.Partition{Start: 1 << 20}})},
	"loop":           {1, layer(scenarios.Layer{Loop: &scenarios.Loop{Direct: true, BlockSize: 512}})},
	"bcache":         {2, layer(scenarios.Layer{Bcache: &scenarios.Bcache{Mode: "writethrough"}})},
	"ext4":           fileOn(scenarios.FS{Type: "ext4", BlockSize: 4096}),
}

// StackNames are the parts that stacks are made of, sorted; see ParseStack.
func StackNames() []string { return slices.Sorted(maps.Keys(parts)) }

// A Stack is named parts, each over the one before; none is a plain disk.
type Stack struct {
	Name  string
	parts []string
}

// ParseStack reads a stack: plain, the name of a part, or several joined by +,
// from the bottom up, such as lvm-raid1+ext4. A part that lies on several
// devices gets as many of what is below it.
func ParseStack(name string) (Stack, error) {
	s := Stack{Name: name}
	if name == Plain {
		return s, nil
	}
	for _, word := range strings.Split(name, "+") {
		if word == Plain && len(s.parts) == 0 {
			continue
		}
		if _, ok := parts[word]; !ok {
			names := append(StackNames(), Plain)
			return Stack{}, fmt.Errorf("stack %q: there is no part %q%s; there are: %s", name, word, text.DidYouMean(word, names), strings.Join(names, ", "))
		}
		s.parts = append(s.parts, word)
	}
	for i, word := range s.parts {
		if word == "ext4" && i < len(s.parts)-1 {
			return Stack{}, fmt.Errorf("stack %q: %s can only be its top", name, word)
		}
	}
	if n := s.disks(); n > mostDisks {
		return Stack{}, fmt.Errorf("stack %q: it takes %d disks, and at most %d are possible", name, n, mostDisks)
	}
	return s, nil
}

// mostDisks bounds the disks of all stacks of a hunt.
const mostDisks = 48

// ParseStacks reads a list of stacks. The plain disk is among those it gives,
// first.
func ParseStacks(names []string) ([]Stack, error) {
	out := []Stack{{Name: Plain}}
	disks := 1
	for _, name := range names {
		s, err := ParseStack(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(t Stack) bool { return t.Name == s.Name }) {
			continue
		}
		disks += s.disks()
		out = append(out, s)
	}
	switch {
	case len(out) < 2 && !slices.Contains(names, Plain):
		return nil, errors.New("name a stack that is to be compared with the plain disk, such as lvm-raid1")
	case disks > mostDisks:
		return nil, fmt.Errorf("these stacks take %d disks, and at most %d are possible in a machine", disks, mostDisks)
	}
	return out, nil
}

// disks is how many it lies on.
func (s Stack) disks() int {
	n := 1
	for _, word := range s.parts {
		n *= parts[word].over
	}
	return n
}

// without is the stack without the part at a place.
func (s Stack) without(i int) Stack {
	left := slices.Delete(slices.Clone(s.parts), i, i+1)
	if len(left) == 0 {
		return Stack{Name: Plain}
	}
	return Stack{Name: strings.Join(left, "+"), parts: left}
}

// OnFile says whether its I/O goes to a file.
func (s Stack) OnFile() bool {
	n := len(s.parts)
	return n > 0 && (s.parts[n-1] == "ext4")
}

// Build adds the stack to a setup, with disks and layers of its own whose names
// begin with prefix, and gives the name of its top.
func (s Stack) Build(to *scenarios.Setup, prefix string) (top string) {
	var devices []string
	for i := range s.disks() {
		id := fmt.Sprintf("%sd%d", prefix, i+1)
		to.Disks = append(to.Disks, scenarios.Disk{ID: id, Bus: "ahci", Size: diskSize})
		devices = append(devices, id)
	}
	n := 0
	for _, word := range s.parts {
		p := parts[word]
		var above []string
		for on := range slices.Chunk(devices, p.over) {
			for _, l := range p.layers() {
				n++
				l.Name, l.On = fmt.Sprintf("%sl%d", prefix, n), on
				if l.DM != nil {
					l.DM = &scenarios.DM{Table: []string{named(l.DM.Table[0], on)}}
				}
				to.Stack = append(to.Stack, l)
				on = []string{l.Name}
			}
			above = append(above, on[0])
		}
		devices = above
	}
	return devices[0]
}

// named puts devices in place of their numbers in a line of a dm table.
func named(line string, on []string) string {
	for i, name := range on {
		line = strings.ReplaceAll(line, fmt.Sprintf("{%d}", i), "{"+name+"}")
	}
	return line
}
