// Package scenarios is the scenario language and the scenarios that ship with
// blockrig.
package scenarios

// A Scenario is disks, a storage stack, steps, expectations and parameters.
// It is read from YAML; see Parse.
type Scenario struct {
	Name    string  `yaml:"name" json:"name"`
	About   string  `yaml:"about" json:"about"`
	Machine Machine `yaml:"machine" json:"machine"`
	Disks   []Disk  `yaml:"disks" json:"disks"`
	Require Require `yaml:"require" json:"require"`
	Stack   Stack   `yaml:"stack" json:"stack"`
	Step    Step    `yaml:"step" json:"step"`
	// StepParams says which parameter stands for which key of Step.
	StepParams map[string]string `yaml:"-" json:"step_params,omitempty"`
	Expect     Expect            `yaml:"expect" json:"expect"`
	Matrix     []Param           `yaml:"-" json:"matrix"` // in the file's order
	Story      *Story            `yaml:"story" json:"story,omitempty"`
	Cold       string            `yaml:"cold" json:"cold,omitempty"` // why it can't run from a snapshot; "" when it can
	Source     []byte            `yaml:"-" json:"-"`                 // the file as it was read
	File       string            `yaml:"-" json:"file,omitempty"`    // where it was read from; "" when embedded
}

// Machine is what the guest has besides disks.
type Machine struct {
	Memory Bytes `yaml:"memory" json:"memory"`
}

// Bytes is a size, written 4096, 64KiB, 1MiB or 1GiB.
type Bytes int64

// Disk is one emulated disk.
type Disk struct {
	ID   string `yaml:"id" json:"id"`
	Bus  string `yaml:"bus" json:"bus"` // ahci
	Size Bytes  `yaml:"size" json:"size"`
}

// Require lists preconditions: where one does not hold, the case would be
// vacuous, and the answer is an error.
type Require struct {
	DMAAlignment *int `yaml:"dma_alignment" json:"dma_alignment,omitempty"`
}

// Stack is built from the bottom up. Without lvm or md the first disk is
// used as it is.
type Stack struct {
	LVM  *LVM  `yaml:"lvm" json:"lvm,omitempty"`
	MD   *MD   `yaml:"md" json:"md,omitempty"`
	Ext4 *Ext4 `yaml:"ext4" json:"ext4,omitempty"`
	File *File `yaml:"file" json:"file,omitempty"`
}

// LVM is one logical volume over all disks.
type LVM struct {
	Type     string `yaml:"type" json:"type"` // mirror, raid1, linear
	Size     Bytes  `yaml:"size" json:"size"`
	Log      string `yaml:"log" json:"log,omitempty"` // of a mirror: disk, core
	Dmeventd bool   `yaml:"dmeventd" json:"dmeventd"`
}

// MD is one md array over all disks.
type MD struct {
	Level string `yaml:"level" json:"level"` // raid1
}

// Ext4 is a file system with blocks of BlockSize bytes.
type Ext4 struct {
	BlockSize int `yaml:"block_size" json:"block_size"`
}

// File is a file of known content.
type File struct {
	Size Bytes `yaml:"size" json:"size"`
}

// Step is one I/O. In YAML a value may be a parameter, written ${name}.
type Step struct {
	Op           string `yaml:"op" json:"op"` // pread
	Direct       bool   `yaml:"direct" json:"direct"`
	Offset       int64  `yaml:"offset" json:"offset"`
	Length       int64  `yaml:"length" json:"length"`
	MemoryOffset int64  `yaml:"memory_offset" json:"memory_offset"`
}

// Expect lists the outcomes that pass: "data" (all bytes, right) or the name
// of an errno. Aligned holds when offset, length and memory offset are all
// multiples of dma_alignment+1 (512 where the scenario does not require one).
type Expect struct {
	Aligned    []string `yaml:"aligned" json:"aligned"`
	Misaligned []string `yaml:"misaligned" json:"misaligned"`
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

// A Need is something that a kernel must have for a scenario: built in, or as
// a module.
type Need struct {
	Option string // CONFIG_DM_MIRROR
	Module string // dm-mirror, as modprobe(8) takes it; "" for an option that can only be built in
}

// A Story says what a scenario shows on which kernels; `blockrig repro` tells
// it.
type Story struct {
	Kernels []StoryKernel `yaml:"kernels" json:"kernels"`
	// Holds is the sentence when it holds; ${before}, ${with} and ${after}
	// stand for the releases of the kernels in that role.
	Holds string `yaml:"holds" json:"holds"`
}

// StoryKernel is one kernel of a story and what is expected of it.
type StoryKernel struct {
	Role   string        `yaml:"role" json:"role"` // before, with, after
	Ref    string        `yaml:"ref" json:"ref"`
	Expect []StoryExpect `yaml:"expect" json:"expect"`
}

// StoryExpect is the verdict that the cases matching When have in the story.
type StoryExpect struct {
	When    map[string]int64 `yaml:"when" json:"when,omitempty"` // parameter values; empty: every case not matched earlier
	Verdict string           `yaml:"verdict" json:"verdict"`
	Also    []string         `yaml:"also" json:"also,omitempty"` // at least one of these must be in also; empty: not looked at
}
