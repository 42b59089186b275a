package trial

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/initramfs/protocol"
)

// ErrNeedsHost says that a trial can't be made again without blockrig: the host
// itself takes part in it.
var ErrNeedsHost = errors.New("the host takes part in it")

// maxEvent bounds a line of EventsFile, in bytes.
const maxEvent = 1 << 20

// Script gives all that the host said in a trial of the job, for a guest that
// has to do without one, as lines for protocol.ScriptFile. events is the trial's
// EventsFile. The error wraps ErrNeedsHost for a trial with faults or power cuts,
// which a guest can't make by itself.
func (j Job) Script(events io.Reader) ([]byte, error) {
	if j.powerFails() || len(j.filtered())+len(j.removed()) > 0 {
		return nil, fmt.Errorf("%w: it makes disks fail", ErrNeedsHost)
	}
	disks := make([]qemu.Disk, len(j.Disks))
	for i, d := range j.Disks {
		disks[i].Serial = cmp.Or(d.Serial, qemu.SerialOf(d.ID))
	}
	setup := Local{Job: j}.setup(disks)
	setup.Timing = false
	var out bytes.Buffer
	say := func(m protocol.ToGuest) error {
		line, err := json.Marshal(m)
		if err == nil && len(line) >= protocol.MaxLine {
			err = fmt.Errorf("a message of %d bytes is too long for a guest", len(line))
		}
		out.Write(append(line, '\n'))
		return err
	}
	if err := say(protocol.ToGuest{Setup: setup}); err != nil {
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
		if m.Step == nil {
			continue // a setup, which the script has
		}
		m.Step.Trace = false
		if err := say(protocol.ToGuest{Step: m.Step}); err != nil {
			return nil, err
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", EventsFile, err)
	}
	return out.Bytes(), nil
}

// Alone is the command line of the job's machine without a process of
// blockrig's: the kernel, the initramfs and the folder of raw images, ID.raw,
// are named as they are given. A kernel that dies ends it.
func (j Job) Alone(kernel, initrd, disks string) qemu.Script {
	l := Local{Job: j, Files: Files{kernel, initrd}}
	var all []qemu.Disk
	for _, d := range j.Disks {
		all = append(all, j.attached(d, qemu.Disk{
			ID: d.ID, Serial: qemu.SerialOf(d.ID), Format: qemu.Raw, Path: disks + "/" + d.ID + "." + string(qemu.Raw),
		}))
	}
	spec := l.machine(all)
	spec.Append += " panic=-1"
	return qemu.ScriptOf(spec)
}
