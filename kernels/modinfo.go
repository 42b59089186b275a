package kernels

import (
	"fmt"
	"io"
	"strings"
)

// maxModule bounds what a module may unpack to, in bytes: the largest of
// Debian's has 10 MiB, one with debug information ten times that.
const maxModule = 256 << 20

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

// modinfo gives the key=value strings of a module's .modinfo section.
func modinfo(module io.ReaderAt) ([][2]string, error) {
	data, err := readSection(module, ".modinfo")
	if err != nil {
		return nil, fmt.Errorf("not a kernel module: .modinfo: %w", err)
	}
	var all [][2]string
	for entry := range strings.SplitSeq(string(data), "\x00") {
		if key, value, ok := strings.Cut(entry, "="); ok {
			all = append(all, [2]string{key, value})
		}
	}
	return all, nil
}
