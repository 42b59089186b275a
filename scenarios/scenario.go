// Package scenarios is what all rooms talk about: layers and steps, what is
// expected and what was observed, verdicts. It holds plain types and imports no
// other room. Package language reads scenarios from YAML.
package scenarios

import (
	"slices"
	"strings"
)

// A Scenario is disks, a storage stack, steps, expectations and parameters.
// It is read from YAML; see package language, which makes its cases.
type Scenario struct {
	Name   string  `json:"name"`
	About  string  `json:"about"`
	Matrix []Param `json:"matrix,omitempty"` // in the file's order
	// Parameters are those that the matrix does not vary, with their values; ""
	// for one that is no word or number.
	Parameters []Setting `json:"parameters,omitempty"`
	Story      *Story    `json:"story,omitempty"`
	Allow      []string  `json:"allow,omitempty"` // titles of findings that are no failure; see Allowed
	Trace      string    `json:"trace,omitempty"` // block: every trial is traced; "": see trial.Schedule
	Cold       string    `json:"cold,omitempty"`  // why it can't run from a snapshot; "" when it can
	Source     []byte    `json:"-"`               // the file as it was read
	File       string    `json:"file,omitempty"`  // where it was read from; "" when embedded
}

// Setup is what must be there before the first step: a machine with its stack
// built.
type Setup struct {
	Machine Machine `json:"machine"`
	Disks   []Disk  `json:"disks"`
	Require Require `json:"require"`
	Stack   []Layer `json:"stack"` // from the bottom up
}

// Machine is what the guest has besides disks.
type Machine struct {
	Memory Bytes `json:"memory" default:"384MiB" least:"128MiB" most:"64GiB" unit:"1MiB" doc:"the guest's memory"`
}

// Bytes is a size, written 4096, 64KiB, 1MiB or 1GiB.
type Bytes int64

// Disk is one emulated disk.
type Disk struct {
	ID            string `json:"id" alone:"" is:"NAME" doc:"what the rest of the scenario calls it"`
	Bus           string `json:"bus" is:"ahci virtio-blk virtio-scsi nvme" default:"ahci" doc:"how it is attached"`
	Size          Bytes  `json:"size" default:"128MiB" least:"512" most:"1024GiB" unit:"512" doc:"size"`
	LogicalBlock  int    `json:"logical_block_size,omitempty" is:"512 4096" default:"512" unit:"bytes" doc:"logical block size"`
	PhysicalBlock int    `json:"physical_block_size,omitempty" is:"512 4096" default:"512" unit:"bytes" doc:"physical block size"`
	Discard       bool   `json:"discard,omitempty" default:"false" doc:"the disk takes discards"`
	NoWriteCache  bool   `json:"no_write_cache,omitempty" default:"false" doc:"without a volatile write cache"`
	Rotational    bool   `json:"rotational,omitempty" default:"false" doc:"a disk that turns"`
	Zones         Zones  `json:"zones,omitzero" doc:"it is a zoned namespace of nvme (ZNS), host-managed"`
	PollQueues    int    `json:"poll_queues,omitempty" most:"8" doc:"queues of an nvme disk for polled I/O, which have no interrupts; the driver gives all disks the most that one of them says"`
	FUA           bool   `json:"fua,omitempty" default:"false" doc:"one write can be asked to be durable without a flush; of virtio-scsi only"`
	Serial        string `json:"serial,omitempty" is:"SERIAL" doc:"its serial number; blockrig- and the id where it is left out"`
	Metadata      int    `json:"metadata,omitempty" is:"8 16" unit:"bytes" doc:"metadata of each logical block, of nvme only"`
	Protection    int    `json:"protection,omitempty" is:"1 2 3" doc:"type of the protection information (T10 PI) in the metadata"`
}

// Zones are those of a zoned disk.
type Zones struct {
	Size      Bytes `json:"size,omitempty" alone:"" least:"64KiB" unit:"4KiB" doc:"size of each, a power of two; it must be said"`
	Capacity  Bytes `json:"capacity,omitempty" unit:"4KiB" doc:"how much of each can be written; all of it where it is left out"`
	MaxOpen   int   `json:"max_open,omitempty" most:"1024" doc:"how many can be open at once; without a limit where it is left out"`
	MaxActive int   `json:"max_active,omitempty" most:"1024" doc:"how many can be open or closed at once; without a limit where it is left out"`
}

// Require lists preconditions: where one does not hold, the case would be
// vacuous, and the answer is an error.
type Require struct {
	DMAAlignment *int              `json:"dma_alignment,omitempty" most:"4095" doc:"what queue/dma_alignment of every disk must be: an alignment in bytes, minus one"`
	Queue        map[string]string `json:"queue,omitempty" doc:"what files in queue/ of every disk must say, such as logical_block_size"`
}

// Alignment is what an address, an offset and a length have to be multiples of
// to be aligned, in bytes.
func (r Require) Alignment() int64 {
	if r.DMAAlignment != nil {
		return int64(*r.DMAAlignment) + 1
	}
	return 512
}

// Top is the layer that steps use when they name none: the last one. It is nil
// without layers.
func (s Setup) Top() *Layer {
	if len(s.Stack) == 0 {
		return nil
	}
	return &s.Stack[len(s.Stack)-1]
}

// Layer is the layer of that name, nil where there is none.
func (s Setup) Layer(name string) *Layer {
	for i := range s.Stack {
		if s.Stack[i].Name == name {
			return &s.Stack[i]
		}
	}
	return nil
}

// Any says whether something holds for a layer or for one that it lies on.
func (s Setup) Any(name string, holds func(Layer) bool) bool {
	l := s.Layer(name)
	return l != nil && (holds(*l) || slices.ContainsFunc(l.On, func(below string) bool { return s.Any(below, holds) }))
}

// Param is a parameter and the values that its matrix takes, as they are
// written in a case's ID.
type Param struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
}

// A Case is a scenario with all parameters fixed.
type Case struct {
	Scenario *Scenario
	ID       string    // "length=4096,memory_offset=32", parameters in the file's order
	Params   []Setting // as in the ID: the matrix's, and those set to another value than the file's
	Setup    Setup     // with parameters replaced, as Steps
	Steps    []Step
}

// A Setting is a parameter and its value.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Allowed says whether a finding's title is one of those, in which * stands for
// anything.
func Allowed(title string, allow []string) bool {
	return slices.ContainsFunc(allow, func(pattern string) bool {
		parts := strings.Split(pattern, "*")
		rest, ok := strings.CutPrefix(title, parts[0])
		last := parts[len(parts)-1]
		if !ok || len(parts) == 1 {
			return ok && rest == ""
		}
		for _, part := range parts[1 : len(parts)-1] {
			_, after, found := strings.Cut(rest, part)
			if !found {
				return false
			}
			rest = after
		}
		return strings.HasSuffix(rest, last)
	})
}
