package guest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/protocol"
)

// bootTimes finds in the kernel's log when it unpacked the initramfs
// (init/initramfs.c) and when PID 1 spoke.
func bootTimes() (*protocol.Boot, error) {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/kmsg to read: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	b := &protocol.Boot{}
	buf := make([]byte, 8192)
	for {
		n, err := unix.Read(fd, buf) // a record at a time
		switch {
		case errors.Is(err, unix.EAGAIN):
			return b, nil // all of it read
		case errors.Is(err, unix.EPIPE):
			continue // records were lost: the next read gives the oldest left
		case err != nil:
			return nil, fmt.Errorf("read /dev/kmsg: %w", err)
		}
		takeBootTime(b, string(buf[:n]))
	}
}

// takeBootTime looks at one record: "6,339,1234567,-;Freeing initrd memory: 24576K"
// (Documentation/ABI/testing/dev-kmsg).
func takeBootTime(b *protocol.Boot, record string) {
	head, text, ok := strings.Cut(record, ";")
	f := strings.Split(head, ",")
	if !ok || len(f) < 3 {
		return
	}
	us, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil {
		return
	}
	for _, m := range []struct {
		begins string
		at     *int64
	}{
		{"Trying to unpack rootfs image", &b.UnpackFrom},
		{"Unpacking initramfs", &b.UnpackFrom},
		{"Freeing initrd memory", &b.UnpackTo},
	} {
		if *m.at == 0 && strings.HasPrefix(text, m.begins) {
			*m.at = us
		}
	}
	if _, ours := protocol.ParseGuestLine(text); ours && b.Init == 0 {
		b.Init = us
	}
}
