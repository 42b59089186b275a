package layer

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/blockrig/blockrig/scenarios"
)

var _ = register("lvm", func(l scenarios.Layer) kind { return lvm{l.LVM} })

// lvName is the volume's in its group, which has the layer's name.
const lvName = "lvol0"

// lvm is one logical volume in a group over all that the layer lies on.
type lvm struct{ *scenarios.LVM }

// monitored says whether dmeventd could watch the volume, so that a command
// has to say whether it is to.
func (v lvm) monitored() bool {
	switch v.Type {
	case "linear", "striped", "raid0", "writecache":
		return false
	}
	return true
}

func (v lvm) build(h Host, p *Part) error {
	config := lvmConfig(v.Dmeventd)
	run := func(command string, args ...string) error {
		_, err := h.Tool("lvm", append([]string{command, "--config", config}, args...)...)
		return err
	}
	// vgcreate does what pvcreate does as well (vgcreate(8)); a start of lvm
	// takes half a second under emulation.
	if err := run("vgcreate", append([]string{"-q", "--", p.Name}, p.nodes()...)...); err != nil {
		return err
	}
	create := func(kind, name string, size scenarios.Bytes, args ...string) error {
		all := append([]string{"-q", "--yes", "--wipesignatures", "n", "--type", kind, "-L", fmt.Sprintf("%db", int64(size)), "-n", name}, args...)
		return run("lvcreate", append(all, "--", p.Name)...)
	}
	var monitor []string
	switch {
	case !v.monitored():
	case v.Dmeventd:
		monitor = []string{"--monitor", "y"}
	default:
		// Not "--monitor n": that gives a mirror without handle_errors, as
		// nobody would see to the errors.
		monitor = []string{"--ignoremonitoring"}
	}
	extra := v.Extra
	if extra == 0 {
		extra = v.Size
	}
	chunk := func(option string) []string {
		if v.Chunk == 0 {
			return nil
		}
		return []string{option, fmt.Sprintf("%db", int64(v.Chunk))}
	}
	path := p.Name + "/" + lvName
	var err error
	switch v.Type {
	case "thin":
		args := []string{"-q", "--yes", "--type", "thin", "-V", fmt.Sprintf("%db", int64(v.Size)), "-L", fmt.Sprintf("%db", int64(extra)), "--thinpool", "pool", "-n", lvName}
		err = run("lvcreate", slices.Concat(args, chunk("--chunksize"), monitor, v.Args, []string{"--", p.Name})...)
	case "vdo":
		// LVM runs it by a path of Debian's.
		format, no := exec.LookPath("vdoformat")
		if no != nil {
			return fmt.Errorf("a VDO volume needs vdoformat: %w", no)
		}
		config += fmt.Sprintf(" global/vdo_format_executable=%q", format)
		args := []string{"-q", "--yes", "--type", "vdo", "-V", fmt.Sprintf("%db", int64(v.Size)), "-L", fmt.Sprintf("%db", int64(extra)), "-n", lvName}
		err = run("lvcreate", slices.Concat(args, monitor, v.Args, []string{"--", p.Name + "/pool"})...)
	case "snapshot":
		// The volume is the origin; its snapshot stands beside it.
		if err = create("linear", lvName, v.Size, v.Args...); err != nil {
			return err
		}
		args := []string{"-q", "--yes", "--snapshot", "-L", fmt.Sprintf("%db", int64(extra)), "-n", "snap"}
		err = run("lvcreate", slices.Concat(args, chunk("--chunksize"), monitor, []string{"--", path})...)
	case "cache":
		if err = create("linear", lvName, v.Size, v.Args...); err != nil {
			return err
		}
		args := []string{"-q", "--yes", "--type", "cache", "-L", fmt.Sprintf("%db", int64(extra)), "-n", "cache", "--cachemode", orDefault(v.CacheMode, "writethrough")}
		err = run("lvcreate", slices.Concat(args, chunk("--chunksize"), monitor, []string{"--", path})...)
	case "writecache":
		if err = create("linear", lvName, v.Size, v.Args...); err != nil {
			return err
		}
		if err = create("linear", "cache", extra); err != nil {
			return err
		}
		// What is attached as a writecache must not be active.
		if err = run("lvchange", "-q", "-an", p.Name+"/cache"); err != nil {
			return err
		}
		err = run("lvconvert", "-q", "--yes", "--type", "writecache", "--cachevol", "cache", "--", path)
	default:
		err = create(v.Type, lvName, v.Size, slices.Concat(v.shape(), monitor, v.Args)...)
	}
	if err != nil {
		return err
	}
	d, err := dmByName(dmName(p.Name, lvName))
	if err != nil {
		return err
	}
	p.Device = d
	if !v.Dmeventd {
		return nil
	}
	out, err := h.Tool("lvm", "lvs", "--config", config, "--noheadings", "-o", "seg_monitor", path)
	if err != nil {
		return err
	}
	if !strings.Contains(out, "monitored") || strings.Contains(out, "not monitored") {
		return fmt.Errorf("dmeventd does not monitor %s: lvs says %q", path, strings.TrimSpace(out))
	}
	return nil
}

