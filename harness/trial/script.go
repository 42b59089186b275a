package trial

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// ErrNeedsHost says that a trial can't be made again without blockrig: it has a
// part in it that QEMU can't play.
var ErrNeedsHost = errors.New("it takes blockrig")

// maxEvent bounds a line of EventsFile, in bytes.
const maxEvent = 1 << 20

// MaxBoots is how many boots a Script can have.
const MaxBoots = 9

// A Script is what a trial needs to be made again without blockrig.
type Script struct {
	// Boots are all that the host said in each boot, for protocol.ScriptFile. The
	// second is that after the first power cut, and so on.
	Boots [][]byte
	// Acts are what the host did. A guest asks for them by their number, from 1.
	Acts []Act
}

// An Act is what the host does in a trial while the guest waits: it has QEMU do
// something, or cuts the power.
type Act struct {
	What string // for people
	QEMU []qemu.ScriptCommand
	Cut  bool // the machine is ended, and the next boot goes on with the same disks
}

// Script gives all that the host said and did in a trial of the job. events is
// the trial's EventsFile. The error wraps ErrNeedsHost for a trial with faults or
// power cuts that QEMU can't play.
func (j Job) Script(events io.Reader) (*Script, error) {
	w := scriptWriter{Job: j, out: &Script{}, injected: map[string]injection{}}
	for _, d := range j.Disks {
		w.disks = append(w.disks, j.attached(d, qemu.Disk{ID: d.ID, Serial: qemu.SerialOf(d.ID), Format: qemu.Raw}))
	}
	setup := Local{Job: j}.setup(w.disks)
	setup.Timing = false
	w.boot()
	if err := w.say(protocol.ToGuest{Setup: setup}); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, maxEvent)
	for n := 1; lines.Scan(); n++ {
		var e struct {
			From string
			What json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", EventsFile, n, err)
		}
		var m protocol.ToGuest
		if e.From != "host" {
			continue
		}
		if err := json.Unmarshal(e.What, &m); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", EventsFile, n, err)
		}
		if err := w.said(m); err != nil {
			return nil, err
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", EventsFile, err)
	}
	return w.out, nil
}

// A scriptWriter writes a Script.
type scriptWriter struct {
	Job
	disks     []qemu.Disk
	out       *Script
	at        int                  // steps of the case before it are written
	faults    []qemu.Fault         // in force
	unplugged []string             // disks
	injected  map[string]injection // the last one of a disk since the boot
}

// An injection is a change of a disk's faults.
type injection struct {
	n      int // from 1
	faults []qemu.Fault
}

func (w *scriptWriter) boot() { w.out.Boots = append(w.out.Boots, nil) }

// say adds a line to the boot in progress.
func (w *scriptWriter) say(m protocol.ToGuest) error {
	line, err := json.Marshal(m)
	if err == nil && len(line) >= protocol.MaxLine {
		err = fmt.Errorf("a message of %d bytes is too long for a guest", len(line))
	}
	last := &w.out.Boots[len(w.out.Boots)-1]
	*last = append(append(*last, line...), '\n')
	return err
}

// said writes what the host said, and before it what it did.
func (w *scriptWriter) said(m protocol.ToGuest) error {
	switch {
	case m.Step != nil && m.Step.Index < 0:
		return fmt.Errorf("the host said step %d: %s is not as it was recorded", m.Step.Index, EventsFile)
	case m.Step != nil:
		for ; w.at < m.Step.Index && w.at < len(w.Steps); w.at++ {
			if err := w.act(w.Steps[w.at]); err != nil {
				return err
			}
		}
		w.at = m.Step.Index + 1
		m.Step.Trace = false
		return w.say(protocol.ToGuest{Step: m.Step})
	case m.Setup != nil && m.Setup.Assemble:
		for done := false; !done && w.at < len(w.Steps); w.at++ {
			if err := w.act(w.Steps[w.at]); err != nil {
				return err
			}
			done = w.Steps[w.at].PowerCut != nil
		}
		return w.say(protocol.ToGuest{Setup: m.Setup})
	}
	return nil // the first setup, which the script has
}

