package qemu

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// Layout of the qcow2 files that writeQcow2 makes, see docs/interop/qcow2.txt
// of QEMU: one cluster each for header, refcount table and first refcount
// block, then the L1 table.
const (
	qcow2ClusterBits = 16
	qcow2Cluster     = 1 << qcow2ClusterBits
	qcow2HeaderSize  = 104
	// One L1 entry covers an L2 table of cluster/8 entries of a cluster each.
	qcow2L1Covers = qcow2Cluster / 8 * qcow2Cluster
	// Refcounts have 16 bits, so one refcount block counts so many clusters.
	qcow2BlockCounts = qcow2Cluster / 2

	qcow2BackingFormat = 0xE2792ACA // header extension
)

// writeQcow2 writes an empty qcow2 image (version 3, 64 KiB clusters) of size
// bytes. backing, if not "", is the file below it, and format that file's
// format. qemu-img does the same, but takes a process (10 to 30 ms) for it, and a
// warm trial makes one overlay per disk.
func writeQcow2(w io.WriterAt, size int64, backing string, format Format) error {
	l1Entries := (size + qcow2L1Covers - 1) / qcow2L1Covers
	l1Clusters := (l1Entries*8 + qcow2Cluster - 1) / qcow2Cluster
	used := 3 + l1Clusters
	if used > qcow2BlockCounts {
		return fmt.Errorf("%d bytes are too many for a disk", size)
	}

	be := binary.BigEndian
	head := make([]byte, qcow2HeaderSize, 4096)
	copy(head, "QFI\xfb")
	be.PutUint32(head[4:], 3)
	be.PutUint32(head[20:], qcow2ClusterBits)
	be.PutUint64(head[24:], uint64(size))
	be.PutUint32(head[36:], uint32(l1Entries))
	be.PutUint64(head[40:], 3*qcow2Cluster) // L1 table
	be.PutUint64(head[48:], 1*qcow2Cluster) // refcount table
	be.PutUint32(head[56:], 1)              // of one cluster
	be.PutUint32(head[96:], 4)              // refcounts of 1<<4 bits
	be.PutUint32(head[100:], qcow2HeaderSize)
	if backing != "" {
		if len(backing) > 1023 {
			return fmt.Errorf("path of more than 1023 bytes below an overlay: %s", backing)
		}
		head = be.AppendUint32(head, qcow2BackingFormat)
		head = be.AppendUint32(head, uint32(len(format)))
		head = append(head, format...)
		head = append(head, make([]byte, -len(head)&7)...)
	}
	head = append(head, make([]byte, 8)...) // end of extensions
	if backing != "" {
		be.PutUint64(head[8:], uint64(len(head)))
		be.PutUint32(head[16:], uint32(len(backing)))
		head = append(head, backing...)
	}

	table := be.AppendUint64(nil, 2*qcow2Cluster)
	counts := make([]byte, 2*used)
	for i := range used {
		be.PutUint16(counts[2*i:], 1)
	}
	// The last byte gives the file its length; the rest is a hole.
	for _, part := range []struct {
		at   int64
		data []byte
	}{{0, head}, {qcow2Cluster, table}, {2 * qcow2Cluster, counts}, {used*qcow2Cluster - 1, []byte{0}}} {
		if _, err := w.WriteAt(part.data, part.at); err != nil {
			return err
		}
	}
	return nil
}

// diskSize is the size in bytes of the disk in an image.
func diskSize(path string, format Format) (size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if format == Raw {
		return f.Seek(0, io.SeekEnd)
	}
	var head [32]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	if string(head[:4]) != "QFI\xfb" {
		return 0, fmt.Errorf("%s: no qcow2 image", path)
	}
	return int64(binary.BigEndian.Uint64(head[24:])), nil
}
