package layer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/scenarios"
)

var _ = register("partition", func(l scenarios.Layer) kind { return partition{l.Partition} })

// partition is the only one of a GPT.
type partition struct{ *scenarios.Partition }

func (t partition) build(h Host, p *Part) error {
	b, err := p.below()
	if err != nil {
		return err
	}
	if err := h.Self("gpt", b.Node(), strconv.FormatInt(int64(t.Start), 10), strconv.FormatInt(int64(t.Size), 10)); err != nil {
		return err
	}
	return t.appears(h, p, b)
}

func (t partition) assemble(h Host, p *Part) error {
	b, err := p.below()
	if err != nil {
		return err
	}
	if err := h.Self("partitions", b.Node()); err != nil {
		return err
	}
	return t.appears(h, p, b)
}

// appears waits until the kernel shows the partition of b.
func (t partition) appears(h Host, p, b *Part) error {
	ok, err := h.Until(rescanWait, func(time.Duration) (bool, error) {
		files, err := filepath.Glob(filepath.Join(b.Sys(), "*", "partition"))
		if err != nil || len(files) == 0 {
			return false, err
		}
		return p.found(filepath.Base(filepath.Dir(files[0]))) == nil, nil
	})
	if err == nil && !ok {
		err = fmt.Errorf("the kernel shows no partition of %s", b.Node())
	}
	return err
}

// act makes a partition larger, which may be in use.
func (t partition) act(h Host, s *Stack, p *Part, a scenarios.Act) error {
	if a.Do != "grow" {
		return p.cannot(a)
	}
	b, err := p.below()
	if err != nil {
		return err
	}
	if err := h.Self("gpt-grow", b.Node(), strconv.FormatInt(int64(t.Start), 10), strconv.FormatInt(int64(a.Size), 10)); err != nil {
		return err
	}
	if n, err := p.Bytes(); err == nil && a.Size > 0 && n != int64(a.Size) {
		return fmt.Errorf("%s has %d bytes now, not %d", p.Device.Name, n, int64(a.Size))
	}
	return nil
}

func (t partition) prove(p *Part) ([]string, error) {
	sys, err := filepath.EvalSymlinks(p.Sys())
	if err != nil {
		return nil, err
	}
	if disk := filepath.Base(filepath.Dir(sys)); disk != p.On[0].Device.Name {
		return nil, fmt.Errorf("%s is a partition of %s, not of %s", p.Device.Name, disk, p.On[0].Device.Name)
	}
	if err := expectFile(filepath.Join(sys, "start"), strconv.FormatInt(int64(t.Start)/512, 10)); err != nil {
		return nil, err
	}
	if t.Size > 0 {
		if err := expectFile(filepath.Join(sys, "size"), strconv.FormatInt(int64(t.Size)/512, 10)); err != nil {
			return nil, err
		}
	}
	return []string{fmt.Sprintf("%s is %s (%s) of %s", p.Name, p.Device.Name, p.Device, p.On[0].Name)}, nil
}

// Of a GUID partition table (UEFI specification, 5.3).
const (
	gptEntries   = 128
	gptEntrySize = 128
	gptHeader    = 92
)

// blkRereadPartitions is BLKRRPART.
const blkRereadPartitions = 0x125f

// partitionType is that of data, 0FC63DAF-8483-4772-8E79-3D69D8477DE4, in the
// order in which a GUID is written to disk.
var partitionType = [16]byte{0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4}

// writeGPT writes a table with one partition and has the kernel read it.
func writeGPT(a []string) error {
	return withGPT(a, func(f *os.File, _, _ int64) error { return rereadPartitions(f) })
}

// growGPT writes a table in which the partition has another size, and tells the
// kernel of it: it reads no table of a disk that is in use.
func growGPT(a []string) error { return withGPT(a, resizePartition) }

