package qemu

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strconv"
)

// DefaultBinary is looked up in PATH when Spec.Binary is "".
const DefaultBinary = "qemu-system-x86_64"

// A Spec describes one machine: either all of it, or From.
type Spec struct {
	Binary    string // "" for DefaultBinary
	Accel     Accel
	CPUs      int
	MemoryMiB int

	Kernel string // bzImage, or an ELF vmlinux with a PVH entry
	Initrd string // "" for none
	Append string // kernel command line

	// Disks that QEMU writes to. Those of AHCI are on its ports 0, 1, …, the
	// seventh on a further controller.
	Disks []Disk

	// Dir is a folder of the caller's for this machine's files, made by
	// blockrig.
	Dir string

	// From is a folder made by Save. The machine continues where that one was
	// saved: accelerator, CPUs, memory, kernel and disks are that one's, and
	// must not be given. What it writes to its disks goes to overlays in Dir; the
	// folder stays as it is, and any number of machines can start from it.
	From string

	// Filter names disks of the saved machine that get a filter (see Disk), those
	// that it was saved with besides: to the guest it makes no difference.
	Filter []string

	// Paused leaves the virtual CPUs stopped until Cont.
	Paused bool

	Log *slog.Logger // nil for none
}

// check says what is wrong with s, as far as that can be told without QEMU,
// and makes s complete.
func (s *Spec) check() error {
	if s.Binary == "" {
		s.Binary = DefaultBinary
	}
	path, err := exec.LookPath(s.Binary)
	if err != nil {
		return fmt.Errorf("QEMU is missing (Debian: apt install qemu-system-x86): %w", err)
	}
	if s.Binary, err = filepath.Abs(path); err != nil {
		return err
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Dir == "" {
		return errors.New("no folder for the machine's files")
	}
	if s.Dir, err = filepath.Abs(s.Dir); err != nil {
		return err
	}
	if s.From != "" {
		if s.Accel != "" || s.CPUs != 0 || s.MemoryMiB != 0 || s.Kernel != "" || s.Initrd != "" || s.Append != "" || len(s.Disks) > 0 {
			return errors.New("a machine that starts from a saved one has everything from there")
		}
		s.From, err = filepath.Abs(s.From)
		return err
	}
	if len(s.Filter) > 0 {
		return errors.New("the disks of a new machine say themselves which have a filter")
	}
	if s.Accel != KVM && s.Accel != TCG {
		return fmt.Errorf("accelerator %q: want kvm or tcg", s.Accel)
	}
	if s.CPUs < 1 || s.CPUs > 255 {
		return fmt.Errorf("%d CPUs: want 1 to 255", s.CPUs)
	}
	if s.MemoryMiB < 16 || s.MemoryMiB > 1<<20 {
		return fmt.Errorf("%d MiB of memory: want 16 to 1048576", s.MemoryMiB)
	}
	return errors.Join(s.checkKernel(), s.checkDisks())
}

func (s *Spec) checkKernel() error {
	for _, f := range []struct {
		what string
		path *string
	}{{"kernel", &s.Kernel}, {"initrd", &s.Initrd}} {
		if *f.path == "" {
			if f.what == "kernel" {
				return errors.New("no kernel")
			}
			continue
		}
		abs, err := filepath.Abs(*f.path)
		if err != nil {
			return err
		}
		*f.path = abs
		if err := checkRegular(abs); err != nil {
			return fmt.Errorf("%s: %w", f.what, err)
		}
	}
	return nil
}

func (s *Spec) checkDisks() error {
	disks := make([]Disk, len(s.Disks)) // the caller's stay as they are
	ids, serials := map[string]bool{}, map[string]bool{}
	for i, d := range s.Disks {
		if err := d.check(); err != nil {
			return fmt.Errorf("disk %s: %w", cmp.Or(d.ID, strconv.Itoa(i)), err)
		}
		if ids[d.ID] {
			return fmt.Errorf("two disks have the ID %s", d.ID)
		}
		if serials[d.Serial] {
			return fmt.Errorf("two disks have the serial %s", d.Serial)
		}
		ids[d.ID], serials[d.Serial] = true, true
		abs, err := filepath.Abs(d.Path)
		if err != nil {
			return err
		}
		if err := checkRegular(abs); err != nil {
			return fmt.Errorf("disk %s: %w", d.ID, err)
		}
		if d.LogicalBlockSize != 0 {
			size, err := diskSize(abs, d.Format)
			if err == nil && size%int64(d.LogicalBlockSize) != 0 {
				err = fmt.Errorf("%d bytes are no multiple of its logical block of %d", size, d.LogicalBlockSize)
			}
			if err != nil {
				return fmt.Errorf("disk %s: %w", d.ID, err)
			}
		}
		d.Path = abs
		disks[i] = d
	}
	s.Disks = disks
	if n := newSlots(s.Disks).used; n > freeSlots {
		return fmt.Errorf("%d disks need %d slots of the PCI bus, which has %d", len(disks), n, freeSlots)
	}
	return nil
}

// Descriptors that QEMU inherits, beside its standard ones, which are the console.
const (
	fdControl = 3 + iota
	fdQMP
	fdRAM
	fdState // of a machine from a saved one
)

// filterFD is the descriptor of the connection over which the image of disk i
// is served, if it is.
func (s *Spec) filterFD(i int) int {
	fd := fdState
	if s.From != "" {
		fd++
	}
	for _, d := range s.Disks[:i] {
		if d.filtered() {
			fd++
		}
	}
	return fd
}

// devices are all parts of the machine, in the order of the command line.
func (s *Spec) devices() []device {
	parts := []device{
		bareMachine{},
		sandbox{},
		stayDown{},
		processor{accel: s.Accel, cpus: s.CPUs},
		memory{mib: s.MemoryMiB, fd: fdRAM, shared: s.From == ""},
		qmpPort{fd: fdQMP},
		console{},
		serialPort{id: "ttyS1", fd: fdControl},
	}
	if s.From == "" {
		parts = append(parts, linux{kernel: s.Kernel, initrd: s.Initrd, cmdline: s.Append})
	} else {
		parts = append(parts, fromState{})
	}
	slots := newSlots(s.Disks)
	for i, d := range s.Disks {
		parts = append(parts, image{d, s.filterFD(i)}, slots.of[i])
	}
	if s.Paused || s.From != "" {
		parts = append(parts, waitForCont{})
	}
	return parts
}

// args is QEMU's command line without its name.
func (s *Spec) args() []string {
	var args []string
	for _, d := range s.devices() {
		args = append(args, d.Cmdline()...)
	}
	return args
}
