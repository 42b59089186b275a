package hunt

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// Plain is the stack that the others are compared with: a disk.
const Plain = "plain"

const (
	diskSize   scenarios.Bytes = 48 << 20 // the least
	volumeSize scenarios.Bytes = 20 << 20 // of what programs use
)

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
		switch {
		case parts[word].file && i < len(s.parts)-1:
			return Stack{}, fmt.Errorf("stack %q: %s can only be its top", name, word)
		case parts[word].bottom && i > 0:
			return Stack{}, fmt.Errorf("stack %q: %s can only be its bottom", name, word)
		case i > 0 && carries(s.parts[i-1], word) != "":
			return Stack{}, fmt.Errorf("stack %q: %s can't lie on %s: %s", name, word, s.parts[i-1], carries(s.parts[i-1], word))
		}
	}
	if n := s.disks(); n > mostDisks {
		return Stack{}, fmt.Errorf("stack %q: it takes %d disks, and at most %d are possible", name, n, mostDisks)
	}
	return s, nil
}

// mostDisks bounds the disks of a machine: language.Parse takes no more.
const mostDisks = 26

// Everything, in place of a stack's name, is all stacks of All.
const Everything = "all"

// ParseStacks reads a list of stacks. The plain disk is among those it gives,
// first. Everything stands for all that there are: each part by itself, and then
// the pairs, in an order drawn by seed.
func ParseStacks(names []string, seed uint64) ([]Stack, error) {
	out := []Stack{{Name: Plain}}
	add := func(names ...string) error {
		for _, name := range names {
			s, err := ParseStack(strings.TrimSpace(name))
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(out, func(t Stack) bool { return t.Name == s.Name }) {
				out = append(out, s)
			}
		}
		return nil
	}
	for _, name := range names {
		if strings.TrimSpace(name) == Everything {
			singles, pairs := All()
			pairs = slices.DeleteFunc(pairs, func(name string) bool { _, err := ParseStack(name); return err != nil }) // it takes too many disks
			rand.New(rand.NewPCG(seed, 1<<62)).Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
			if err := add(slices.Concat(singles, pairs)...); err != nil {
				return nil, err
			}
		} else if err := add(name); err != nil {
			return nil, err
		}
	}
	if len(out) < 2 && !slices.Contains(names, Plain) {
		return nil, errors.New("name a stack that is to be compared with the plain disk, such as lvm-raid1")
	}
	return out, nil
}

// disks is how many it lies on.
func (s Stack) disks() int {
	if s.onMemory() {
		return 0
	}
	return s.wide()
}

// wide is how many devices its bottom has.
func (s Stack) wide() int {
	n := 1
	for _, word := range s.parts {
		n *= parts[word].over
	}
	return n
}

// onMemory says whether it lies on no disk.
func (s Stack) onMemory() bool { return len(s.parts) > 0 && parts[s.parts[0]].bottom }

// without is the stack without the part at a place.
func (s Stack) without(i int) Stack {
	left := slices.Delete(slices.Clone(s.parts), i, i+1)
	if len(left) == 0 {
		return Stack{Name: Plain}
	}
	return Stack{Name: strings.Join(left, "+"), parts: left}
}

// top is its last part; "" of the plain disk.
func (s Stack) top() string {
	if len(s.parts) == 0 {
		return ""
	}
	return s.parts[len(s.parts)-1]
}

// OnFile says whether its I/O goes to a file.
func (s Stack) OnFile() bool { return parts[s.top()].file }

// Block is the largest logical block of its parts, in bytes.
func (s Stack) Block() int64 {
	block := int64(sector)
	for _, word := range s.parts {
		block = max(block, parts[word].block)
	}
	return block
}

// memory is what a machine with it must have.
func (s Stack) memory() scenarios.Bytes {
	m := machineMemory
	for _, word := range s.parts {
		m += parts[word].memory
	}
	return m
}

// holds says whether another stack is some of its parts, in their order.
func (s Stack) holds(other Stack) bool {
	for i := range s.parts {
		if rest := s.parts[i:]; len(rest) >= len(other.parts) && slices.Equal(rest[:len(other.parts)], other.parts) {
			return true
		}
	}
	return false
}

// sizes are those of what each part gives, from the bottom up, and of a disk.
func (s Stack) sizes() (all []scenarios.Bytes, disk scenarios.Bytes) {
	all = make([]scenarios.Bytes, len(s.parts))
	size := volumeSize
	for i, word := range slices.Backward(s.parts) {
		all[i] = size
		if p := parts[word]; !p.bottom {
			size = p.below(size)
		}
	}
	return all, max(size, diskSize)
}

// Build adds the stack to a setup, with disks and layers of its own whose names
// begin with prefix, and gives the name of its top.
func (s Stack) Build(to *scenarios.Setup, prefix string) (top string) {
	sizes, disk := s.sizes()
	var devices []string
	for i := range s.disks() {
		id := fmt.Sprintf("%sd%d", prefix, i+1)
		to.Disks = append(to.Disks, scenarios.Disk{ID: id, Bus: "ahci", Size: disk})
		devices = append(devices, id)
	}
	n := 0
	for i, word := range s.parts {
		p := parts[word]
		under := slices.Collect(slices.Chunk(devices, p.over))
		if p.bottom {
			under = make([][]string, s.wide())
		}
		put := func(l scenarios.Layer, on []string) (name string) {
			n++
			l.Name, l.On = fmt.Sprintf("%sl%d", prefix, n), on
			if l.DM != nil {
				dm := scenarios.DM{}
				for _, line := range l.DM.Table {
					dm.Table = append(dm.Table, named(line, on))
				}
				l.DM = &dm
			}
			to.Stack = append(to.Stack, l)
			return l.Name
		}
		var above []string
		for _, on := range under {
			if last := len(on) - 1; p.leg != nil {
				on = append(slices.Clone(on[:last]), put(p.leg(), on[last:]))
			}
			for _, l := range p.layers(sizes[i]) {
				on = []string{put(l, on)}
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
