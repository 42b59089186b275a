package layer

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Device is a block device as sysfs and /dev name it.
type Device struct {
	Name string // sda, dm-3; "" for none
	No   uint64 // as st_dev
}

// Node is its path.
func (d Device) Node() string { return "/dev/" + d.Name }

// Sys is its folder in sysfs, which a partition has too.
func (d Device) Sys() string { return filepath.Join("/sys/class/block", d.Name) }

func (d Device) String() string {
	return fmt.Sprintf("%d:%d", unix.Major(d.No), unix.Minor(d.No))
}

// Bytes is its size.
func (d Device) Bytes() (int64, error) {
	sectors, err := readInt(filepath.Join(d.Sys(), "size"))
	return sectors * 512, err
}

// DeviceOf finds a device by its name.
func DeviceOf(name string) (Device, error) {
	text, err := ReadText(filepath.Join("/sys/class/block", name, "dev"))
	if err != nil {
		return Device{}, err
	}
	n, err := parseDevno(text)
	return Device{Name: name, No: n}, err
}

// deviceAt finds a device by its number.
func deviceAt(devno uint64) (Device, error) {
	path, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(devno), unix.Minor(devno)))
	return Device{Name: filepath.Base(path), No: devno}, err
}

func parseDevno(s string) (uint64, error) {
	var major, minor uint32
	if n, err := fmt.Sscanf(s+"\n", "%d:%d\n", &major, &minor); n != 2 || err != nil {
		return 0, fmt.Errorf("%q is no device number", s)
	}
	return unix.Mkdev(major, minor), nil
}

// ReadText reads a file of sysfs or procfs.
func ReadText(file string) (string, error) {
	b, err := os.ReadFile(file)
	return strings.TrimSpace(string(b)), err
}

func readInt(file string) (int64, error) {
	text, err := ReadText(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}

// queueFacts are the files of a device's folder queue that decide what becomes of
// a request (Documentation/ABI/stable/sysfs-block).
var queueFacts = []string{
	"logical_block_size", "physical_block_size", "dma_alignment", "max_sectors_kb", "max_segments", "nr_requests",
	"scheduler", "write_cache", "fua", "rotational", "discard_max_bytes", "write_zeroes_max_bytes", "zoned",
}

// Queues says of each disk and layer with a device what its queue is like. What
// this kernel does not show is left out.
func (s *Stack) Queues() []string {
	var out []string
	for _, p := range s.Parts {
		if p.Device.Name == "" || p.Mount != "" {
			continue
		}
		var facts []string
		for _, name := range queueFacts {
			if text, err := ReadText(filepath.Join("/sys/class/block", p.Device.Name, "queue", name)); err == nil {
				facts = append(facts, name+" "+chosen(text))
			}
		}
		if facts == nil {
			continue // a partition has none of its own
		}
		out = append(out, fmt.Sprintf("queue of %s (%s): %s", p.Name, p.Device.Name, strings.Join(facts, ", ")))
	}
	return out
}

// Counts are the requests that a device completed
// (Documentation/block/stat.rst).
type Counts struct{ Reads, Writes, Others, InFlight int64 }

// Counts reads them.
func (d Device) Counts() (Counts, error) {
	text, err := ReadText(filepath.Join(d.Sys(), "stat"))
	if err != nil {
		return Counts{}, err
	}
	return parseCounts(text)
}

// parseCounts reads a line of stat. Kernels before 5.5 do not count discards
// and flushes in it.
func parseCounts(stat string) (Counts, error) {
	f := strings.Fields(stat)
	if len(f) < 9 {
		return Counts{}, fmt.Errorf("block stat has %d fields, not 9 or more", len(f))
	}
	var out Counts
	for i, p := range map[int]*int64{0: &out.Reads, 4: &out.Writes, 8: &out.InFlight, 11: new(int64), 15: new(int64)} {
		if i >= len(f) {
			continue
		}
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return Counts{}, fmt.Errorf("block stat field %d: %w", i, err)
		}
		if *p = n; i > 8 {
			out.Others += n
		}
	}
	return out, nil
}
