package layer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/scenarios"
)

var _ = register("loop", func(l scenarios.Layer) kind { return loop{l.Loop} })

// loop is a loop device over a file or a device.
type loop struct{ *scenarios.Loop }

func (l loop) build(h Host, p *Part) error {
	b, err := p.below()
	if err != nil {
		return err
	}
	size := max(512, l.BlockSize)
	if err := h.Self("loop", strconv.Itoa(p.number), b.Path, strconv.FormatBool(l.Direct), strconv.Itoa(size)); err != nil {
		return err
	}
	return p.found("loop" + strconv.Itoa(p.number))
}

// attachLoop does what losetup(8) does.
func attachLoop(a []string) error {
	number, err := strconv.Atoi(a[0])
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(a[3])
	if err != nil {
		return err
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer control.Close()
	// It may be there already.
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), unix.LOOP_CTL_ADD, uintptr(number)); errno != 0 && !errors.Is(errno, unix.EEXIST) {
		return fmt.Errorf("add a loop device: %w", errno)
	}
	dev, err := os.OpenFile("/dev/loop"+a[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer dev.Close()
	below, err := os.OpenFile(a[1], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer below.Close()
	config := unix.LoopConfig{Fd: uint32(below.Fd()), Size: uint32(size)}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], a[1])
	if a[2] == "true" {
		config.Info.Flags = unix.LO_FLAGS_DIRECT_IO
	}
	if err := unix.IoctlLoopConfigure(int(dev.Fd()), &config); err != nil {
		return fmt.Errorf("configure loop%d: %w", number, err)
	}
	return nil
}

func (l loop) prove(p *Part) ([]string, error) {
	sys := filepath.Join("/sys/block", p.Device.Name)
	file := p.On[0].Path
	got, err := ReadText(filepath.Join(sys, "loop/backing_file"))
	if err != nil {
		return nil, err
	}
	if got != file && got != strings.TrimPrefix(file, "/dev") { // the kernel's own view of devtmpfs
		return nil, fmt.Errorf("%s is over %q, not %s", p.Device.Name, got, file)
	}
	if err := expectFile(filepath.Join(sys, "loop/dio"), map[bool]string{false: "0", true: "1"}[l.Direct]); err != nil {
		return nil, err
	}
	if err := expectFile(filepath.Join(sys, "queue/logical_block_size"), strconv.Itoa(max(512, l.BlockSize))); err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("%s is %s (%s) over %s, direct %t", p.Name, p.Device.Name, p.Device, file, l.Direct)}, nil
}
