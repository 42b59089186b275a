package engine

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// A Look is a sector of a file or device that has wrong bytes, and the places
// that it comes from.
type Look struct {
	At         int64             // of the sector in the file or device, bytes
	Size       int64             // of that, bytes
	Generation uint32            // the last one of any write
	Data       []protocol.Extent // what may stand there
	Places     []Place
}

// A Place is a sector on a device.
type Place struct {
	Path   string // node
	Offset int64  // bytes
}

// Do says of each place what it holds, past the kernel's memory: that it is
// right, or what stands there; "" where it can't be read.
func (l Look) Do() ([]string, error) {
	// A disk may want whole blocks of 4096 bytes.
	buf, err := unix.Mmap(-1, 0, int(page), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map a buffer: %w", err)
	}
	defer func() { _ = unix.Munmap(buf) }()
	out := make([]string, len(l.Places))
	for i, p := range l.Places {
		sector, err := p.read(buf)
		if err != nil {
			continue // it answers with an error, which is a finding of its own
		}
		o := oracle{l.Data, l.Generation, l.Size}
		if wrong, kind := o.check(sector, l.At); wrong >= 0 {
			out[i] = kind
		} else {
			out[i] = scenarios.HoldsRight
		}
	}
	return out, nil
}

func (p Place) read(buf []byte) (_ []byte, err error) {
	fd, err := unix.Open(p.Path, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	begin := p.Offset / page * page
	n, err := unix.Pread(fd, buf, begin)
	if err != nil {
		return nil, err
	}
	from := int(p.Offset - begin)
	if n < from+sectorSize {
		return nil, fmt.Errorf("%s ends at byte %d", p.Path, begin+int64(n))
	}
	return buf[from : from+sectorSize], nil
}
