package cachedir

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	chunk = 1 << 20   // bytes that one CRC is of
	piece = 128 << 10 // bytes read at once: what fits a processor's own cache
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli) // amd64 and arm64 have instructions for it
	zeroSum    = crc32.Checksum(make([]byte, chunk), castagnoli)
	buffers    = sync.Pool{New: func() any { return new([piece]byte) }}
)

// workers is how many processors checksums may take: all but one, on which
// QEMU loads what is being checked.
func workers() int { return max(1, runtime.GOMAXPROCS(0)-1) }

// sumFile is the checksum of a file of so many bytes. Holes are not read, and
// count as the zeros that they are.
func sumFile(ctx context.Context, f *os.File, size int64) (string, error) {
	n := int((size + chunk - 1) / chunk)
	sums := make([]byte, 4*n)
	var next atomic.Int64 // chunk to read
	group, ctx := errgroup.WithContext(ctx)
	for range min(n, workers()) {
		group.Go(func() error {
			buf := buffers.Get().(*[piece]byte)
			defer buffers.Put(buf)
			for {
				i := next.Add(1) - 1
				if i >= int64(n) {
					return nil
				}
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				sum, err := sumChunk(f, buf[:], i*chunk, min((i+1)*chunk, size))
				if err != nil {
					return err
				}
				binary.BigEndian.PutUint32(sums[4*i:], sum)
			}
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	all := sha256.Sum256(sums)
	return hex.EncodeToString(all[:12]), nil
}

func sumChunk(f *os.File, buf []byte, from, to int64) (sum uint32, err error) {
	if to-from == chunk {
		data, err := seekData(f, from)
		if errors.Is(err, unix.ENXIO) || err == nil && data >= to {
			return zeroSum, nil
		}
	}
	for from < to {
		n, err := f.ReadAt(buf[:min(piece, to-from)], from)
		if errors.Is(err, io.EOF) && n == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		sum = crc32.Update(sum, castagnoli, buf[:n])
		from += int64(n)
	}
	return sum, nil
}

// seekData is where the next data is. File systems without holes say: here.
func seekData(f *os.File, at int64) (data int64, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := conn.Control(func(fd uintptr) { data, err = unix.Seek(int(fd), at, unix.SEEK_DATA) })
	return data, errors.Join(cerr, err)
}
