package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/scenarios"
)

// A polling watches over I/O that must be polled for, and that may silently not
// be: a layer or driver that can't poll drops the wish. What proves it is that
// the disks raised no interrupts, or that the first request stayed under way
// for as long as nobody polled.
type polling struct {
	disks []polledDisk
	way   []string // folders in sysfs of all devices, from the top down
	first bool     // the first request was given to the kernel
	held  bool     // and stayed under way
	began int64    // interrupts until then
}

// A polledDisk is a device at the bottom of a stack.
type polledDisk struct {
	name string
	sys  string   // its folder in sysfs
	irqs []string // files that count its interrupts, for each CPU; nil: not known
}

// unpolledWait is how long the first request is left alone: one that ends by an
// interrupt has ended then.
const unpolledWait = 20 * time.Millisecond

// newPolling looks for the disks under files.
func newPolling(files []*file) (*polling, error) {
	p := &polling{}
	for _, f := range files {
		var st unix.Stat_t
		if err := unix.Fstat(f.fd, &st); err != nil {
			return nil, err
		}
		dev := st.Dev
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			dev = st.Rdev
		}
		if err := p.look(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev))); err != nil {
			return nil, fmt.Errorf("find the disks that are to be polled: %w", err)
		}
	}
	return p, nil
}

// look adds the disks under a device.
func (p *polling) look(sys string) error {
	sys, err := filepath.EvalSymlinks(sys)
	if err != nil {
		return err
	}
	if _, err := os.Stat(sys + "/partition"); err == nil {
		return p.look(filepath.Dir(sys))
	}
	p.way = append(p.way, sys)
	below, err := filepath.Glob(sys + "/slaves/*")
	if err != nil {
		return err
	}
	for _, b := range below {
		if err := p.look(b); err != nil {
			return err
		}
	}
	name := filepath.Base(sys)
	if len(below) > 0 || slices.ContainsFunc(p.disks, func(d polledDisk) bool { return d.name == name }) {
		return nil
	}
	p.disks = append(p.disks, polledDisk{name, sys, interruptsOf(sys)})
	return nil
}

// interruptsOf are the files that count the interrupts of the PCI device behind
// a disk.
func interruptsOf(sys string) []string {
	for dir := sys; strings.HasPrefix(dir, "/sys/devices/"); dir = filepath.Dir(dir) {
		list, err := filepath.Glob(dir + "/msi_irqs/*")
		if err != nil || len(list) == 0 {
			continue
		}
		for i, irq := range list {
			list[i] = "/sys/kernel/irq/" + filepath.Base(irq) + "/per_cpu_count"
		}
		return list
	}
	return nil
}

// interrupts is how many the disks have raised by now; -1 where that is not
// known.
func (p *polling) interrupts() int64 {
	sum := int64(0)
	for _, d := range p.disks {
		if d.irqs == nil {
			return -1
		}
		for _, file := range d.irqs {
			b, err := os.ReadFile(file)
			if err != nil {
				return -1
			}
			for _, n := range strings.Split(strings.TrimSpace(string(b)), ",") {
				k, err := strconv.ParseInt(n, 10, 64)
				if err != nil {
					return -1
				}
				sum += k
			}
		}
	}
	return sum
}

// before is called before I/O is given to the kernel.
func (p *polling) before() {
	if p != nil && !p.first {
		p.began = p.interrupts()
	}
}

// after is called after I/O was given to the kernel, when nobody has polled
// since.
func (p *polling) after() {
	if p == nil || p.first {
		return
	}
	p.first = true
	time.Sleep(unpolledWait)
	p.held = slices.ContainsFunc(p.disks, func(d polledDisk) bool {
		b, err := os.ReadFile(d.sys + "/inflight")
		return err == nil && strings.Trim(string(b), " 0\n") != ""
	})
}

// noPolling is EOPNOTSUPP, as ErrnoName calls it.
var noPolling = ErrnoName(unix.EOPNOTSUPP)

// proof says what proves that completions were polled for. Where nothing does,
// the step says nothing, which is an error.
func (p *polling) proof(expect scenarios.Expect, errno string) (string, error) {
	if p == nil {
		return "", nil
	}
	var names []string
	for _, d := range p.disks {
		names = append(names, d.name)
	}
	for _, sys := range p.way {
		b, err := os.ReadFile(sys + "/queue/io_poll")
		if err != nil {
			return "", err
		}
		if strings.TrimSpace(string(b)) != "1" {
			// Newer kernels say so, and a scenario may expect it.
			if errno == noPolling && (slices.Contains(expect.Aligned, noPolling) || slices.Contains(expect.Misaligned, noPolling)) {
				return "", nil
			}
			return "", fmt.Errorf("%s can't be polled (queue/io_poll is 0), so this I/O was not; polled I/O takes disks of bus nvme, or null_blk devices, with poll_queues: 1, and layers over them that hand it on, as linear ones of device-mapper", filepath.Base(sys))
		}
	}
	on := strings.Join(names, ", ")
	now := p.interrupts()
	switch {
	case errno != "":
		return "", nil // what refused it need not have come as far
	case now >= 0 && now == p.began:
		return "no interrupts of " + on, nil
	case p.held:
		return "nothing ended before it was polled for on " + on, nil
	case now >= 0:
		return "", fmt.Errorf("the I/O was not polled: %d interrupts of %s ended it, so a layer on the way does not hand it on as polled; poll the disk itself", now-p.began, on)
	}
	return "", errors.New("the I/O was not polled: it ended on " + on + " before anybody polled, so a layer on the way does not hand it on as polled; poll the disk itself")
}
