package blktrace

// First gives of each device its first error, in order.
func (r Record) First() []Event {
	var out []Event
	seen := map[uint64]bool{}
	for _, e := range r.Errors {
		if e.Errno != "" && !seen[e.Dev] {
			seen[e.Dev] = true
			out = append(out, e)
		}
	}
	return out
}

// A Spot is a sector of a device.
type Spot struct {
	Dev    uint64
	Sector int64
}

// mostHops bounds a way: no stack is as deep.
const mostHops = 64

// Way follows a sector that was read last from the device that was asked for
// it down to the one that has it. whole gives the device that a partition is
// on, 0 for none.
func Way(flow []Event, from Spot, whole func(uint64) uint64) []Spot {
	way := []Spot{from}
	// A way goes down in the order in which it was gone: what is below was
	// asked after what is above.
	for len(way) < mostHops {
		next, ok := hop(flow, from, whole)
		if !ok {
			return way
		}
		way = append(way, next)
		from = next
	}
	return way
}

// hop finds where the last read of a sector went to.
func hop(flow []Event, from Spot, whole func(uint64) uint64) (Spot, bool) {
	for i := len(flow) - 1; i >= 0; i-- {
		e := flow[i]
		if e.Kind != Remapped || e.Op != "read" || e.From != from.Dev || from.Sector < e.FromAt || from.Sector >= e.FromAt+e.Sectors {
			continue
		}
		to := Spot{e.Dev, e.Sector + from.Sector - e.FromAt}
		if e.Dev == e.From { // a partition's bios keep its number
			if to.Dev = whole(e.Dev); to.Dev == 0 {
				return Spot{}, false
			}
		}
		return to, true
	}
	return Spot{}, false
}
