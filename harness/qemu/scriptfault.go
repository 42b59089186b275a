package qemu

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// A ScriptCommand is one of QMP's, as a line.
type ScriptCommand struct {
	Line string
	Gone string // the device of which QEMU must say DEVICE_DELETED before it is done; "" for none
}

// mostRules bounds the rules of a blkdebug node: it has one for each sector.
const mostRules = 1024

// ScriptInject has QEMU itself put faults in force on a disk of a Script's
// machine, in place of was, those of the call before; none heals it. n tells the
// calls of a disk apart, from 1 on, one by one. An unplugged disk has them when it is
// plugged. An error means that only this process can do it, as an NBD server.
func ScriptInject(d Disk, unplugged bool, was, faults []Fault, n int) ([]ScriptCommand, error) {
	var rules []map[string]any
	for _, f := range faults {
		more, err := blkdebugRules(d, f)
		if err == nil && (f.Errno != faults[0].Errno || f.Count > 0 && len(faults) > 1) {
			err = errors.New("which of several faults a request meets it decides otherwise")
		}
		if rules = append(rules, more...); err == nil && len(rules) > mostRules {
			err = fmt.Errorf("it would take more than %d rules", mostRules)
		}
		if err != nil {
			return nil, fmt.Errorf("QEMU's blkdebug can't do it: %w", err)
		}
	}
	faulty := func(n int) string { return nodeName(d.ID) + "-fault" + strconv.Itoa(n) }
	below := fileNode(d.ID)
	var out []ScriptCommand
	say := func(execute string, arguments any) {
		out = append(out, ScriptCommand{Line: jsonArg(map[string]any{"execute": execute, "arguments": arguments})})
	}
	if len(was) > 0 {
		// To put another node in its place QEMU flushes it, which may not fail. No
		// guest asks for a part of a sector: this does, has the rules give way to
		// disarm, and so writes nothing.
		of := "-d " + backend(d)
		if unplugged {
			of = nodeName(d.ID)
		}
		say("human-monitor-command", map[string]any{"command-line": "qemu-io " + of + ` "write -q 1 1"`})
	}
	if len(rules) > 0 {
		below = faulty(n)
		say("blockdev-add", map[string]any{
			"driver": "blkdebug", "node-name": below, "image": fileNode(d.ID), "discard": "unmap", "align": SectorSize, "inject-error": append(rules, disarm),
		})
	}
	node := plainImage{d}.node()
	node["file"] = below
	say("blockdev-reopen", map[string]any{"options": []any{node}})
	if len(was) > 0 {
		say("blockdev-del", map[string]any{"node-name": faulty(n - 1)})
	}
	return out, nil
}

// backend names the device that does a disk's requests.
func backend(d Disk) string {
	id := newSlots([]Disk{d}).of[0].disk.id()
	if d.Bus == VirtioBlk {
		return "/machine/peripheral/" + id + "/virtio-backend"
	}
	return id
}

// disarm is the rule of a request for a part of a sector: what QEMU reads first to
// make it a whole one fails, and from then on nothing else does.
var disarm = map[string]any{"event": "pwritev_rmw_head", "iotype": "read", "errno": int(errnos["EIO"]), "sector": 0}

// blkdebugRules are what inject-error has to say for a fault.
func blkdebugRules(d Disk, f Fault) ([]map[string]any, error) {
	op := cmp.Or(f.Op, AnyOp)
	through := d.FUA || d.WriteCache == Off // QEMU makes FUA a flush
	switch {
	case f.Do != FailRequest:
		return nil, fmt.Errorf("a fault that is %s", f.Do)
	case f.After > 0, f.Chance > 0 && f.Chance < 1, f.Delay > 0:
		return nil, errors.New("a fault with after, chance or delay")
	case op == FlushOp && through:
		return nil, errors.New("a fault of flushes, of a disk of which writes go through the cache")
	case f.Count > 0 && (f.Length > SectorSize || op == WriteOp && cmp.Or(d.Bus, AHCI) != AHCI):
		return nil, errors.New("a count of more than one kind of request")
	case f.Offset > 0 && f.Length == 0, f.Length/SectorSize > mostRules:
		return nil, fmt.Errorf("a fault of more than %d sectors, but not of all", mostRules)
	}
	kinds := map[Operation][]string{
		ReadOp: {"read"}, WriteOp: {"write", "write-zeroes"}, FlushOp: {"flush"}, DiscardOp: {"discard"},
		AnyOp: {""}, // of these
	}[op]
	if f.Count > 0 {
		kinds = kinds[:1] // a disk of AHCI is not asked to write zeroes
	}
	var out []map[string]any
	for at := f.Offset; at < f.Offset+max(f.Length, 1); at += SectorSize {
		for _, kind := range kinds {
			rule := map[string]any{"event": "none", "errno": int(errnos[cmp.Or(f.Errno, "EIO")])}
			if kind != "" {
				rule["iotype"] = kind
			}
			if f.Length > 0 {
				rule["sector"] = at / SectorSize
			}
			if f.Count > 0 {
				rule["once"] = true
			}
			out = append(out, slices.Repeat([]map[string]any{rule}, max(1, f.Count))...)
		}
		if len(out) > mostRules {
			break
		}
	}
	return out, nil
}

// ScriptUnplug removes disk i of a Script's machine, as Machine.Unplug does.
func ScriptUnplug(disks []Disk, i int) ScriptCommand {
	id := newSlots(disks).of[i].disk.id()
	return ScriptCommand{Line: jsonArg(map[string]any{"execute": "device_del", "arguments": map[string]string{"id": id}}), Gone: id}
}

// ScriptPlug puts disk i back, as Machine.Plug does.
func ScriptPlug(disks []Disk, i int) ScriptCommand {
	return ScriptCommand{Line: jsonArg(map[string]any{"execute": "device_add", "arguments": newSlots(disks).of[i].disk.plug()})}
}

// Commands of a Script's machine that are nothing of a disk.
const (
	ScriptGreet = `{"execute":"qmp_capabilities"}` // before all others
	ScriptQuit  = `{"execute":"quit"}`
)
