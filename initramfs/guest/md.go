package guest

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// md makes one array over all disks.
func (g *guest) md(m scenarios.MD) error {
	args := []string{
		"--create", "/dev/" + mdName, "--run", "--metadata=1.2", "--bitmap=none",
		"--level=" + m.Level, fmt.Sprintf("--raid-devices=%d", len(g.disks)),
	}
	for _, d := range g.disks {
		args = append(args, d.node())
	}
	if _, err := g.tool("mdadm", args...); err != nil {
		return err
	}
	top, err := blockDeviceOf(mdName)
	if err != nil {
		return g.wrap("find "+mdName, err)
	}
	g.top = top
	return nil
}

// mdLegs reads the members of an array (Documentation/admin-guide/md.rst).
func mdLegs(b blockDevice, disks []disk) ([]scenarios.Leg, bool, error) {
	dir := filepath.Join("/sys/block", b.name, "md")
	members, err := filepath.Glob(filepath.Join(dir, "dev-*"))
	if err != nil {
		return nil, false, err
	}
	var legs []scenarios.Leg
	for _, m := range members {
		state, err := readText(filepath.Join(m, "state"))
		if err != nil {
			return nil, false, fmt.Errorf("state of a member: %w", err)
		}
		name := strings.TrimPrefix(filepath.Base(m), "dev-")
		leg := scenarios.Leg{Name: name, Health: state}
		flags := strings.Split(leg.Health, ",")
		leg.OK = slices.Contains(flags, "in_sync") &&
			!slices.ContainsFunc(flags, func(f string) bool { return f == "faulty" || f == "blocked" || f == "spare" })
		for _, d := range disks {
			if d.name == name {
				leg.Disk = d.ID
			}
		}
		legs = append(legs, leg)
	}
	action, err := readText(filepath.Join(dir, "sync_action"))
	if err != nil {
		return nil, false, err
	}
	degraded, err := readText(filepath.Join(dir, "degraded"))
	if err != nil {
		return nil, false, err
	}
	for _, d := range disks {
		// A kicked member disappears from sysfs once it is removed.
		if !slices.ContainsFunc(legs, func(l scenarios.Leg) bool { return l.Disk == d.ID }) {
			legs = append(legs, scenarios.Leg{Name: d.name, Disk: d.ID, Health: "removed"})
		}
	}
	if len(legs) == 0 {
		return nil, false, errors.New("the array has no members")
	}
	return legs, action == "idle" && degraded == "0", nil
}
