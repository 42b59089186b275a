package layer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrDamage is that of a look for damage that found some.
var ErrDamage = errors.New("damage")

// damage is the error of a tool that looked for damage and said that there is
// some. One that did not come so far, or was killed, says nothing: e2fsck could
// not look from 8 on (e2fsck(8)), and nobody can who has no device.
func damage(tool string, err error) error {
	var e *exec.ExitError
	if !errors.As(err, &e) || e.ExitCode() <= 0 || e.ExitCode() >= 126 || tool == "e2fsck" && e.ExitCode() >= 8 {
		return err
	}
	for _, no := range []unix.Errno{unix.EBUSY, unix.ENOENT, unix.EACCES, unix.ENOMEM, unix.ENXIO} {
		if strings.Contains(strings.ToLower(err.Error()), no.Error()) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrDamage, err)
}

// A keeper is a kind whose metadata can be looked at.
type keeper interface {
	metadata(h Host, p *Part) error
}

// Metadata looks at what a layer keeps of itself on its devices.
func (s *Stack) Metadata(h Host, name string) error {
	p, err := s.Part(name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCannot, err)
	}
	k, ok := p.kind.(keeper)
	if !ok {
		return fmt.Errorf("%w: %s has no metadata that a tool looks at", ErrCannot, name)
	}
	return k.metadata(h, p)
}

// metadata has LVM look at the group's, and at that of what the volume is made
// of.
func (v lvm) metadata(h Host, p *Part) error {
	out, err := h.Tool("lvm", "vgck", "--config", lvmConfig(v.Dmeventd), p.Name)
	if err != nil {
		return damage("vgck", err)
	}
	// It mends in memory what a copy on one device has wrong, and ends well.
	for line := range strings.Lines(out) {
		if l := strings.ToLower(line); strings.Contains(l, "checksum") || strings.Contains(l, "inconsistent") || strings.Contains(l, "missing") {
			return fmt.Errorf("%w: vgck says: %s", ErrDamage, strings.TrimSpace(line))
		}
	}
	_, err = checkTargets(h, p)
	return err
}

func (d dm) metadata(h Host, p *Part) error {
	n, err := checkTargets(h, p)
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: nothing of %s has metadata that a tool looks at", ErrCannot, p.Name)
	}
	return err
}

// targetChecks are the tools that look at the metadata device of a target,
// which is the first of its arguments.
var targetChecks = map[string]string{"thin-pool": "thin_check", "cache": "cache_check", "era": "era_check"}

// checkTargets looks at the metadata of all targets that a layer is made of.
func checkTargets(h Host, p *Part) (checked int, err error) {
	seen := map[uint64]bool{}
	var walk func(d Device) error
	walk = func(d Device) error {
		if seen[d.No] || slices.ContainsFunc(p.On, func(b *Part) bool { return b.Device.Name != "" && b.No == d.No && b.Layer == nil }) {
			return nil
		}
		seen[d.No] = true
		if _, err := os.Stat(filepath.Join(d.Sys(), "dm")); err != nil {
			return nil // a disk, or no device of device-mapper
		}
		table, err := dmTargets(d.No, true)
		if err != nil {
			return err
		}
		for _, t := range table {
			tool := targetChecks[t.kind]
			if tool == "" {
				continue
			}
			if err := checkTarget(h, d, t, tool); err != nil {
				return err
			}
			checked++
		}
		slaves, err := os.ReadDir(filepath.Join(d.Sys(), "slaves"))
		if err != nil {
			return err
		}
		for _, s := range slaves {
			below, err := DeviceOf(s.Name())
			if err == nil {
				err = walk(below)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return checked, walk(p.Device)
}

// checkTarget runs a tool on a target's metadata device while the target is
// suspended, which has it write all that it knows. The target holds that device
// for itself; another one of device-mapper's may lie over it.
func checkTarget(h Host, d Device, t dmTarget, tool string) (err error) {
	words := strings.Fields(t.params)
	if len(words) == 0 {
		return fmt.Errorf("the table %q names no metadata device", t)
	}
	no, err := parseDevno(words[0])
	if err != nil {
		return err
	}
	meta, err := deviceAt(no)
	if err != nil {
		return err
	}
	size, err := meta.Bytes()
	if err != nil {
		return err
	}
	name, err := ReadText(filepath.Join(d.Sys(), "dm/name"))
	if err != nil {
		return err
	}
	dmsetup := func(args ...string) error {
		_, err := h.Tool("dmsetup", append(args, "--noudevsync")...)
		return err
	}
	if err := dmsetup("suspend", name); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dmsetup("resume", name)) }()
	const look = "blockrig-look"
	table := fmt.Sprintf("0 %d linear %s 0", size/512, meta)
	if err := dmsetup("create", look, "--readonly", "--noudevrules", "--table", table); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dmsetup("remove", look)) }()
	over, err := dmByName(look)
	if err != nil {
		return err
	}
	_, err = h.Tool(tool, over.Node())
	return damage(tool, err)
}

// superblockSettle is how long the superblocks of an array may take to agree: a
// kernel writes them one after the other.
const superblockSettle = 5 * time.Second

