package qemu

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/text"
)

// VCPUTime is how long the machine's virtual CPUs ran on the host's and how
// long they waited for one, summed over all of them since the start (fields 1
// and 2 of /proc/PID/task/TID/schedstat). A guest that is silent while run
// grows hangs; one that is silent while only wait grows is starved.
func (m *Machine) VCPUTime() (run, wait time.Duration, err error) {
	for _, tid := range m.vcpus {
		r, w, err := schedstat(fmt.Sprintf("/proc/%d/task/%d/schedstat", m.PID(), tid))
		if err != nil {
			select {
			case <-m.proc.Done():
				err = ErrEnded
			default:
			}
			return 0, 0, fmt.Errorf("time of virtual CPUs: %w", err)
		}
		run += r
		wait += w
	}
	return run, wait, nil
}

// VCPUThreads is how many threads run the machine's virtual CPUs: under
// single-threaded TCG one for all of them.
func (m *Machine) VCPUThreads() int { return len(m.vcpus) }

// schedstat reads one thread's times on CPU and on the run queue, see
// Documentation/scheduler/sched-stats.rst.
func schedstat(path string) (run, wait time.Duration, err error) {
	stat, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(stat))
	if len(fields) < 2 {
		return 0, 0, fmt.Errorf("%s: unexpected content %s", path, text.Excerpt(stat, 80))
	}
	r, errRun := strconv.ParseInt(fields[0], 10, 64)
	w, errWait := strconv.ParseInt(fields[1], 10, 64)
	if errRun != nil || errWait != nil {
		return 0, 0, fmt.Errorf("%s: unexpected content %s", path, text.Excerpt(stat, 80))
	}
	return time.Duration(r), time.Duration(w), nil
}
