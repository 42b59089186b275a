package bisect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// headline says in a few words what a case does and what comes of it, as a
// person would in a subject: "8192-byte direct read on dm-mirror returns 4096
// bytes".
func headline(c scenarios.Case, s symptom) string {
	if s.setup {
		return "setting up " + cmp.Or(stackName(c), "the disks") + " " + s.does()
	}
	st, io := stepOf(c, s.step, s.nth), scenarios.IO{}
	if st.IO != nil {
		io = *st.IO
	}
	var words []string
	if io.Length > 0 && s.verdict == scenarios.Errno && s.errno == "" {
		words = append(words, fmt.Sprintf("%d-byte", io.Length))
	}
	if st.IO != nil && !io.Aligned(c.Setup.Require.Alignment()) {
		words = append(words, "misaligned")
	}
	if io.Direct {
		words = append(words, "direct")
	}
	words = append(words, cmp.Or(map[string]string{"pread": "read", "pwrite": "write"}[st.Op()], st.Op(), "I/O"))
	if name := stackName(c); name != "" {
		words = append(words, "on", name)
	}
	return strings.Join(append(words, s.does()), " ")
}

// stepOf is the nth step of that name, or else the last one.
func stepOf(c scenarios.Case, name string, nth int) scenarios.Step {
	for _, st := range c.Steps {
		if st.Op() == name {
			if nth--; nth <= 0 {
				return st
			}
		}
	}
	if n := len(c.Steps); n > 0 {
		return c.Steps[n-1]
	}
	return scenarios.Step{}
}

// does is the symptom as a verb.
func (s symptom) does() string {
	legs := ""
	if s.legs {
		legs = " and marks a leg failed"
	}
	switch s.verdict {
	case scenarios.Errno, scenarios.EIO:
		if s.wrong == WrongCheck {
			return "ends otherwise than it should" + legs
		}
		if s.errno != "" {
			return "returns " + s.errno + legs
		}
		return "returns " + text.Count(s.bytes, "byte") + legs
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
		if s.wrong == WrongCheck {
			return "finds wrong data" + legs
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
	for _, l := range slices.Backward(c.Setup.Stack) {
		switch {
		case l.FS != nil, l.File != nil, l.Partition != nil:
		case l.LVM != nil:
			name := targetOf(l.LVM)
			if name == "dm-raid" {
				name += " (LVM " + l.LVM.Type + ")"
			}
			return name
		case l.MD != nil:
			return "md " + l.MD.Level
		case l.Crypt != nil:
			return "dm-crypt"
		default:
			return strings.Replace(l.Kind(), "_", "-", 1)
		}
	}
	return ""
}

// targetOf is the device-mapper target that LVM makes a volume of.
func targetOf(v *scenarios.LVM) string {
	switch {
	case strings.HasPrefix(v.Type, "raid"):
		return "dm-raid"
	case v.Type == "striped":
		return "dm-stripe"
	}
	return "dm-" + v.Type
}

// describe says what a case does, for readers who do not know its scenario.
func describe(c scenarios.Case, step string, nth int) string {
	if c.Scenario == nil {
		return ""
	}
	st := stepOf(c, step, nth)
	line, joint := "the step "+st.Op(), " on "
	if io := st.IO; io != nil {
		line = fmt.Sprintf("a %s of %s at offset %d", io.Op, text.Count(io.Length, "byte"), io.Offset)
		if io.Direct {
			line += " with O_DIRECT"
		}
		switch {
		case io.MemoryOffset != 0:
			line += fmt.Sprintf(" (its buffer %s past a page boundary)", text.Count(io.MemoryOffset, "byte"))
		case io.Direct:
			line += " (its buffer on a page boundary)"
		}
		switch {
		case io.Reads():
			joint = " from "
		case io.Writes():
			joint = " to "
		}
	}
	var layers []string
	for _, l := range slices.Backward(c.Setup.Stack) {
		layers = append(layers, layerName(l))
	}
	if n := len(c.Setup.Disks); n > 0 {
		bus := cmp.Or(map[string]string{"ahci": "SATA", "nvme": "NVMe"}[c.Setup.Disks[0].Bus], c.Setup.Disks[0].Bus)
		disks := fmt.Sprintf("%d %s disks", n, bus)
		if n == 1 {
			disks = "one " + bus + " disk"
		}
		layers = append(layers, disks)
	}
	if len(layers) > 0 {
		line += joint + strings.Join(layers, " on ")
	}
	return line
}

// layerName is a layer in words.
func layerName(l scenarios.Layer) string {
	switch {
	case l.File != nil:
		return "a file"
	case l.FS != nil:
		return l.FS.Type
	case l.LVM != nil:
		return fmt.Sprintf("an LVM %s volume (%s)", l.LVM.Type, targetOf(l.LVM))
	case l.MD != nil:
		return "an md " + l.MD.Level + " array"
	}
	return "a " + strings.ReplaceAll(l.Kind(), "_", "-") + " device"
}