// act writes a step of the host's; those of the guest were not done.
func (w *scriptWriter) act(st scenarios.Step) error {
	a := Act{What: st.Kind()}
	var at int // of the disk
	var err error
	switch {
	case st.Fault != nil:
		a.What = st.Fault.Do + " of disk " + st.Fault.Disk
		at, err = w.disk(st.Fault.Disk)
	case st.Heal != nil:
		a.What += " of disk " + st.Heal.Disk
		at, err = w.disk(st.Heal.Disk)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", a.What, err)
	}
	switch {
	case st.Fault != nil && st.Fault.Do == removeDisk:
		w.unplugged = append(w.unplugged, st.Fault.Disk)
		a.QEMU = append(a.QEMU, qemu.ScriptUnplug(w.disks, at))
	case st.Heal != nil && slices.Contains(w.unplugged, st.Heal.Disk):
		w.unplugged = slices.DeleteFunc(w.unplugged, func(d string) bool { return d == st.Heal.Disk })
		a.QEMU = append(a.QEMU, qemu.ScriptPlug(w.disks, at))
	case st.Fault != nil:
		var f qemu.Fault
		if f, err = faultOf(*st.Fault); err == nil {
			w.faults = append(w.faults, f)
			a.QEMU, err = w.inject(at)
		}
	case st.Heal != nil:
		before := len(w.faults)
		w.faults = slices.DeleteFunc(w.faults, func(f qemu.Fault) bool { return f.Disk == st.Heal.Disk })
		if len(w.faults) == before {
			return nil // there was nothing to heal
		}
		a.QEMU, err = w.inject(at)
	case st.PowerCut != nil:
		a.Cut = true
		err = w.cut(*st.PowerCut)
	default:
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrNeedsHost, a.What, err)
	}
	w.out.Acts = append(w.out.Acts, a)
	if err := w.say(protocol.ToGuest{Ask: len(w.out.Acts)}); err != nil || !a.Cut {
		return err
	}
	w.faults, w.unplugged = nil, nil
	clear(w.injected)
	w.boot()
	if len(w.out.Boots) > MaxBoots {
		return fmt.Errorf("%w: there are more than %d boots", ErrNeedsHost, MaxBoots)
	}
	return nil
}

// disk is the place of a disk.
func (w *scriptWriter) disk(id string) (int, error) {
	at := slices.IndexFunc(w.disks, func(d qemu.Disk) bool { return d.ID == id })
	if at < 0 {
		return 0, fmt.Errorf("the trial has no disk %q: its job is not as it was recorded", id)
	}
	return at, nil
}

// inject puts the faults of the disk at that place in force.
func (w *scriptWriter) inject(at int) ([]qemu.ScriptCommand, error) {
	d := w.disks[at]
	was := w.injected[d.ID]
	now := injection{was.n + 1, slices.DeleteFunc(slices.Clone(w.faults), func(f qemu.Fault) bool { return f.Disk != d.ID })}
	w.injected[d.ID] = now
	return qemu.ScriptInject(d, slices.Contains(w.unplugged, d.ID), was.faults, now.faults, now.n)
}

// cut says whether QEMU's end is such a power cut: then nothing is lost that a
// disk has said it has.
func (w *scriptWriter) cut(c scenarios.PowerCut) error {
	cached := func(d qemu.Disk) bool { return d.Bus != qemu.NVMe && d.WriteCache != qemu.Off }
	switch lossy := slices.ContainsFunc(w.disks, cached); {
	case c.Every != "" || c.At != "" && c.At != "now":
		return errors.New("the power is cut at a moment that has passed")
	case lossy && c.Lose != "nothing":
		return errors.New("a disk loses what is in its write cache")
	}
	return nil
}

// Alone is the command line of the job's machine without a process of
// blockrig's: the kernel, the initramfs and the folder of raw images, ID.raw,
// are named as they are given, and so is the folder of its ports, "" for none (see
// qemu.ScriptOf). A kernel that dies ends it.
func (j Job) Alone(kernel, initrd, disks, ports string) qemu.Script {
	l := Local{Job: j, Files: Files{kernel, initrd}}
	var all []qemu.Disk
	for _, d := range j.Disks {
		all = append(all, j.attached(d, qemu.Disk{
			ID: d.ID, Serial: qemu.SerialOf(d.ID), Format: qemu.Raw, Path: disks + "/" + d.ID + "." + string(qemu.Raw),
		}))
	}
	spec := l.machine(all)
	spec.Append += " panic=-1"
	return qemu.ScriptOf(spec, ports)
}

// Images are the raw images that the job's machine begins with.
func (j Job) Images() []Image {
	var out []Image
	for _, d := range j.Disks {
		i := Image{Disk: d.ID, Size: imageSize(d), Ones: imageSize(d)}
		if d.Protection > 0 {
			i.Ones = int64(d.Size)
		}
		out = append(out, i)
	}
	return out
}

// An Image is that of a disk, sparse and full of zeroes, but for bytes of 0xff
// from Ones on.
type Image struct {
	Disk       string
	Size, Ones int64 // bytes
}
