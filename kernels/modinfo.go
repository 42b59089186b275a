package kernels

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxModule bounds what a module may unpack to: the largest of Debian's has
// about 10 MiB, one with debug information a few hundred.
const maxModule = 1 << 30

// maxDict is the largest dictionary (window) a compressed module may ask for.
const maxDict = 128 << 20

// moduleSuffixes are the names that modprobe(8) knows.
var moduleSuffixes = []string{".ko", ".ko.xz", ".ko.zst", ".ko.gz"}

// moduleName gives the kernel's name of a module file, "" when it is none.
func moduleName(file string) string {
	for _, suffix := range moduleSuffixes {
		if name, ok := strings.CutSuffix(file, suffix); ok {
			return normalise(name)
		}
	}
	return ""
}

// normalise makes names equal that differ in - and _ only (modprobe(8)).
func normalise(name string) string { return strings.ReplaceAll(name, "-", "_") }

// unpackModule decompresses as the file's name says.
func unpackModule(name string, r io.ReadCloser) (io.ReadCloser, error) {
	switch {
	case strings.HasSuffix(name, ".xz"):
		x, err := xz.ReaderConfig{DictCap: maxDict}.NewReader(r)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		return unpacking{x, func() error { return nil }, r}, nil
	case strings.HasSuffix(name, ".zst"):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxDict))
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		return unpacking{z, func() error { z.Close(); return nil }, r}, nil
	case strings.HasSuffix(name, ".gz"):
		g, err := gzip.NewReader(r)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		return unpacking{g, g.Close, r}, nil
	}
	return r, nil
}

// unpacking closes a decompressor and what it reads.
type unpacking struct {
	io.Reader
	end    func() error
	source io.Closer
}

func (u unpacking) Close() error { return errors.Join(u.end(), u.source.Close()) }

// modinfo gives the key=value strings of a module's .modinfo section.
func modinfo(module []byte) ([][2]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, fmt.Errorf("not a kernel module: %w", err)
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("not a kernel module: no .modinfo")
	}
	data, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("read .modinfo: %w", err)
	}
	var all [][2]string
	for entry := range strings.SplitSeq(string(data), "\x00") {
		if key, value, ok := strings.Cut(entry, "="); ok {
			all = append(all, [2]string{key, value})
		}
	}
	return all, nil
}