// withGPT writes a table with one partition, from a start on and of a size, 0 for
// all that there is. What is next is given where it then is, in bytes.
func withGPT(a []string, next func(f *os.File, start, length int64) error) (err error) {
	start, err := strconv.ParseInt(a[1], 10, 64)
	if err != nil {
		return err
	}
	length, err := strconv.ParseInt(a[2], 10, 64)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(a[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Seek(0, 2)
	if err != nil {
		return err
	}
	block, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	if err != nil {
		return fmt.Errorf("size of a block: %w", err)
	}
	if length == 0 { // up to the copy of the table
		table := (gptEntries*gptEntrySize + int64(block) - 1) / int64(block)
		length = (size/int64(block)-1-table)*int64(block) - start
	}
	head, tail, err := gpt(size, int64(block), start, length)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(head, 0); err != nil {
		return err
	}
	if _, err := f.WriteAt(tail, size-int64(len(tail))); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return next(f, start, length)
}

// Of linux/blkpg.h.
const (
	blkpg                = 0x1269
	blkpgResizePartition = 3
)

// resizePartition tells the kernel how large the first partition is.
func resizePartition(f *os.File, start, length int64) error {
	part := struct {
		start, length int64
		number        int32
		names         [128]byte
		_             int32
	}{start: start, length: length, number: 1}
	arg := struct {
		op, flags, size int32
		part            unsafe.Pointer
	}{op: blkpgResizePartition, size: int32(unsafe.Sizeof(part)), part: unsafe.Pointer(&part)}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), blkpg, uintptr(unsafe.Pointer(&arg)))
	runtime.KeepAlive(&part)
	if errno != 0 {
		return fmt.Errorf("tell the kernel that the partition of %s has %d bytes: %w", f.Name(), length, errno)
	}
	return nil
}

// readPartitions has the kernel read a table that is there.
func readPartitions(a []string) (err error) {
	f, err := os.OpenFile(a[0], os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return rereadPartitions(f)
}

func rereadPartitions(f *os.File) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), blkRereadPartitions, 0); errno != 0 {
		return fmt.Errorf("have the kernel read the partitions of %s: %w", f.Name(), errno)
	}
	return nil
}

// gpt makes what stands at the beginning and at the end of a disk of size
// bytes that has one partition. A length of 0 is all that there is.
func gpt(size, block, start, length int64) (head, tail []byte, err error) {
	table := (gptEntries*gptEntrySize + block - 1) / block // blocks
	last := size/block - 1
	first, end := 2+table, last-1-table // of what may be used
	from := start / block
	to := end
	if length > 0 {
		to = (start+length)/block - 1
	}
	if start%block != 0 || length%block != 0 {
		return nil, nil, fmt.Errorf("start %d and size %d are no multiples of the %d bytes of a block", start, length, block)
	}
	if from < first || to > end || to < from {
		return nil, nil, fmt.Errorf("blocks %d to %d do not fit: the table leaves %d to %d", from, to, first, end)
	}
	le := binary.LittleEndian
	entries := make([]byte, table*block)
	copy(entries, partitionType[:])
	copy(entries[16:], "blockrig-part-01") // its own GUID
	le.PutUint64(entries[32:], uint64(from))
	le.PutUint64(entries[40:], uint64(to))
	sum := crc32.ChecksumIEEE(entries[:gptEntries*gptEntrySize])
	header := func(mine, other, at int64) []byte {
		b := make([]byte, block)
		copy(b, "EFI PART")
		le.PutUint32(b[8:], 0x10000)
		le.PutUint32(b[12:], gptHeader)
		le.PutUint64(b[24:], uint64(mine))
		le.PutUint64(b[32:], uint64(other))
		le.PutUint64(b[40:], uint64(first))
		le.PutUint64(b[48:], uint64(end))
		copy(b[56:], "blockrig-disk-01")
		le.PutUint64(b[72:], uint64(at))
		le.PutUint32(b[80:], gptEntries)
		le.PutUint32(b[84:], gptEntrySize)
		le.PutUint32(b[88:], sum)
		le.PutUint32(b[16:], crc32.ChecksumIEEE(b[:gptHeader]))
		return b
	}
	head = make([]byte, block, (2+table)*block)
	// The protective MBR: one partition of type 0xEE over the whole disk.
	copy(head[446:], []byte{0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff})
	le.PutUint32(head[454:], 1)
	le.PutUint32(head[458:], uint32(min(last, 0xffffffff)))
	head[510], head[511] = 0x55, 0xaa
	head = append(head, header(1, last, 2)...)
	head = append(head, entries...)
	tail = append(entries[:len(entries):len(entries)], header(last, 1, last-table)...)
	return head, tail, nil
}
