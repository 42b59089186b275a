package layer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The device-mapper ioctl interface, include/uapi/linux/dm-ioctl.h. PID 1
// speaks it itself: dmsetup(8) would cost a fork, an exec and a dynamic link
// for every look at a table.

const (
	dmStructSize  = 312                // sizeof(struct dm_ioctl)
	dmTableStatus = 0xC138FD00 | 12    // _IOWR(0xfd, 12, struct dm_ioctl)
	dmFlagTable   = 1 << 4             // DM_STATUS_TABLE_FLAG: the table, not the status
	dmFlagFull    = 1 << 8             // DM_BUFFER_FULL_FLAG
	dmFlagNoFlush = 1 << 11            // DM_NOFLUSH_FLAG: a status that does not commit or wait
	dmTargetSize  = 8 + 8 + 4 + 4 + 16 // sizeof(struct dm_target_spec)
	dmBufferSize  = 64 << 10           // ours
	dmControl     = "/dev/mapper/control"
)

type dmHeader struct {
	Version     [3]uint32
	DataSize    uint32
	DataStart   uint32
	TargetCount uint32
	OpenCount   int32
	Flags       uint32
	EventNr     uint32
	Padding     uint32
	Dev         uint64
	Name        [128]byte
	UUID        [129]byte
	Data        [7]byte
}

// dmTarget is one line of a dm table or status.
type dmTarget struct {
	start, length uint64 // sectors of 512 bytes
	kind          string // mirror, linear, raid
	params        string
}

func (t dmTarget) String() string {
	return fmt.Sprintf("%d %d %s %s", t.start, t.length, t.kind, t.params)
}

// dmTargets gives the table (or, without table, the status) of a device.
func dmTargets(devno uint64, table bool) ([]dmTarget, error) {
	fd, err := unix.Open(dmControl, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dmControl, err)
	}
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, dmBufferSize)
	h := dmHeader{
		Version: [3]uint32{4, 0, 0}, DataSize: dmBufferSize, DataStart: dmStructSize,
		Flags: dmFlagNoFlush, Dev: hugeDev(devno),
	}
	if table {
		h.Flags |= dmFlagTable
	}
	if _, err := binary.Encode(buf, binary.NativeEndian, &h); err != nil {
		return nil, fmt.Errorf("build a dm ioctl: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), dmTableStatus, uintptr(unsafe.Pointer(&buf[0]))); errno != 0 {
		return nil, fmt.Errorf("dm table status: %w", errno)
	}
	return parseDM(buf)
}

// hugeDev is the kernel's huge_encode_dev, which for these numbers is that of
// glibc's makedev too.
func hugeDev(devno uint64) uint64 { return devno }

func parseDM(buf []byte) ([]dmTarget, error) {
	var h dmHeader
	if _, err := binary.Decode(buf, binary.NativeEndian, &h); err != nil {
		return nil, fmt.Errorf("read the dm answer: %w", err)
	}
	if h.Flags&dmFlagFull != 0 {
		return nil, errors.New("dm table status: the answer does not fit")
	}
	if int(h.DataStart) > len(buf) {
		return nil, errors.New("dm table status: the answer is cut")
	}
	data := buf[h.DataStart:]
	var out []dmTarget
	at := 0
	for range h.TargetCount {
		if at+dmTargetSize > len(data) {
			return nil, errors.New("dm table status: the answer is cut")
		}
		t := data[at:]
		next := int(binary.NativeEndian.Uint32(t[20:]))
		end := bytes.IndexByte(t[dmTargetSize:], 0)
		if end < 0 || next < dmTargetSize {
			return nil, errors.New("dm table status: the answer is cut")
		}
		out = append(out, dmTarget{
			start:  binary.NativeEndian.Uint64(t),
			length: binary.NativeEndian.Uint64(t[8:]),
			kind:   unix.ByteSliceToString(t[24:40]),
			params: strings.TrimSpace(string(t[dmTargetSize : dmTargetSize+end])),
		})
		at = next // from the start of the data
	}
	return out, nil
}

// fiTrim is FITRIM, _IOWR('X', 121, struct fstrim_range).
const fiTrim = 0xC0185879

// ioctl is one whose argument is a struct.
func ioctl[T any](f interface{ Fd() uintptr }, request uintptr, arg *T) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(arg))); errno != 0 {
		return fmt.Errorf("ioctl %#x: %w", request, errno)
	}
	return nil
}

// splitList gives the parts of a list with commas that are not empty.
func splitList(s string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for part := range strings.SplitSeq(s, ",") {
			if part != "" && !yield(part) {
				return
			}
		}
	}
}
