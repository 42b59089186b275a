package qemu

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/text"
)

// A Thread is what the host has done for one of QEMU's threads since it began.
type Thread struct {
	Run   time.Duration // it was on one of the host's CPUs
	Wait  time.Duration // it was ready to run, and had none
	Reads int64         // page faults for which the host had to read storage
	State byte          // R, S, D, T, …: see proc_pid_stat(5)
}

// Held says that the host keeps the thread from running, or that nobody knows
// better: it waits for storage, is stopped or traced, or is ready to run. Only
// a thread that sleeps (S) waits for what QEMU itself waits for.
func (t Thread) Held() bool { return t.State != 'S' }

// Threads gives the accounts of the threads that run virtual CPUs (under
// single-threaded TCG one for all of them) and of the main one, which their
// devices need. It is ErrEnded when the machine is gone.
func (m *Machine) Threads() (vcpus []Thread, main Thread, err error) {
	for _, tid := range append([]int{m.PID()}, m.vcpus...) {
		t, err := readThread(fmt.Sprintf("/proc/%d/task/%d/", m.PID(), tid))
		if err != nil {
			select {
			case <-m.proc.Done():
				err = ErrEnded
			default:
			}
			return nil, Thread{}, fmt.Errorf("time of QEMU's threads: %w", err)
		}
		vcpus = append(vcpus, t)
	}
	return vcpus[1:], vcpus[0], nil
}

// readThread reads a thread's folder of /proc: times from schedstat
// (Documentation/scheduler/sched-stats.rst), the rest from stat.
func readThread(dir string) (Thread, error) {
	sched, err := os.ReadFile(dir + "schedstat")
	if err != nil {
		return Thread{}, err
	}
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return Thread{}, err
	}
	times := strings.Fields(string(sched))
	// The name, in brackets, may hold spaces and brackets.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const state, majorFaults = 0, 9 // fields 3 and 12
	if len(times) < 2 || len(fields) <= majorFaults {
		return Thread{}, fmt.Errorf("%s: unexpected content %s %s", dir, text.Excerpt(sched, 80), text.Excerpt(stat, 80))
	}
	var n [3]int64
	for i, field := range []string{times[0], times[1], fields[majorFaults]} {
		if n[i], err = strconv.ParseInt(field, 10, 64); err != nil {
			return Thread{}, fmt.Errorf("%s: %w", dir, err)
		}
	}
	return Thread{Run: time.Duration(n[0]), Wait: time.Duration(n[1]), Reads: n[2], State: fields[state][0]}, nil
}
