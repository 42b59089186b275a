package kernels

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"strings"
)

// maxModule bounds what a module may unpack to: the largest of Debian's has
// about 10 MiB, one with debug information a few hundred.
const maxModule = 1 << 30

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
