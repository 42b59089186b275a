package guest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// legs gives the health of the legs of the volume, and whether they are in
// sync. A stack without redundancy has none.
func (g *guest) legs() ([]scenarios.Leg, bool, error) {
	switch s := g.setup.Stack; {
	case s.MD != nil:
		return mdLegs(g.top, g.disks)
	case s.LVM != nil && s.LVM.Type != "linear":
		status, err := dmTargets(g.top.devno, false)
		if err != nil {
			return nil, false, err
		}
		if len(status) != 1 {
			return nil, false, fmt.Errorf("the volume has %d targets, not one", len(status))
		}
		legs, inSync, err := parseLegs(status[0])
		if err != nil {
			return nil, false, err
		}
		for i := range legs {
			if i < len(g.disks) && legs[i].Disk == "" {
				legs[i].Disk = g.diskUnder(legs[i].Name, i)
			}
		}
		return legs, inSync, nil
	default:
		return nil, true, nil
	}
}

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

// diskUnder follows a leg's table down to a disk of ours.
func (g *guest) diskUnder(name string, fallback int) string {
	devno, err := parseDevno(name)
	if err != nil {
		return g.disks[fallback].ID
	}
	ids, err := g.disksUnder(devno)
	if err != nil || len(ids) != 1 {
		return ""
	}
	return ids[0]
}
