package layer

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// A mirrored kind keeps the same on several devices.
type mirrored interface {
	copies(p *Part) (devices []Device, offsets []int64, length int64, err error)
}

// Copies are the places on devices where a mirrored layer keeps the same: those
// that are healthy.
func (s *Stack) Copies(name string) (paths []string, offsets []int64, length int64, err error) {
	p, err := s.Part(name)
	if err != nil {
		return nil, nil, 0, err
	}
	k, ok := p.kind.(mirrored)
	if !ok {
		return nil, nil, 0, fmt.Errorf("%w: %s keeps no copies that could be compared", ErrCannot, name)
	}
	devices, offsets, length, err := k.copies(p)
	if err == nil && len(devices) < 2 {
		err = fmt.Errorf("%s has %d healthy legs: there is nothing to compare", name, len(devices))
	}
	for _, d := range devices {
		paths = append(paths, d.Node())
	}
	return paths, offsets, length, err
}

func (m md) copies(p *Part) (devices []Device, offsets []int64, length int64, err error) {
	if m.Level != "raid1" {
		return nil, nil, 0, fmt.Errorf("%w: an array of level %s keeps no equal copies; its check compares them (act: check)", ErrCannot, m.Level)
	}
	legs, _, err := m.legs(p)
	if err != nil {
		return nil, nil, 0, err
	}
	if length, err = p.Bytes(); err != nil {
		return nil, nil, 0, err
	}
	for _, l := range legs {
		dir := filepath.Join("/sys/block", p.Device.Name, "md", "dev-"+l.Name)
		if slot, err := ReadText(filepath.Join(dir, "slot")); !l.OK || err != nil || slot == "none" {
			continue
		}
		sectors, err := readInt(filepath.Join(dir, "offset"))
		if err != nil {
			return nil, nil, 0, err
		}
		d, err := DeviceOf(l.Name)
		if err != nil {
			return nil, nil, 0, err
		}
		devices, offsets = append(devices, d), append(offsets, sectors*512)
	}
	return devices, offsets, length, nil
}

func (d dm) copies(p *Part) ([]Device, []int64, int64, error) { return dmCopies(p) }

func (v lvm) copies(p *Part) ([]Device, []int64, int64, error) { return dmCopies(p) }

// dmCopies are the legs of what is a dm mirror or raid1 now.
func dmCopies(p *Part) (devices []Device, offsets []int64, length int64, err error) {
	table, err := p.target()
	if err != nil {
		return nil, nil, 0, err
	}
	if raid := strings.Fields(table.params); table.kind != "mirror" && !(table.kind == "raid" && len(raid) > 0 && raid[0] == "raid1") {
		return nil, nil, 0, fmt.Errorf("%w: %s keeps no equal copies: its table is %s", ErrCannot, p.Name, table)
	}
	status, err := dmTargets(p.Device.No, false)
	if err != nil {
		return nil, nil, 0, err
	}
	if len(status) != 1 {
		return nil, nil, 0, fmt.Errorf("its table has %d targets, not one", len(status))
	}
	legs, _, err := parseLegs(status[0])
	if err != nil {
		return nil, nil, 0, err
	}
	for _, l := range legs {
		if !l.OK {
			continue
		}
		d, err := p.legDevice(l.Name)
		if err != nil {
			return nil, nil, 0, err
		}
		offset := int64(0)
		if table.kind == "mirror" {
			if offset, err = mirrorOffset(table, l); err != nil {
				return nil, nil, 0, err
			}
		}
		devices, offsets = append(devices, d), append(offsets, offset*512)
	}
	return devices, offsets, int64(table.length) * 512, nil
}

// mirrorOffset is where a leg of a mirror begins on its device, in sectors.
func mirrorOffset(t dmTarget, l scenarios.Leg) (int64, error) {
	f := strings.Fields(t.params)
	if i := slices.Index(f, l.Name); i >= 0 && i+1 < len(f) {
		return strconv.ParseInt(f[i+1], 10, 64)
	}
	return 0, fmt.Errorf("leg %s is not in the table %q", l.Name, t)
}
