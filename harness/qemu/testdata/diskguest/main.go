// Command diskguest is the /init of the tests that need a real kernel: it does
// to disks what it is told over ttyS1, one JSON object a line, many at a time.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// modules are set by the linker: paths in the order to load them.
var modules string

type command struct {
	ID     int
	Do     string // attr, read, write, flush, discard, put, gone
	Disk   string // serial number
	Name   string // of an attribute, or of a file
	Offset int64
	Length int
	Byte   byte
	Sync   bool // O_DSYNC
}

type answer struct {
	ID    int
	Text  string
	Errno string
	MS    int64
}

func main() {
	for _, m := range []struct{ kind, at string }{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}} {
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			fmt.Println("mount", m.at, err)
		}
	}
	line, err := os.OpenFile("/dev/ttyS1", os.O_RDWR, 0)
	if err == nil {
		err = raw(line)
	}
	if err == nil {
		err = loadModules()
	}
	if err != nil {
		fmt.Println(err)
		return // the kernel panics, which the test sees
	}
	var saying sync.Mutex
	enc := json.NewEncoder(line)
	say := func(a answer) {
		saying.Lock()
		defer saying.Unlock()
		if err := enc.Encode(a); err != nil {
			fmt.Println(err)
		}
	}
	say(answer{Text: "ready"})
	dec := json.NewDecoder(line)
	for {
		var c command
		if err := dec.Decode(&c); err != nil {
			fmt.Println(err)
			return
		}
		go func() {
			start := time.Now()
			text, err := carryOut(c)
			a := answer{ID: c.ID, Text: text, MS: time.Since(start).Milliseconds()}
			if err != nil {
				a.Errno = err.Error()
				if e := syscall.Errno(0); errors.As(err, &e) {
					a.Errno = unix.ErrnoName(e)
				}
			}
			say(a)
		}()
	}
}

// raw has the line carry bytes as they are.
func raw(f *os.File) error {
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	return unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t)
}

func loadModules() error {
	for _, path := range strings.FieldsFunc(modules, func(r rune) bool { return r == ',' }) {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		if err := f.Close(); err != nil {
			return err
		}
		if err != nil && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	return nil
}

// find gives the name of the disk with that serial number, now.
func find(serial string) string {
	disks, _ := filepath.Glob("/sys/block/*")
	for _, d := range disks {
		for _, name := range []string{"serial", "device/serial", "device/vpd_pg80"} {
			if text, err := os.ReadFile(filepath.Join(d, name)); err == nil && strings.TrimSpace(strings.Trim(string(text[min(len(text), 4*strings.Count(name, "vpd")):]), "\x00 \n")) == serial {
				return filepath.Base(d)
			}
		}
	}
	return ""
}

// openDisk opens a disk, which has its folder in sysfs a moment before it can be
// opened.
func openDisk(disk string, flags int) (int, error) {
	start := time.Now()
	for {
		fd, err := unix.Open("/dev/"+disk, flags, 0)
		if !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.ENOENT) || time.Since(start) > 10*time.Second {
			return fd, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func carryOut(c command) (string, error) {
	disk := find(c.Disk)
	for start := time.Now(); (disk == "") != (c.Do == "gone") && time.Since(start) < 60*time.Second; disk = find(c.Disk) {
		time.Sleep(20 * time.Millisecond)
	}
	if c.Do == "gone" {
		if disk != "" {
			return "", errors.New("it is still there")
		}
		return "", nil
	}
	if disk == "" {
		return "", fmt.Errorf("no disk %s", c.Disk)
	}
	attribute := filepath.Join("/sys/block", disk, c.Name)
	switch c.Do {
	case "log": // lines of 80 bytes with their numbers
		for i := range c.Length {
			line := fmt.Sprintf("<0>line %05d %s\n", i, strings.Repeat(".", 69))
			if err := os.WriteFile("/dev/kmsg", []byte(line), 0); err != nil {
				return "", err
			}
		}
		return "", nil
	case "attr":
		text, err := os.ReadFile(attribute)
		return strings.TrimSpace(string(text)), err
	case "put":
		return "", os.WriteFile(attribute, []byte{c.Byte}, 0)
	}
	flags := unix.O_RDWR | unix.O_DIRECT
	if c.Sync {
		flags |= unix.O_DSYNC
	}
	fd, err := openDisk(disk, flags)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf, err := unix.Mmap(-1, 0, max(c.Length, 4096), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return "", err
	}
	defer unix.Munmap(buf)
	buf = buf[:c.Length]
	switch c.Do {
	case "write":
		copy(buf, bytes.Repeat([]byte{c.Byte}, c.Length))
		_, err = unix.Pwrite(fd, buf, c.Offset)
		return "", err
	case "read":
		if _, err := unix.Pread(fd, buf, c.Offset); err != nil {
			return "", err
		}
		return runs(buf), nil
	case "flush":
		return "", unix.Fsync(fd)
	case "discard":
		span := [2]uint64{uint64(c.Offset), uint64(c.Length)}
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKDISCARD, uintptr(unsafe.Pointer(&span))); e != 0 {
			return "", e
		}
		return "", nil
	case "many": // reads of one block, one after the other
		for range c.Length / 4096 {
			if _, err := unix.Pread(fd, buf[:4096], c.Offset); err != nil {
				return "", err
			}
		}
		return "", nil
	}
	return "", fmt.Errorf("command %q", c.Do)
}

// runs says what is in buf: "512a 512b".
func runs(buf []byte) string {
	var all []string
	for len(buf) > 0 {
		n := 1
		for n < len(buf) && buf[n] == buf[0] {
			n++
		}
		all = append(all, fmt.Sprintf("%d%c", n, max(buf[0], '0')))
		buf = buf[n:]
		if len(all) > 20 {
			return strings.Join(all, " ") + " …"
		}
	}
	return strings.Join(all, " ")
}
