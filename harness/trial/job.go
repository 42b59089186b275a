package trial

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// A Job is one trial as a plain value: it can be written as JSON and run by
// any process, on any machine that has what it names by digest.
type Job struct {
	Kernel    Kernel            `json:"kernel"`
	Direct    bool              `json:"direct,omitempty"` // what is inside the kernel's image is started, not the image
	Initramfs string            `json:"initramfs"`        // digest
	Modules   []protocol.Module `json:"modules"`          // in the initramfs, in the order to load them

	Scenario        string           `json:"scenario"` // its name
	Source          string           `json:"source"`   // as it was written, for the record
	Case            string           `json:"case"`     // its ID
	scenarios.Setup                  // what stands before the first step
	Steps           []scenarios.Step `json:"steps"`
	Allow           []string         `json:"allow,omitempty"` // titles of findings that are no failure

	QEMU   string     `json:"qemu"` // qemu.BuildID
	Accel  qemu.Accel `json:"accel"`
	CPUs   int        `json:"cpus"`
	Cold   bool       `json:"cold,omitempty"` // from power-on, not from a saved machine
	Boot   int        `json:"boot"`           // which of several boots of the kernel it goes on from
	Seed   []byte     `json:"seed"`           // of the guest's random numbers
	Timing bool       `json:"timing,omitempty"`
	Trace  bool       `json:"trace,omitempty"` // record what the block layer does in each step
}

// A Kernel is what a job says of its kernel.
type Kernel struct {
	Ref     string `json:"ref"`     // as the user wrote it
	Exact   string `json:"exact"`   // a reference that gives this very kernel again
	Release string `json:"release"` // uname -r
	Digest  string `json:"digest"`  // of image, config and modules
}

// Key names the job by all that went into it. What people call its kernel is
// nothing of that.
func (j Job) Key() string {
	j.Kernel.Ref, j.Kernel.Exact = "", ""
	return keyOf(j)
}

// A Series is what the repeats of a case on a kernel have in common.
type Series struct{ Kernel, Scenario, Source, Case string }

// Series is the job's.
func (j Job) Series() Series { return Series{j.Kernel.Ref, j.Scenario, j.Source, j.Case} }

// baseRecipe is a part of the key of every saved machine. It changes with what
// one holds, and with what is none: one of 4 may show what the host did to its
// boot.
const baseRecipe = "blockrig base 5"

// baseKey names the saved machine that the job can go on from, by all that it
// depends on.
func (j Job) baseKey() string {
	return keyOf(struct {
		Recipe, Kernel, Initramfs, Append, QEMU string
		Direct                                  bool
		Modules                                 []protocol.Module
		Accel                                   qemu.Accel
		CPUs                                    int
		Setup                                   scenarios.Setup
		Filtered, Removed                       []string
	}{
		baseRecipe, j.Kernel.Digest, j.Initramfs, commandLine(j.Disks), j.QEMU,
		j.Direct, j.Modules, j.Accel, j.CPUs, j.Setup, j.filtered(), j.removed(),
	}) + "-" + strconv.Itoa(j.Boot)
}

// keyOf is the hash of a plain value.
func keyOf(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // there is nothing in it that JSON can't say
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// entropy is what an attempt at the job, counted from 1, gives the guest's
// random pool: trials of one saved machine share its state.
func (j Job) entropy(attempt int) []byte {
	sum := sha512.Sum512(strconv.AppendInt(append([]byte(nil), j.Seed...), int64(attempt), 10))
	return sum[:]
}
