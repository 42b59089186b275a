package layer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// parseLegs reads the status of a mirror (dm-raid1.c, mirror_status) or of a
// raid target (dm-raid.rst):
//
//	mirror: 2 253:1 253:2 128/128 1 AA 3 disk 253:0 A
//	raid:   raid1 2 AA 131072/131072 idle 0 0 -
func parseLegs(t dmTarget) ([]scenarios.Leg, bool, error) {
	f := strings.Fields(t.params)
	bad := fmt.Errorf("status of a %s target not understood: %q", t.kind, t.params)
	switch t.kind {
	case "mirror":
		if len(f) < 1 {
			return nil, false, bad
		}
		var n int
		if _, err := fmt.Sscan(f[0], &n); err != nil || n < 1 || len(f) < n+4 || len(f[n+3]) != n {
			return nil, false, bad
		}
		var legs []scenarios.Leg
		for i := range n {
			h := f[n+3][i]
			legs = append(legs, scenarios.Leg{Name: f[1+i], Health: string(h), OK: h == 'A'})
		}
		return legs, complete(f[n+1]), nil
	case "raid":
		if len(f) < 5 {
			return nil, false, bad
		}
		var legs []scenarios.Leg
		for i, h := range f[2] {
			// 'a': in sync but the array is not yet; 'A': in sync.
			legs = append(legs, scenarios.Leg{Name: fmt.Sprintf("rimage_%d", i), Health: string(h), OK: h == 'A' || h == 'a'})
		}
		return legs, complete(f[3]) && f[4] == "idle" && !strings.Contains(f[2], "a"), nil
	default:
		return nil, false, errors.New("a " + t.kind + " target has no legs")
	}
}

// complete says whether "N/M" has N equal to M.
func complete(ratio string) bool {
	a, b, ok := strings.Cut(ratio, "/")
	return ok && a == b
}

// Stopped says that an act has stopped the part: nothing of it can be looked at.
func (p *Part) Stopped() bool { return p.stopped }

// diskUnder follows a leg down to a disk; "" where it lies on several.
func (s *Stack) diskUnder(p *Part, leg string) string {
	d, err := p.legDevice(leg)
	if err != nil {
		return ""
	}
	names, err := p.reach(d)
	if err != nil || len(names) != 1 {
		return ""
	}
	below, err := s.Part(names[0])
	if err != nil {
		return ""
	}
	if ids := s.Disks(below); len(ids) == 1 {
		return ids[0]
	}
	return ""
}

// legDevice is the device of a leg: by number, as a mirror names it; by the
// place of a raid volume's image; by name.
func (p *Part) legDevice(leg string) (Device, error) {
	if devno, err := parseDevno(leg); err == nil {
		return deviceAt(devno)
	}
	if strings.HasPrefix(leg, "rimage_") {
		name, err := ReadText(p.Sys() + "/dm/name")
		if err != nil {
			return Device{}, err
		}
		return dmByName(name + "_" + leg)
	}
	return DeviceOf(leg)
}