// metadata compares the members' superblocks with each other and with what the
// kernel says of the array.
func (m md) metadata(h Host, p *Part) error {
	var wrong error
	var a mdArray
	ok, err := h.Until(superblockSettle, func(time.Duration) (bool, error) {
		var err error
		if a, err = m.array(p); err != nil {
			return false, err
		}
		args := []string{"--examine"}
		for _, d := range a.members {
			if !d.is("faulty") { // it was told nothing since
				args = append(args, "/dev/"+d.name)
			}
		}
		out, err := h.Tool("mdadm", args...)
		if e := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &e) && e.ExitCode() > 0) {
			return false, err
		}
		sys := filepath.Join("/sys/block", p.Device.Name, "md")
		want := map[string]string{}
		for key, file := range map[string]string{"Raid Devices": "raid_disks", "Raid Level": "level"} {
			text, err := ReadText(filepath.Join(sys, file))
			if err != nil {
				return false, err
			}
			want[key], _, _ = strings.Cut(text, " ")
		}
		wrong = a.compare(parseExamine(out), want)
		return wrong == nil, nil
	})
	switch {
	case err != nil:
		return err
	case !ok && a.busy():
		return fmt.Errorf("the array's disks still do I/O after %v, and then: %w", superblockSettle, wrong)
	case !ok:
		return fmt.Errorf("%w: %w", ErrDamage, wrong)
	}
	return nil
}

// busy says whether a member has requests under way, which may be those of a
// superblock: a disk of the host's can be slow.
func (a mdArray) busy() bool {
	return slices.ContainsFunc(a.members, func(m mdMember) bool {
		text, err := ReadText(filepath.Join("/sys/class/block", m.name, "inflight"))
		return err == nil && strings.Join(strings.Fields(text), " ") != "0 0"
	})
}

// parseExamine reads what mdadm --examine prints: for each device its facts, by
// the names that it has for them.
func parseExamine(out string) map[string]map[string]string {
	all := map[string]map[string]string{}
	var of map[string]string
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		if dev, ok := strings.CutSuffix(line, ":"); ok && strings.HasPrefix(dev, "/dev/") {
			of = map[string]string{}
			all[filepath.Base(dev)] = of
			continue
		}
		if key, value, ok := strings.Cut(line, " : "); ok && of != nil {
			of[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return all
}

// alike are the facts that all members must say alike.
var alike = []string{"Version", "Array UUID", "UUID", "Raid Level", "Raid Devices", "Array Size", "Chunk Size", "Layout"}

// alikeActive are those that all members must say alike which are in sync.
var alikeActive = []string{"Events", "State", "Array State"}

// compare says what superblocks say that they must not.
func (a mdArray) compare(said map[string]map[string]string, kernel map[string]string) error {
	first, firstActive := "", ""
	for _, d := range a.members {
		if d.is("faulty") {
			continue
		}
		facts := said[d.name]
		if facts == nil || facts["Events"] == "" {
			return fmt.Errorf("%s is a member of the array, and has no superblock", d.name)
		}
		if sum := facts["Checksum"]; !strings.HasSuffix(sum, "- correct") {
			return fmt.Errorf("the superblock of %s has a wrong checksum: %s", d.name, sum)
		}
		if strings.Contains(facts["Bad Block Log"], "bad blocks present") {
			return fmt.Errorf("%s has bad blocks on record", d.name)
		}
		for key, want := range kernel {
			if facts[key] != want {
				return fmt.Errorf("the superblock of %s says %s %q, and the kernel %q", d.name, key, facts[key], want)
			}
		}
		if first == "" {
			first = d.name
		}
		if err := agree(alike, first, d.name, said); err != nil {
			return err
		}
		if !d.is("in_sync") {
			continue
		}
		if firstActive == "" {
			firstActive = d.name
		}
		if err := agree(alikeActive, firstActive, d.name, said); err != nil {
			return err
		}
	}
	// Superblocks that disagree are told as that, whichever member comes first.
	for _, d := range a.members {
		if !d.is("in_sync") || d.is("faulty") {
			continue
		}
		if err := a.place(d, said[d.name]); err != nil {
			return err
		}
	}
	return nil
}

func agree(keys []string, a, b string, said map[string]map[string]string) error {
	for _, key := range keys {
		if said[a][key] != said[b][key] {
			return fmt.Errorf("the superblocks disagree: %s says %s %q, and %s %q", a, key, said[a][key], b, said[b][key])
		}
	}
	return nil
}

// place holds what a member's superblock says of its place, and of the others',
// against the kernel. A superblock of version 0.90 says it in other words.
func (a mdArray) place(d mdMember, facts map[string]string) error {
	if role, ok := facts["Device Role"]; ok && role != "Active device "+d.slot {
		return fmt.Errorf("the superblock of %s says %q, and the kernel has it in place %s", d.name, role, d.slot)
	}
	state, _, _ := strings.Cut(facts["Array State"], " ")
	for i, c := range state {
		here := slices.ContainsFunc(a.members, func(m mdMember) bool {
			return m.slot == strconv.Itoa(i) && !m.is("faulty")
		})
		if (c != '.') != here {
			return fmt.Errorf("the superblock of %s has the array as %s, and of place %d the kernel says otherwise", d.name, state, i)
		}
	}
	return nil
}
