package bisect

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// headline says in a few words what a case does and what comes of it, as a
// person would in a subject: "8192-byte direct read on dm-mirror returns 4096
// bytes".
func headline(c scenarios.Case, s symptom) string {
	if s.setup {
		return "setting up " + cmp.Or(stackName(c), "the disks") + " " + s.does()
	}
	var words []string
	if c.Step.Length > 0 && s.verdict == scenarios.Errno && s.errno == "" {
		words = append(words, fmt.Sprintf("%d-byte", c.Step.Length))
	}
	if c.Scenario != nil && !c.Aligned {
		words = append(words, "misaligned")
	}
	if c.Step.Direct {
		words = append(words, "direct")
	}
	words = append(words, cmp.Or(map[string]string{"pread": "read", "pwrite": "write"}[c.Step.Op], c.Step.Op, "I/O"))
	if name := stackName(c); name != "" {
		words = append(words, "on", name)
	}
	return strings.Join(append(words, s.does()), " ")
}

// does is the symptom as a verb.
func (s symptom) does() string {
	legs := ""
	if s.legs {
		legs = " and marks a leg failed"
	}
	switch s.verdict {
	case scenarios.Errno, scenarios.EIO:
		if s.errno != "" {
			return "returns " + s.errno + legs
		}
		return fmt.Sprintf("returns %d bytes", s.bytes) + legs
	case scenarios.Degraded:
		switch {
		case s.legs:
			return "marks a leg failed"
		case s.title != "":
			return "causes errors (" + s.title + ")"
		}
		return "causes I/O errors"
	case scenarios.Hang:
		return "hangs"
	case scenarios.Corrupt:
		if s.wrong == WrongOverrun {
			return "writes outside of its buffer"
		}
		return "gives wrong data" + legs
	case scenarios.Warn:
		return "triggers " + cmp.Or(s.title, "a kernel warning")
	case scenarios.Bug:
		return "triggers " + cmp.Or(s.title, "a kernel bug")
	}
	return "fails"
}

// stackName is what kernel developers call the uppermost layer that does
// something with the I/O itself; "" for plain disks.
func stackName(c scenarios.Case) string {
	if c.Scenario == nil {
		return ""
	}
	switch st := c.Scenario.Stack; {
	case st.LVM != nil && st.LVM.Type == "mirror":
		return "dm-mirror"
	case st.LVM != nil && st.LVM.Type == "linear":
		return "dm-linear"
	case st.LVM != nil:
		return "dm-raid (LVM " + st.LVM.Type + ")"
	case st.MD != nil:
		return "md " + st.MD.Level
	}
	return ""
}

// describe says what a case does, for readers who do not know its scenario.
func describe(c scenarios.Case) string {
	if c.Scenario == nil {
		return ""
	}
	st, sc := c.Step, c.Scenario
	text := fmt.Sprintf("a %s of %d bytes at offset %d", cmp.Or(st.Op, "step"), st.Length, st.Offset)
	if st.Direct {
		text += " with O_DIRECT"
	}
	switch {
	case st.MemoryOffset != 0:
		text += fmt.Sprintf(" (its buffer %d bytes past a page boundary)", st.MemoryOffset)
	case st.Direct:
		text += " (its buffer on a page boundary)"
	}
	var layers []string
	if sc.Stack.File != nil {
		layers = append(layers, "a file")
	}
	if sc.Stack.Ext4 != nil {
		layers = append(layers, "ext4")
	}
	if l := sc.Stack.LVM; l != nil {
		layers = append(layers, fmt.Sprintf("an LVM %s volume (%s)", l.Type, strings.TrimSuffix(stackName(c), " (LVM "+l.Type+")")))
	}
	if m := sc.Stack.MD; m != nil {
		layers = append(layers, "an md "+m.Level+" array")
	}
	if n := len(sc.Disks); n > 0 {
		bus := cmp.Or(map[string]string{"ahci": "SATA"}[sc.Disks[0].Bus], sc.Disks[0].Bus)
		disks := fmt.Sprintf("%d %s disks", n, bus)
		if n == 1 {
			disks = "one " + bus + " disk"
		}
		layers = append(layers, disks)
	}
	if len(layers) > 0 {
		text += map[bool]string{true: " to ", false: " from "}[st.Op == "pwrite"] + strings.Join(layers, " on ")
	}
	return text
}
