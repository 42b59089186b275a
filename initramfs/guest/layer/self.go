package layer

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/protocol"
)

// Main is what a process of this executable does for a layer. It is a process
// of its own since a mount or a write that hangs in PID 1 could not be told
// from one that is slow.
func Main(args []string) error {
	if len(args) == 0 {
		return errors.New("nothing to do")
	}
	do := map[string]struct {
		args int
		f    func([]string) error
	}{
		"mount":      {4, mount},
		"remount":    {2, remount},
		"umount":     {1, func(a []string) error { return unix.Unmount(a[0], 0) }},
		"trim":       {1, trim},
		"write":      {2, func(a []string) error { return fill(a, writePattern) }},
		"hole":       {2, func(a []string) error { return fill(a, (*os.File).Truncate) }},
		"loop":       {4, attachLoop},
		"gpt":        {3, writeGPT},
		"gpt-grow":   {3, growGPT},
		"partitions": {1, readPartitions},
		"text":       {2, func(a []string) error { return WriteText(a[0], a[1]) }},
	}[args[0]]
	if do.f == nil || len(args)-1 != do.args {
		return fmt.Errorf("%q is not known", args)
	}
	if err := do.f(args[1:]); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}

// mountFlags are the options that are flags of mount(2) and not the file
// system's (mount(8), filesystem-independent mount options).
var mountFlags = map[string]uintptr{
	"ro": unix.MS_RDONLY, "rw": 0, "sync": unix.MS_SYNCHRONOUS, "dirsync": unix.MS_DIRSYNC,
	"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME,
	"strictatime": unix.MS_STRICTATIME, "lazytime": unix.MS_LAZYTIME, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
	"defaults": 0,
}

func mountOptions(options string) (flags uintptr, data string) {
	for o := range splitList(options) {
		f, ok := mountFlags[o]
		if flags |= f; ok {
			continue
		}
		if data != "" {
			data += ","
		}
		data += o
	}
	return flags, data
}

func mount(a []string) error {
	flags, data := mountOptions(a[3])
	return unix.Mount(a[0], a[1], a[2], flags, data)
}

func remount(a []string) error {
	flags, data := mountOptions(a[1])
	return unix.Mount("", a[0], "", flags|unix.MS_REMOUNT, data)
}

// trim discards what a file system does not use (fstrim(8)).
func trim(a []string) error {
	dir, err := os.Open(a[0])
	if err != nil {
		return err
	}
	defer dir.Close()
	return ioctl(dir, fiTrim, &[3]uint64{0, ^uint64(0), 0})
}

func fill(a []string, how func(*os.File, int64) error) (err error) {
	n, err := strconv.ParseInt(a[1], 10, 64)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(a[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := how(f, n); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	unix.Sync()
	return nil
}

func writePattern(f *os.File, n int64) error {
	buf := make([]byte, 256<<10)
	for at := int64(0); at < n; {
		b := buf[:min(int64(len(buf)), n-at)]
		protocol.Fill(b, 0, at)
		if _, err := f.Write(b); err != nil {
			return err
		}
		at += int64(len(b))
	}
	return nil
}

// WriteText writes a text to a file that is there, in one write.
func WriteText(path, text string) (err error) {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if n, err := unix.Write(fd, []byte(text)); err != nil {
		return fmt.Errorf("write %q to %s: %w", text, path, err)
	} else if n != len(text) {
		return fmt.Errorf("write %q to %s: only %d bytes were taken", text, path, n)
	}
	return nil
}
