// Package decompress picks a decompressor by a file name's suffix. What a file
// can make it allocate is bounded; how much comes out is for the caller to
// bound.
package decompress

import (
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"
	"github.com/ulikunitz/xz/lzma"
)

// maxWindow is the largest dictionary or window that a file may ask for, in
// bytes: zstd --ultra uses up to 128 MiB, xz -9 64 MiB.
const maxWindow = 128 << 20

// Reader gives what r holds, decompressed as suffix says: .xz, .zst, .gz,
// .bz2, .lzma, .lz4, or "" for nothing to do. Closing it does not close r.
func Reader(suffix string, r io.Reader) (io.ReadCloser, error) {
	var (
		out io.Reader
		err error
	)
	switch suffix {
	case "":
		out = r
	case ".gz":
		return gzip.NewReader(r)
	case ".xz":
		// Not ulikunitz/xz: that allocates what a file asks for, up to 4 GiB,
		// and lacks the x86 filter that kernel images are packed with.
		out, err = xz.NewReader(r, maxWindow)
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case ".bz2":
		out = bzip2.NewReader(r)
	case ".lzma":
		out, err = lzmaReader(r)
	case ".lz4":
		out = lz4.NewReader(r)
	default:
		err = fmt.Errorf("compression %q is not known", strings.TrimPrefix(suffix, "."))
	}
	return io.NopCloser(out), err
}

// lzmaReader checks the dictionary that the header names before it is
// allocated.
func lzmaReader(r io.Reader) (io.Reader, error) {
	head := make([]byte, lzma.HeaderLen)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	if size := uint32(head[1]) | uint32(head[2])<<8 | uint32(head[3])<<16 | uint32(head[4])<<24; size > maxWindow {
		return nil, fmt.Errorf("lzma: a dictionary of %d bytes is too large", size)
	}
	return lzma.NewReader(io.MultiReader(strings.NewReader(string(head)), r))
}

// File is Reader for a file of at most so many bytes unpacked. The file is
// closed with it, and at once when there is an error.
func File(suffix string, f io.ReadCloser, most int64) (io.ReadCloser, error) {
	r, err := Reader(suffix, bufio.NewReader(f))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return file{AtMost(r, most), r, f}, nil
}

type file struct {
	io.Reader
	unpacked, packed io.Closer
}

func (f file) Close() error { return errors.Join(f.unpacked.Close(), f.packed.Close()) }

// AtMost gives what r gives; more than so many bytes are an error.
func AtMost(r io.Reader, most int64) io.Reader { return &atMost{r, most, most} }

type atMost struct {
	r          io.Reader
	left, most int64
}

func (a *atMost) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	if a.left -= int64(n); a.left < 0 {
		return 0, fmt.Errorf("it unpacks to more than %d bytes", a.most)
	}
	return n, err
}
