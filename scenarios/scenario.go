// Package scenarios is what all rooms talk about: layers and steps, what is
// expected and what was observed, verdicts. It holds plain types and imports no
// other room. Package language reads scenarios from YAML.
package scenarios

// A Scenario is disks, a storage stack, steps, expectations and parameters.
// It is read from YAML; see package language.
type Scenario struct {
	Name  string `json:"name"`
	About string `json:"about"`
	Setup
	Step Step `json:"step"`
	// StepParams says which parameter stands for which key of Step.
	StepParams map[string]string `json:"step_params,omitempty"`
	Expect     Expect            `json:"expect"`
	Matrix     []Param           `json:"matrix"` // in the file's order
	Story      *Story            `json:"story,omitempty"`
	Cold       string            `json:"cold,omitempty"` // why it can't run from a snapshot; "" when it can
	Source     []byte            `json:"-"`              // the file as it was read
	File       string            `json:"file,omitempty"` // where it was read from; "" when embedded
}

// Setup is what must be there before a step: a machine with its stack built.
type Setup struct {
	Machine Machine `json:"machine"`
	Disks   []Disk  `json:"disks"`
	Require Require `json:"require"`
	Stack   Stack   `json:"stack"`
}

// Machine is what the guest has besides disks.
type Machine struct {
	Memory Bytes `json:"memory"`
}

// Bytes is a size, written 4096, 64KiB, 1MiB or 1GiB.
type Bytes int64

// Disk is one emulated disk.
type Disk struct {
	ID   string `json:"id"`
	Bus  string `json:"bus"` // ahci
	Size Bytes  `json:"size"`
}

// Require lists preconditions: where one does not hold, the case would be
// vacuous, and the answer is an error.
type Require struct {
	DMAAlignment *int `json:"dma_alignment,omitempty"` // queue/dma_alignment of every disk, bytes minus one
}

// Stack is built from the bottom up. Without lvm or md the first disk is
// used as it is.
type Stack struct {
	LVM  *LVM  `json:"lvm,omitempty"`
	MD   *MD   `json:"md,omitempty"`
	Ext4 *Ext4 `json:"ext4,omitempty"`
	File *File `json:"file,omitempty"`
}

// LVM is one logical volume over all disks (lvcreate(8)).
type LVM struct {
	Type     string `json:"type"` // mirror, raid1, linear
	Size     Bytes  `json:"size"`
	Log      string `json:"log,omitempty"` // of a mirror: disk, core
	Dmeventd bool   `json:"dmeventd"`      // run dmeventd and monitor the volume
}

// MD is one md array over all disks (mdadm(8)).
type MD struct {
	Level string `json:"level"` // raid1
}

// Ext4 is a file system (mke2fs(8)).
type Ext4 struct {
	BlockSize int `json:"block_size"` // bytes
}

// File is a file of known content: byte i of it is protocol.Pattern(i).
type File struct {
	Size Bytes `json:"size"`
}

// Step is one I/O. In a file a value may be a parameter, written ${name}.
type Step struct {
	Op           string `json:"op"`            // pread
	Direct       bool   `json:"direct"`        // O_DIRECT
	Offset       int64  `json:"offset"`        // in the file, bytes
	Length       int64  `json:"length"`        // bytes
	MemoryOffset int64  `json:"memory_offset"` // of the buffer from a page boundary, bytes
}

// Expect lists the outcomes that pass: "data" (all bytes, right) or the name
// of an errno. Aligned holds when offset, length and memory offset are all
// multiples of dma_alignment+1 (512 where the scenario does not require one).
type Expect struct {
	Aligned    []string `json:"aligned"`
	Misaligned []string `json:"misaligned"`
}

// Param is a parameter and the values that its matrix takes.
type Param struct {
	Name   string  `json:"name"`
	Values []int64 `json:"values"`
}

// A Case is a scenario with all parameters fixed.
type Case struct {
	Scenario *Scenario
	ID       string // "length=4096,memory_offset=32", parameters in the file's order
	Params   []Setting
	Step     Step     // with parameters replaced
	Aligned  bool     // see Expect
	Expect   []string // outcomes that pass
}

// A Setting is a parameter and its value.
type Setting struct {
	Name  string
	Value int64
}
