package layer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// FindDisks finds every disk by its serial number. There is no udev here
// to make links.
func FindDisks() (map[string]Device, error) {
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		return nil, fmt.Errorf("list the disks: %w", err)
	}
	out := map[string]Device{}
	for _, e := range entries {
		serial := serialOf(filepath.Join("/sys/block", e.Name()))
		if serial == "" {
			continue // no disk of ours: a loop device, or one that is still coming up
		}
		d, err := DeviceOf(e.Name())
		if err != nil {
			continue
		}
		if _, err := os.Stat(d.Node()); err != nil {
			continue // devtmpfs has not made its node yet
		}
		out[serial] = d
	}
	return out, nil
}

// serialOf reads a disk's serial number, "" where it shows none: that of a SCSI
// disk from its unit serial number page (SPC-4, 7.8.17), which sysfs shows raw
// and libata makes from the ATA IDENTIFY data; that of a virtio disk; that of
// the controller of an NVMe namespace.
func serialOf(dir string) string {
	if page, err := os.ReadFile(filepath.Join(dir, "device/vpd_pg80")); err == nil {
		return serialFromPage(page)
	}
	for _, file := range []string{"serial", "device/serial"} {
		if s, err := ReadText(filepath.Join(dir, file)); err == nil && s != "" {
			return s
		}
	}
	return ""
}

// serialFromPage takes the serial number out of VPD page 0x80.
func serialFromPage(page []byte) string {
	if len(page) < 4 || page[1] != 0x80 {
		return ""
	}
	n := int(page[2])<<8 | int(page[3])
	return strings.TrimSpace(string(page[4:min(4+n, len(page))]))
}
