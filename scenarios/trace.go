package scenarios

import (
	"fmt"
	"strings"
)

// A Trace is what the block layer did in a step: who answered first with an
// error, and who has wrong bytes.
type Trace struct {
	// Failed are the devices that answered with an error, each by its first
	// one, in the order in which they did.
	Failed []Answer `json:"failed,omitempty"`
	// Wrong is the way of the first wrong byte through the stack, from the top
	// down, with what each device has there.
	Wrong  []Holding `json:"wrong,omitempty"`
	Asked  int       `json:"asked"`            // requests to any device that were seen: the last of them where there were very many
	Lost   int64     `json:"lost,omitempty"`   // later errors for which there was no room
	Unseen []string  `json:"unseen,omitempty"` // what this kernel has no event for
	Error  string    `json:"error,omitempty"`  // why there is no trace
}

// An Answer is an error of a device.
type Answer struct {
	Layer  string `json:"layer"`  // of the scenario, or its disk; "" for a device of none
	Device string `json:"device"` // as the kernel or device-mapper calls it: sda, main-lvol0_mimage_0
	Op     string `json:"op"`     // read, write, flush, discard, zeroes, other
	Errno  string `json:"errno"`
	Sector int64  `json:"sector"` // of 512 bytes, on the device
	US     int64  `json:"us"`     // since the first answer, microseconds
}

// A Holding is what a device has at a place.
type Holding struct {
	Layer  string `json:"layer"`
	Device string `json:"device"`
	Sector int64  `json:"sector"`
	Holds  string `json:"holds"` // right, stale, other-place, torn, zero, garbage; "" where it can't be compared
}

// HoldsRight is said of bytes that may stand where they do.
const HoldsRight = "right"

// who names a device to people: by its layer, and by its own name where that is
// another.
func who(layer, device string) string {
	if layer == "" || layer == device {
		return device
	}
	return layer + " (" + device + ")"
}

// First says in a line who failed first.
func (t Trace) First() string {
	switch {
	case t.Error != "":
		return "not known: " + t.Error
	case len(t.Wrong) > 0:
		return t.firstWrong()
	case len(t.Failed) > 0:
		a := t.Failed[0]
		text := fmt.Sprintf("%s: %s at sector %d", who(a.Layer, a.Device), a.Errno, a.Sector)
		return text + then(t.Failed[1:], func(a Answer) string { return who(a.Layer, a.Device) })
	case len(t.Unseen) > 0:
		return "not known: no device answered with an error that was seen, and this kernel does not show " + strings.Join(t.Unseen, ", or ")
	case t.Asked == 0:
		return "nobody: no device was asked"
	}
	return "nobody: no device answered with an error"
}

// firstWrong is First for wrong bytes. What is wrong below is wrong above, so
// the lowest device that has them is the first.
func (t Trace) firstWrong() string {
	low := -1
	for i, h := range t.Wrong {
		if h.Holds != "" && h.Holds != HoldsRight {
			low = i
		}
	}
	if low < 0 {
		return "nobody: all devices have the right bytes now"
	}
	h := t.Wrong[low]
	text := fmt.Sprintf("%s: %s at sector %d", who(h.Layer, h.Device), h.Holds, h.Sector)
	if low+1 < len(t.Wrong) {
		below := t.Wrong[low+1]
		has := "can't be compared"
		if below.Holds == HoldsRight {
			has = "is right"
		}
		text += fmt.Sprintf(", where what %s has at sector %d %s", who(below.Layer, below.Device), below.Sector, has)
	}
	var above []Holding
	for i := low - 1; i >= 0; i-- {
		above = append(above, t.Wrong[i])
	}
	return text + then(above, func(h Holding) string { return who(h.Layer, h.Device) })
}

// then lists who followed.
func then[T any](list []T, name func(T) string) string {
	const most = 4
	var b strings.Builder
	for i, v := range list {
		if i == most {
			fmt.Fprintf(&b, ", and %d more", len(list)-most)
			break
		}
		b.WriteString(", then " + name(v))
	}
	return b.String()
}
