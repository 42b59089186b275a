package engine

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/scenarios"
)

// Zones is an operation on zones and what it is done to.
type Zones struct {
	Path string // a device's node
	Zone scenarios.Zone
}

// ioctls of a zoned device, include/uapi/linux/blkzoned.h.
const (
	blkReportZone  = 0xc0101282
	blkResetZone   = 0x40101283
	blkGetZoneSize = 0x80041284
	blkOpenZone    = 0x40101286
	blkCloseZone   = 0x40101287
	blkFinishZone  = 0x40101288
)

var zoneRequests = map[string]uintptr{
	"open": blkOpenZone, "close": blkCloseZone, "finish": blkFinishZone, "reset": blkResetZone, "reset-all": blkResetZone,
}

// A zone is struct blk_zone.
type zone struct {
	start, length, pointer uint64 // sectors
	_                      uint8
	condition              uint8
	_                      [6]uint8
	_                      uint64 // capacity
	_                      [24]uint8
}

var zoneConditions = map[uint8]string{
	0: "not-write-pointer", 1: "empty", 2: "implicit-open", 3: "explicit-open", 4: "closed", 0xd: "read-only", 0xe: "full", 0xf: "offline",
}

func (z zone) state() string {
	if name := zoneConditions[z.condition]; name != "" {
		return name
	}
	return fmt.Sprintf("condition %d", z.condition)
}

// Do does it and says what it showed. An error means that it could not be tried.
func (r Zones) Do() (seen scenarios.Observation, err error) {
	fd, err := unix.Open(r.Path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return seen, fmt.Errorf("open %s: %w", r.Path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	call := func(request uintptr, arg unsafe.Pointer) error {
		return again(func() error {
			if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
				return errno
			}
			return nil
		})
	}
	var sectors uint32
	if err := call(blkGetZoneSize, unsafe.Pointer(&sectors)); err != nil || sectors == 0 {
		return seen, errors.Join(fmt.Errorf("%s has no zones", r.Path), err)
	}
	end, err := unix.Seek(fd, 0, unix.SEEK_END)
	if err != nil {
		return seen, fmt.Errorf("size of %s: %w", r.Path, err)
	}
	size, all := int64(sectors)*sectorSize, (end/sectorSize+int64(sectors)-1)/int64(sectors)
	first, count := r.Zone.Zone, r.Zone.Count
	if r.Zone.Do == "reset-all" {
		first, count = 0, all
	}
	if first < 0 || count < 1 || first >= all || count > all-first {
		return seen, fmt.Errorf("%d zones from %d on: %s has %d", count, first, r.Path, all)
	}
	seen.Returned = true
	if request, ok := zoneRequests[r.Zone.Do]; ok {
		begin, stop := first*size/sectorSize, min((first+count)*size, end)/sectorSize
		if err := call(request, unsafe.Pointer(&[2]uint64{uint64(begin), uint64(stop - begin)})); err != nil {
			seen.Errno = ErrnoName(err)
		}
	}
	zones, err := report(call, uint64(first*size/sectorSize), int(count))
	if err != nil && seen.Errno == "" {
		seen.Errno = ErrnoName(err)
	}
	seen.Output, seen.Failed = r.hold(zones, first)
	if len(zones) < int(count) && err == nil {
		seen.Failed = fmt.Sprintf("the report has %d zones of %d", len(zones), count)
	}
	return seen, nil
}

// report asks for zones.
func report(call func(uintptr, unsafe.Pointer) error, sector uint64, count int) ([]zone, error) {
	type head struct {
		sector       uint64
		zones, flags uint32
	}
	const headSize, zoneSize = int(unsafe.Sizeof(head{})), int(unsafe.Sizeof(zone{}))
	if count > math.MaxInt16 {
		count = math.MaxInt16
	}
	mem := make([]uint64, (headSize+count*zoneSize)/8)
	h := (*head)(unsafe.Pointer(&mem[0]))
	*h = head{sector: sector, zones: uint32(count)}
	if err := call(blkReportZone, unsafe.Pointer(h)); err != nil {
		return nil, err
	}
	return unsafe.Slice((*zone)(unsafe.Pointer(&mem[headSize/8])), count)[:min(int(h.zones), count)], nil
}

// hold says what zones are in, and the first one that is not in what it must
// be.
func (r Zones) hold(zones []zone, first int64) (said, failed string) {
	const most = 8
	var lines []string
	for i, z := range zones {
		at := int64(z.pointer-z.start) * sectorSize
		text := fmt.Sprintf("zone %d is %s, its write pointer at %d", first+int64(i), z.state(), at)
		if z.condition == 0 {
			text = fmt.Sprintf("zone %d is %s", first+int64(i), z.state())
		}
		if len(lines) < most {
			lines = append(lines, text)
		}
		want := r.Zone
		wrong := want.Condition != "" && want.Condition != z.state() || want.WritePointer != nil && int64(*want.WritePointer) != at
		if wrong && failed == "" {
			failed = text
			if want.Condition != "" {
				failed += fmt.Sprintf("; it must be %s", want.Condition)
			}
			if want.WritePointer != nil {
				failed += fmt.Sprintf("; the write pointer must be at %d", int64(*want.WritePointer))
			}
		}
	}
	return strings.Join(lines, "; "), failed
}
