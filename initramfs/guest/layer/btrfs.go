package layer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/scenarios"
)

// Of include/uapi/linux/btrfs.h.
const (
	btrfsFSInfo  = 0x8400941F // BTRFS_IOC_FS_INFO
	btrfsDevInfo = 0xD000941E // BTRFS_IOC_DEV_INFO
	btrfsStats   = 0xC4089434 // BTRFS_IOC_GET_DEV_STATS
)

// btrfsCounters are what a device counts (enum btrfs_dev_stat_values).
var btrfsCounters = [5]string{"write errors", "read errors", "flush errors", "corruptions", "wrong generations"}

// A btrfsDevice is one of a file system's devices.
type btrfsDevice struct {
	name    string // sda
	missing bool
	counts  [5]uint64
}

// health is how the device is: ok, missing, or what it counts.
func (d btrfsDevice) health() (string, bool) {
	if d.missing {
		return "missing", false
	}
	var out []string
	for i, n := range d.counts {
		if n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, btrfsCounters[i]))
		}
	}
	if out == nil {
		return "ok", true
	}
	return strings.Join(out, ", "), false
}

// btrfsDevices asks a mounted btrfs for its devices, and gives its UUID.
func btrfsDevices(mount string) (uuid string, devices []btrfsDevice, err error) {
	dir, err := os.Open(mount)
	if err != nil {
		return "", nil, err
	}
	defer dir.Close()
	var info struct {
		maxID, devices uint64
		uuid           [16]byte
		_              [992]byte
	}
	if err := ioctl(dir, btrfsFSInfo, &info); err != nil {
		return "", nil, fmt.Errorf("ask %s what it is: %w", mount, err)
	}
	u := info.uuid
	uuid = fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
	for id := uint64(1); id <= info.maxID && id <= 64; id++ {
		dev := struct {
			id   uint64
			_    [3064]byte
			path [1024]byte
		}{id: id}
		stats := struct {
			id, items, flags uint64
			values           [5]uint64
			_                [121]uint64
		}{id: id, items: 5}
		err := ioctl(dir, btrfsDevInfo, &dev)
		if errors.Is(err, unix.ENODEV) {
			continue // there is none of that number any more
		}
		if err != nil {
			return "", nil, fmt.Errorf("ask %s for device %d: %w", mount, id, err)
		}
		d := btrfsDevice{name: filepath.Base(unix.ByteSliceToString(dev.path[:]))}
		switch err := ioctl(dir, btrfsStats, &stats); {
		case errors.Is(err, unix.ENODEV):
			d.missing = true
		case err != nil:
			return "", nil, fmt.Errorf("ask %s what device %d counts: %w", mount, id, err)
		}
		d.counts = stats.values
		devices = append(devices, d)
	}
	return uuid, devices, nil
}

// proveBtrfs checks the devices and the profile of a btrfs.
func (f fs) proveBtrfs(p *Part) ([]string, error) {
	uuid, devices, err := btrfsDevices(p.Mount)
	if err != nil {
		return nil, err
	}
	var have, want []string
	for _, d := range devices {
		have = append(have, d.name)
	}
	for _, b := range p.On {
		want = append(want, b.Device.Name)
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		return nil, fmt.Errorf("%s has the devices %s, not %s", p.Mount, strings.Join(have, ", "), strings.Join(want, ", "))
	}
	facts := []string{fmt.Sprintf("%s is a btrfs of %d devices", p.Mount, len(have))}
	if f.Profile == "" {
		return facts, nil
	}
	for _, kind := range []string{"data", "metadata"} {
		if _, err := os.Stat(filepath.Join("/sys/fs/btrfs", uuid, "allocation", kind, f.Profile)); err != nil {
			return nil, fmt.Errorf("the %s of %s has another profile than %s: %w", kind, p.Mount, f.Profile, err)
		}
	}
	return append(facts, fmt.Sprintf("%s keeps data and metadata as %s", p.Mount, f.Profile)), nil
}

// legs are the devices of a btrfs of several: one is well that has counted no
// error.
func (f fs) legs(p *Part) ([]scenarios.Leg, bool, error) {
	if f.Type != "btrfs" || len(p.On) < 2 {
		return nil, true, nil
	}
	if source, _, err := mountedOn(p.Mount); err != nil || source == "" {
		return nil, true, err // an act has unmounted it
	}
	_, devices, err := btrfsDevices(p.Mount)
	if err != nil {
		return nil, false, err
	}
	var legs []scenarios.Leg
	for _, d := range devices {
		health, ok := d.health()
		legs = append(legs, scenarios.Leg{Name: d.name, Health: health, OK: ok})
	}
	return legs, true, nil
}
