package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A layer holds some of a disk's sectors.
type layer struct {
	file  *os.File
	holds *sectorSet // nil: all
	users atomic.Int32
}

func (l *layer) release() error {
	if l.users.Add(-1) > 0 {
		return nil
	}
	return l.file.Close()
}

// layers are a disk's content: what the highest of them that holds a sector
// has there.
type layers []*layer

// openImage opens a raw image that nobody else may use, for writing.
func openImage(path string) (layers, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	// QEMU's own locks on images are of this kind.
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s, which another machine uses: %w", path, err), f.Close())
	}
	return single(f), nil
}

// openOverlay opens a raw image that many may use, and a layer over it.
func openOverlay(path, dir string) (layers, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	below := single(f)
	all, err := below.add(dir)
	if err != nil {
		return nil, errors.Join(err, below.release())
	}
	return all, nil
}

func single(f *os.File) layers {
	l := &layer{file: f}
	l.users.Store(1)
	return layers{l}
}

// add puts an empty layer on top; those below are not written from then on.
// Its file has no name: nothing of it can stay behind.
func (ls layers) add(dir string) (layers, error) {
	f, err := os.CreateTemp(dir, "layer-")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Remove(f.Name()), f.Truncate(ls.size())); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	top := &layer{file: f, holds: &sectorSet{}}
	top.users.Store(1)
	return append(ls[:len(ls):len(ls)], top), nil
}

// keep gives the same layers to one more user.
func (ls layers) keep() layers {
	for _, l := range ls {
		l.users.Add(1)
	}
	return ls
}

func (ls layers) release() error {
	var errs []error
	for _, l := range ls {
		errs = append(errs, l.release())
	}
	return errors.Join(errs...)
}

// size in bytes of the disk.
func (ls layers) size() int64 {
	info, err := ls[0].file.Stat()
	if err != nil {
		return 0 // a descriptor that is open can be asked
	}
	return info.Size()
}

// read fills p with what is at offset. Both are multiples of a sector.
func (ls layers) read(p []byte, offset int64) error {
	for len(p) > 0 {
		from, n := ls.run(offset, int64(len(p)))
		if _, err := from.file.ReadAt(p[:n], offset); err != nil {
			return err
		}
		p, offset = p[n:], offset+n
	}
	return nil
}

// run says which layer holds what is at offset, and for how many bytes, at
// most limit, that is so.
func (ls layers) run(offset, limit int64) (*layer, int64) {
	holder := func(at int64) *layer {
		for i := len(ls) - 1; i > 0; i-- {
			if ls[i].holds.has(at / SectorSize) {
				return ls[i]
			}
		}
		return ls[0]
	}
	if len(ls) == 1 {
		return ls[0], limit
	}
	first := holder(offset)
	n := int64(SectorSize)
	for n < limit && holder(offset+n) == first {
		n += SectorSize
	}
	return first, min(n, limit)
}

// write puts p at offset, into the top layer.
func (ls layers) write(p []byte, offset int64) error {
	top := ls[len(ls)-1]
	if _, err := top.file.WriteAt(p, offset); err != nil {
		return err
	}
	top.add(offset, int64(len(p)))
	return nil
}

// zero makes length bytes at offset zero, in the top layer.
func (ls layers) zero(offset, length int64) error {
	top := ls[len(ls)-1]
	if length == 0 {
		return nil
	}
	err := unix.Fallocate(int(top.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, length)
	if errors.Is(err, unix.EOPNOTSUPP) {
		zeros := make([]byte, min(length, 1<<20))
		for done := int64(0); done < length && (done == 0 || err == nil); done += int64(len(zeros)) {
			_, err = top.file.WriteAt(zeros[:min(int64(len(zeros)), length-done)], offset+done)
		}
	}
	if err != nil {
		return err
	}
	top.add(offset, length)
	return nil
}

func (l *layer) add(offset, length int64) {
	if l.holds != nil {
		l.holds.add(offset/SectorSize, (offset+length)/SectorSize)
	}
}

// copyTo writes the content into an empty file.
func (ls layers) copyTo(ctx context.Context, out *os.File) error {
	if err := copySparse(ctx, out, ls[0].file); err != nil {
		return err
	}
	return ls.merge(ctx, layers{{file: out}})
}

// merge writes what the layers over the lowest hold to another disk.
func (ls layers) merge(ctx context.Context, into layers) error {
	buf := make([]byte, 1<<20)
	for _, l := range ls[1:] {
		for from, to := range l.holds.runs {
			for at, end := from*SectorSize, to*SectorSize; at < end; {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				n := min(end-at, int64(len(buf)))
				if _, err := l.file.ReadAt(buf[:n], at); err != nil {
					return err
				}
				if err := into.write(buf[:n], at); err != nil {
					return err
				}
				at += n
			}
		}
	}
	return nil
}

// flatten has the lowest layer hold all, which must be one for writing.
func (ls layers) flatten(ctx context.Context) error { return ls.merge(ctx, ls[:1]) }