// shape says how a volume of one segment is laid out.
func (v lvm) shape() []string {
	var args []string
	switch v.Type {
	case "mirror":
		args = append(args, "--mirrors", strconv.Itoa(v.perByte()-1), "--mirrorlog", v.Log)
	case "raid1", "raid10":
		args = append(args, "--mirrors", strconv.Itoa(v.perByte()-1))
	}
	if v.Stripes > 0 {
		args = append(args, "--stripes", strconv.Itoa(v.Stripes))
	}
	if v.StripeSize > 0 {
		args = append(args, "--stripesize", fmt.Sprintf("%db", int64(v.StripeSize)))
	}
	if v.RegionSize > 0 {
		args = append(args, "--regionsize", fmt.Sprintf("%db", int64(v.RegionSize)))
	}
	if v.Integrity {
		args = append(args, "--raidintegrity", "y")
	}
	if v.NoSync {
		args = append(args, "--nosync")
	}
	return args
}

// perByte is how many copies there are of each byte.
func (v lvm) perByte() int {
	switch v.Type {
	case "mirror", "raid1", "raid10":
		return max(1, v.Mirrors) + 1
	}
	return 1
}

// images is how many parts the volume has that must be on devices of their own.
func (v lvm) images() int {
	switch n := max(1, v.Stripes); v.Type {
	case "raid4", "raid5":
		return n + 1
	case "raid6":
		return n + 2
	case "raid10":
		return max(2, v.Stripes) * v.perByte()
	default:
		return n * v.perByte()
	}
}

// lvmConfig is what an initramfs needs: there is no udev to make nodes or to
// wait for, and no second start that metadata copies would serve.
func lvmConfig(monitor bool) string {
	m := 0
	if monitor {
		m = 1
	}
	return fmt.Sprintf("activation{udev_sync=0 udev_rules=0 verify_udev_operations=0 monitoring=%d} backup{backup=0 archive=0} global{use_lvmpolld=0 event_activation=0 thin_check_executable=\"\" cache_check_executable=\"\"} devices{use_devicesfile=0 obtain_device_list_from_udev=0 external_device_info_source=\"none\"}", m)
}

// dmName is what device mapper calls a volume.
func dmName(vg, lv string) string {
	return strings.ReplaceAll(vg, "-", "--") + "-" + lv
}

// dmByName finds a device-mapper device by its name and makes sure that
// /dev/dm-N, which devtmpfs makes, is there.
func dmByName(name string) (Device, error) {
	names, err := filepath.Glob("/sys/block/dm-*/dm/name")
	if err != nil {
		return Device{}, err
	}
	for _, file := range names {
		if got, err := ReadText(file); err != nil || got != name {
			continue
		}
		var p Part
		err := p.found(filepath.Base(filepath.Dir(filepath.Dir(file))))
		return p.Device, err
	}
	return Device{}, fmt.Errorf("no device-mapper device is named %s", name)
}

func (v lvm) prove(p *Part) ([]string, error) {
	t, err := p.target()
	if err != nil {
		return nil, err
	}
	if err := checkTable(t, *v.LVM); err != nil {
		return nil, err
	}
	// LVM takes the devices that it likes, where it does not need all.
	spare := len(p.On) - v.images()
	on, err := p.liesOnSome(func(*Part) bool { spare--; return spare >= 0 })
	if err != nil {
		return nil, err
	}
	return []string{on, "dm table: " + t.String()}, nil
}

func (v lvm) table(p *Part) (string, error) {
	t, err := p.target()
	return t.String(), err
}

// target is the only one in the table that the kernel runs for a volume.
func (p *Part) target() (dmTarget, error) {
	table, err := dmTargets(p.Device.No, true)
	if err != nil {
		return dmTarget{}, err
	}
	if len(table) != 1 {
		return dmTarget{}, fmt.Errorf("the table of the volume has %d targets, not one", len(table))
	}
	return table[0], nil
}

// targetKinds is what device mapper calls a volume's target.
var targetKinds = map[string]string{
	"linear": "linear", "striped": "striped", "mirror": "mirror", "thin": "thin",
	"snapshot": "snapshot-origin", "cache": "cache", "writecache": "writecache", "vdo": "linear", // over its pool
	"raid0": "raid", "raid1": "raid", "raid4": "raid", "raid5": "raid", "raid6": "raid", "raid10": "raid",
}

