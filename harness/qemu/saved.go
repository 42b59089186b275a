package qemu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// Files in a folder made by Save. Disks are named by diskFile.
const (
	savedMachine = "machine.json"
	savedState   = "state" // of CPUs and devices, a QEMU migration stream
	savedRAM     = "ram"   // flat, sparse; mapped copy-on-write
)

// savedLayout changes whenever a folder of another layout, or of a machine
// with other devices, can no longer be read.
const savedLayout = 2

// A saved machine is what machine.json holds: all that a machine must have in
// common with the one it continues.
type saved struct {
	Layout    int    `json:"layout"`
	QEMU      string `json:"qemu"` // version; a stream is for the same one only
	Accel     Accel  `json:"accel"`
	CPU       string `json:"cpu"` // model
	CPUs      int    `json:"cpus"`
	MemoryMiB int    `json:"memory_mib"`
	Disks     []Disk `json:"disks"` // Path is inside the folder

	// For people.
	Kernel string `json:"kernel"`
	Initrd string `json:"initrd,omitempty"`
	Append string `json:"append,omitempty"`
}

func diskFile(d Disk) string { return "disk-" + d.ID + "." + string(d.Format) }

// readSaved reads what a saved folder says of itself. That nothing in it has
// rotted is cachedir's care.
func readSaved(root *os.Root) (saved, error) {
	var s saved
	f, err := root.Open(savedMachine)
	if err != nil {
		return s, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return s, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return s, fmt.Errorf("%s: %w", savedMachine, err)
	}
	if s.Layout != savedLayout {
		return s, fmt.Errorf("layout %d, want %d", s.Layout, savedLayout)
	}
	for _, name := range s.files() {
		info, err := root.Lstat(name)
		switch {
		case err != nil:
			return s, err
		case !info.Mode().IsRegular():
			return s, fmt.Errorf("%s: not a regular file", name)
		case name == savedRAM && info.Size() != int64(s.MemoryMiB)<<20:
			return s, fmt.Errorf("%s: %d bytes for %d MiB", name, info.Size(), s.MemoryMiB)
		}
	}
	for _, d := range s.Disks {
		if err := d.check(); err != nil {
			return s, fmt.Errorf("%s: a disk that none of ours can be: %w", savedMachine, err)
		}
	}
	return s, nil
}

// files are the names of all files but machine.json.
func (s *saved) files() []string {
	names := []string{savedState, savedRAM}
	for _, d := range s.Disks {
		names = append(names, diskFile(d))
	}
	return names
}
