// Package decompress picks a decompressor by a file name's suffix.
package decompress

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// maxWindow is the largest zstd window a file may ask for. zstd --ultra uses
// up to 128 MiB.
const maxWindow = 128 << 20

// Reader gives what r holds, decompressed as suffix says: .xz, .zst, .gz, or
// "" for nothing to do. Closing it does not close r.
func Reader(suffix string, r io.Reader) (io.ReadCloser, error) {
	switch suffix {
	case "":
		return io.NopCloser(r), nil
	case ".gz":
		return gzip.NewReader(r)
	case ".xz":
		// DictCap is the least that is allocated, for every file; larger
		// dictionaries are taken as the file says.
		x, err := xz.ReaderConfig{DictCap: lzma.MinDictCap}.NewReader(r)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(x), nil
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("compression %q is not known", strings.TrimPrefix(suffix, "."))
}

// File is Reader for a file, which is closed with it, and at once when there
// is an error.
func File(suffix string, f io.ReadCloser) (io.ReadCloser, error) {
	r, err := Reader(suffix, f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return file{r, f}, nil
}

type file struct {
	io.ReadCloser
	source io.Closer
}

func (f file) Close() error { return errors.Join(f.ReadCloser.Close(), f.source.Close()) }
