package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// Names of what the guest builds; those of the report.
const (
	vgName     = "main"
	lvName     = "lvol0"
	lvPath     = vgName + "/" + lvName
	mdName     = "md0"
	mountPoint = "/mnt/tmp"
	fileName   = "testfile"
)

// lvm makes one logical volume over all disks.
func (g *guest) lvm(v scenarios.LVM) error {
	config := lvmConfig(v.Dmeventd)
	var nodes []string
	for _, d := range g.disks {
		nodes = append(nodes, d.node())
	}
	run := func(command string, args ...string) error {
		_, err := g.tool("lvm", append([]string{command, "--config", config}, args...)...)
		return err
	}
	// vgcreate does what pvcreate does as well (vgcreate(8)); a start of lvm
	// takes half a second under emulation.
	if err := run("vgcreate", append([]string{"-q", "--", vgName}, nodes...)...); err != nil {
		return err
	}
	args := []string{"-q", "--yes", "--wipesignatures", "n", "--type", v.Type, "-L", fmt.Sprintf("%db", int64(v.Size)), "-n", lvName}
	switch v.Type {
	case "mirror":
		args = append(args, "--mirrors", "1", "--mirrorlog", v.Log)
	case "raid1":
		args = append(args, "--mirrors", "1")
	}
	switch {
	case v.Type == "linear":
	case v.Dmeventd:
		args = append(args, "--monitor", "y")
	default:
		// Not "--monitor n": that gives a mirror without handle_errors, as
		// nobody would see to the errors.
		args = append(args, "--ignoremonitoring")
	}
	if err := run("lvcreate", append(args, "--", vgName)...); err != nil {
		return err
	}
	top, err := dmByName(vgName + "-" + lvName)
	if err != nil {
		return g.wrap("find "+lvPath, err)
	}
	g.top = top
	if !v.Dmeventd {
		return nil
	}
	out, err := g.tool("lvm", "lvs", "--config", config, "--noheadings", "-o", "seg_monitor", lvPath)
	if err != nil {
		return err
	}
	if !strings.Contains(out, "monitored") || strings.Contains(out, "not monitored") {
		return g.wrap("check that dmeventd monitors "+lvPath, fmt.Errorf("lvs says %q", strings.TrimSpace(out)))
	}
	return nil
}

// lvmConfig is what an initramfs needs: there is no udev to make nodes or to
// wait for, and no second start that metadata copies would serve.
func lvmConfig(monitor bool) string {
	m := 0
	if monitor {
		m = 1
	}
	return fmt.Sprintf("activation{udev_sync=0 udev_rules=0 verify_udev_operations=0 monitoring=%d} backup{backup=0 archive=0} global{use_lvmpolld=0 event_activation=0} devices{use_devicesfile=0 obtain_device_list_from_udev=0 external_device_info_source=\"none\"}", m)
}

// dmByName finds a device-mapper device by its name and makes sure that
// /dev/dm-N, which devtmpfs makes, is there.
func dmByName(name string) (blockDevice, error) {
	names, err := filepath.Glob("/sys/block/dm-*/dm/name")
	if err != nil {
		return blockDevice{}, err
	}
	for _, file := range names {
		b, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(b)) != name {
			continue
		}
		dev, err := blockDeviceOf(filepath.Base(filepath.Dir(filepath.Dir(file))))
		if err != nil {
			return blockDevice{}, err
		}
		_, err = os.Stat(dev.node())
		return dev, err
	}
	return blockDevice{}, fmt.Errorf("no device-mapper device is named %s", name)
}
