package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// diskWait is how long disks may take to appear after their driver is there.
const diskWait = 15 * time.Second

// disk is one of the machine's disks as the guest sees it.
type disk struct {
	protocol.Disk
	blockDevice
}

// blockDevice is a device as sysfs and /dev name it.
type blockDevice struct {
	name  string // sda, dm-3
	devno uint64 // as st_dev
}

func (b blockDevice) node() string { return "/dev/" + b.name }

func (b blockDevice) String() string {
	return fmt.Sprintf("%d:%d", unix.Major(b.devno), unix.Minor(b.devno))
}

func blockDeviceOf(name string) (blockDevice, error) {
	n, err := devnoOf(filepath.Join("/sys/class/block", name, "dev"))
	return blockDevice{name: name, devno: n}, err
}

func devnoOf(file string) (uint64, error) {
	text, err := readText(file)
	if err != nil {
		return 0, err
	}
	return parseDevno(text)
}

func parseDevno(s string) (uint64, error) {
	var major, minor uint32
	if n, err := fmt.Sscanf(s+"\n", "%d:%d\n", &major, &minor); n != 2 || err != nil {
		return 0, fmt.Errorf("%q is no device number", s)
	}
	return unix.Mkdev(major, minor), nil
}

// findDisks waits until every disk asked for is there, told by serial number
// and size.
func (g *guest) findDisks(want []protocol.Disk) ([]disk, error) {
	var out []disk
	var missing []string
	var found map[string]blockDevice
	ok, err := g.until(diskWait, func(time.Duration) (_ bool, err error) {
		if found, err = disksBySerial(); err != nil {
			return false, err
		}
		out, missing = nil, nil
		for _, w := range want {
			if b, ok := found[w.Serial]; ok {
				out = append(out, disk{Disk: w, blockDevice: b})
			} else {
				missing = append(missing, w.ID+" (serial "+w.Serial+")")
			}
		}
		return len(missing) == 0, nil
	})
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, fmt.Errorf("%s not found; disks that are there: %s", strings.Join(missing, ", "), seen(found))
	}
	return out, checkSizes(out)
}

func seen(found map[string]blockDevice) string {
	if len(found) == 0 {
		return "none"
	}
	var out []string
	for serial, b := range found {
		out = append(out, b.name+" (serial "+serial+")")
	}
	return strings.Join(out, ", ")
}

func checkSizes(disks []disk) error {
	for _, d := range disks {
		sectors, err := readInt(filepath.Join("/sys/class/block", d.name, "size"))
		if err != nil {
			return fmt.Errorf("size of disk %s: %w", d.ID, err)
		}
		if sectors*512 != int64(d.Size) {
			return fmt.Errorf("disk %s has %d bytes, and %d were asked for", d.ID, sectors*512, d.Size)
		}
	}
	return nil
}

// readText and readInt read a file of sysfs.
func readText(file string) (string, error) {
	b, err := os.ReadFile(file)
	return strings.TrimSpace(string(b)), err
}

func readInt(file string) (int64, error) {
	text, err := readText(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}

// disksBySerial reads the serial number of every SCSI disk from its unit
// serial number page (SPC-4, 7.8.17), which sysfs shows raw; libata makes it
// from the ATA IDENTIFY data. There is no udev here to make links.
func disksBySerial() (map[string]blockDevice, error) {
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		return nil, fmt.Errorf("list the disks: %w", err)
	}
	out := map[string]blockDevice{}
	for _, e := range entries {
		serial, err := serialOf(e.Name())
		if err != nil || serial == "" {
			continue // no disk of ours: a loop device, or one that is still coming up
		}
		b, err := blockDeviceOf(e.Name())
		if err != nil {
			continue
		}
		if _, err := os.Stat(b.node()); err != nil {
			continue // devtmpfs has not made its node yet
		}
		out[serial] = b
	}
	return out, nil
}

func serialOf(name string) (string, error) {
	page, err := os.ReadFile(filepath.Join("/sys/block", name, "device", "vpd_pg80"))
	if err != nil {
		return "", err
	}
	return serialFromPage(page), nil
}

// serialFromPage takes the serial number out of VPD page 0x80.
func serialFromPage(page []byte) string {
	if len(page) < 4 || page[1] != 0x80 {
		return ""
	}
	n := int(page[2])<<8 | int(page[3])
	return strings.TrimSpace(string(page[4:min(4+n, len(page))]))
}

// require checks what the case would be vacuous without.
func require(r scenarios.Require, disks []disk) error {
	if r.DMAAlignment == nil {
		return nil
	}
	for _, d := range disks {
		file := filepath.Join("/sys/block", d.name, "queue", "dma_alignment")
		got, err := readText(file)
		if os.IsNotExist(err) {
			// Shown since Linux 6.0 (3850e13f2d0f).
			return fmt.Errorf("disk %s: this kernel does not show queue/dma_alignment, so it can't be checked that it is %d", d.ID, *r.DMAAlignment)
		}
		if err != nil {
			return fmt.Errorf("disk %s: %w", d.ID, err)
		}
		if got != strconv.Itoa(*r.DMAAlignment) {
			return fmt.Errorf("disk %s has a dma_alignment of %s, not %d: the case would say nothing", d.ID, got, *r.DMAAlignment)
		}
	}
	return nil
}

// ioCounts are the requests that a disk completed (Documentation/block/stat).
type ioCounts struct{ reads, writes, inFlight int64 }

func (b blockDevice) counts() (ioCounts, error) {
	text, err := readText(filepath.Join("/sys/class/block", b.name, "stat"))
	if err != nil {
		return ioCounts{}, err
	}
	return parseCounts(text)
}

func parseCounts(stat string) (ioCounts, error) {
	f := strings.Fields(stat)
	if len(f) < 9 {
		return ioCounts{}, fmt.Errorf("block stat has %d fields, not 9 or more", len(f))
	}
	var out ioCounts
	for i, p := range map[int]*int64{0: &out.reads, 4: &out.writes, 8: &out.inFlight} {
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return ioCounts{}, fmt.Errorf("block stat field %d: %w", i, err)
		}
		*p = n
	}
	return out, nil
}