// checkTable compares a volume's dm table with what was asked for. The
// features of a mirror end its line (dm-raid1.c, parse_features).
func checkTable(t dmTarget, v scenarios.LVM) error {
	if want := targetKinds[v.Type]; t.kind != want {
		return fmt.Errorf("the table has a %s target, not %s: %s", t.kind, want, t)
	}
	f := strings.Fields(t.params)
	switch v.Type {
	case "mirror":
		if len(f) == 0 || f[0] != v.Log {
			return fmt.Errorf("the mirror has no %s log: %s", v.Log, t)
		}
		if v.Log == "disk" && !slices.Contains(f, "handle_errors") {
			return fmt.Errorf("the mirror is without handle_errors: %s", t)
		}
	case "raid0", "raid1", "raid4", "raid5", "raid6", "raid10":
		// raid5_ls, raid6_zr: the level with its layout.
		if len(f) == 0 || f[0] != v.Type && !strings.HasPrefix(f[0], v.Type+"_") {
			return fmt.Errorf("the raid target is no %s: %s", v.Type, t)
		}
	case "striped":
		if len(f) == 0 || v.Stripes > 0 && f[0] != strconv.Itoa(v.Stripes) {
			return fmt.Errorf("it has not %d stripes: %s", v.Stripes, t)
		}
	case "cache":
		if mode := orDefault(v.CacheMode, "writethrough"); !slices.Contains(f, mode) {
			return fmt.Errorf("the cache is not %s: %s", mode, t)
		}
	}
	return nil
}

// legs are those of what the volume is now: lvconvert makes others of it.
func (v lvm) legs(p *Part) ([]scenarios.Leg, bool, error) { return dmLegs(p) }

// act does what LVM and device mapper can do to a volume.
func (v lvm) act(h Host, s *Stack, p *Part, a scenarios.Act) error {
	config := lvmConfig(v.Dmeventd)
	path := p.Name + "/" + lvName
	run := func(command string, args ...string) error {
		_, err := h.Tool("lvm", append([]string{command, "--config", config, "-q", "--yes"}, args...)...)
		return err
	}
	again := func(err error) error {
		if err != nil {
			return err
		}
		d, err := dmByName(dmName(p.Name, lvName))
		if err == nil {
			p.Device, p.Path = d, d.Node()
		}
		return err
	}
	switch a.Do {
	case "lvconvert", "lvchange":
		return again(run(a.Do, append(a.Args, path)...))
	case "grow":
		return again(run("lvextend", append(a.Args, path)...))
	case "repair":
		return again(run("lvconvert", append([]string{"--repair"}, append(a.Args, path)...)...))
	case "check", "scrub":
		if err := run("lvchange", "--syncaction", "check", path); err != nil {
			return err
		}
		return v.idle(h, p)
	case "wait-idle":
		return v.idle(h, p)
	case "pvmove":
		b, err := s.member(a)
		if err != nil {
			return err
		}
		return again(run("pvmove", append(a.Args, b.Node())...))
	case "snapshot":
		extra := v.Extra
		if extra == 0 {
			extra = v.Size
		}
		name := orDefault(a.Snapshot, "snap")
		if err := again(run("lvcreate", append([]string{"--snapshot", "-L", fmt.Sprintf("%db", int64(extra)), "-n", name, "--ignoremonitoring"}, append(a.Args, path)...)...)); err != nil || a.Snapshot == "" {
			return err
		}
		return s.addSnapshot(p, name)
	case "merge":
		name := orDefault(a.Snapshot, "snap")
		s.Parts = slices.DeleteFunc(s.Parts, func(b *Part) bool { return b.snapshot && b.Name == name })
		return again(run("lvconvert", "--merge", p.Name+"/"+name))
	case "stop":
		return run("vgchange", "-an", p.Name)
	case "assemble":
		return v.assemble(h, p)
	}
	return dmAct(h, s, p, dmName(p.Name, lvName), a)
}

// addSnapshot adds a volume that an act made of p to what steps can name.
func (s *Stack) addSnapshot(p *Part, name string) error {
	d, err := dmByName(dmName(p.Name, name))
	if err != nil {
		return err
	}
	b := &Part{Name: name, Device: d, Path: d.Node(), On: []*Part{p}, snapshot: true}
	t, err := b.target()
	if err == nil && t.kind != "snapshot" && t.kind != "thin" {
		err = fmt.Errorf("the volume has a %s target, and is no snapshot: %s", t.kind, t)
	}
	if err == nil {
		b.size, err = b.Bytes()
	}
	if err == nil {
		s.Parts = append(s.Parts, b)
	}
	return err
}

func (v lvm) assemble(h Host, p *Part) error {
	if _, err := h.Tool("lvm", "vgchange", "--config", lvmConfig(v.Dmeventd), "-q", "--yes", "-ay", p.Name); err != nil {
		return err
	}
	d, err := dmByName(dmName(p.Name, lvName))
	if err != nil {
		return err
	}
	p.Device, p.Path = d, d.Node()
	return p.liesOnAny()
}

// idle waits until a raid volume does nothing by itself any more.
func (v lvm) idle(h Host, p *Part) error {
	var status string
	ok, err := h.Until(syncLimit, func(time.Duration) (bool, error) {
		t, err := dmTargets(p.Device.No, false)
		if err != nil || len(t) != 1 || t[0].kind != "raid" {
			return true, err
		}
		status = t[0].params
		f := strings.Fields(status)
		return len(f) < 5 || f[4] == "idle", nil
	})
	if err == nil && !ok {
		err = fmt.Errorf("the volume does not come to rest within %v: %s", syncLimit, status)
	}
	return err
}
