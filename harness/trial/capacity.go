package trial

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// besideGuest is what QEMU takes beside the guest's memory, in bytes.
const besideGuest = 200 << 20

// Workers is how many trials run at a time where nobody said it: one a core, as
// far as the host's memory goes for guests with so many bytes each, and no
// more than there are.
func Workers(trials int, memory int64) int {
	free, err := AvailableMemory()
	if err != nil {
		free = -1
	}
	return workersFor(trials, runtime.NumCPU(), memory, free)
}

// workersFor is Workers for so many cores and so much free memory; -1: not known.
func workersFor(trials, cores int, memory, free int64) int {
	n := min(trials, cores)
	if free >= 0 {
		n = min(n, int(free/(memory+besideGuest)))
	}
	return max(1, n)
}

// AvailableMemory is what new processes can have, in bytes: the host's, or
// what the control group of this one leaves.
func AvailableMemory() (int64, error) {
	have, err := readField("/proc/meminfo", "MemAvailable:")
	if err != nil {
		return 0, err
	}
	have <<= 10 // from KiB
	// Of a container, whose root this is (cgroup v2). Elsewhere there is no such
	// file, or it says max.
	const group = "/sys/fs/cgroup/memory."
	limit, err1 := readField(group+"max", "")
	used, err2 := readField(group+"current", "")
	cache, err3 := readField(group+"stat", "inactive_file")
	if errors.Join(err1, err2, err3) == nil {
		have = min(have, max(0, limit-used+cache))
	}
	return have, nil
}

// readField reads the number that follows a key in a file of the kernel's, or
// that is all there is in it.
func readField(path, key string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if key == "" {
			fields = append([]string{""}, fields...)
		}
		if len(fields) >= 2 && fields[0] == key {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", path, err)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s has no %q", path, key)
}
