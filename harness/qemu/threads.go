package qemu

import (
	"bytes"
	"fmt"
	"os"
	"slices"
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

// Threads are those of a machine.
type Threads struct {
	VCPUs []Thread // under single-threaded TCG one for all virtual CPUs
	Main  Thread   // which their devices need
	// Others is the state of a further thread that the host keeps from running:
	// one of QEMU's (it does a disk's I/O, say), or one of this process that is
	// stopped. S: there is none.
	Others byte
}

// Stopped says that somebody stopped or traces a thread.
func (t Threads) Stopped() bool {
	for _, state := range []byte{t.Main.State, t.Others} {
		if stopped(state) {
			return true
		}
	}
	return slices.ContainsFunc(t.VCPUs, func(t Thread) bool { return stopped(t.State) })
}

func stopped(state byte) bool { return state == 'T' || state == 't' }

// Threads gives the accounts of the machine's threads. It is ErrEnded when the
// machine is gone.
func (m *Machine) Threads() (t Threads, err error) {
	all := make([]Thread, 0, 1+len(m.vcpus))
	for _, tid := range append([]int{m.PID()}, m.vcpus...) {
		one, err := readThread(fmt.Sprintf("/proc/%d/task/%d/", m.PID(), tid))
		if err != nil {
			select {
			case <-m.proc.Done():
				err = ErrEnded
			default:
			}
			return Threads{}, fmt.Errorf("time of QEMU's threads: %w", err)
		}
		all = append(all, one)
	}
	t = Threads{VCPUs: all[1:], Main: all[0], Others: 'S'}
	if state := heldAmong(m.PID(), func(tid int, state byte) bool {
		return state != 'S' && tid != m.PID() && !slices.Contains(m.vcpus, tid)
	}); state != 0 {
		t.Others = state
	}
	// Threads of this process run, and wait for storage, for other machines, too:
	// what a guest waits for of that is Pending.
	if state := heldAmong(os.Getpid(), func(_ int, state byte) bool { return stopped(state) }); state != 0 {
		t.Others = state
	}
	return t, nil
}

// heldAmong gives the state of a process's thread of which held is true, a
// stopped one before any other, and 0 when there is none. Threads that end
// meanwhile don't matter.
func heldAmong(pid int, held func(tid int, state byte) bool) (found byte) {
	dir := fmt.Sprintf("/proc/%d/task/", pid)
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, task := range tasks {
		tid, _ := strconv.Atoi(task.Name())
		stat, err := readStat(dir + task.Name() + "/")
		if err != nil || stat.state == 'Z' || stat.state == 'X' || !held(tid, stat.state) {
			continue
		}
		if found = stat.state; stopped(found) {
			break
		}
	}
	return found
}

// readThread reads a thread's folder of /proc: times from schedstat
// (Documentation/scheduler/sched-stats.rst), the rest from stat.
func readThread(dir string) (Thread, error) {
	sched, err := os.ReadFile(dir + "schedstat")
	if err != nil {
		return Thread{}, err
	}
	times := strings.Fields(string(sched))
	if len(times) < 2 {
		return Thread{}, fmt.Errorf("%sschedstat: unexpected content %s", dir, text.Excerpt(sched, 80))
	}
	var n [2]int64
	for i := range n {
		if n[i], err = strconv.ParseInt(times[i], 10, 64); err != nil {
			return Thread{}, fmt.Errorf("%sschedstat: %w", dir, err)
		}
	}
	stat, err := readStat(dir)
	if err != nil {
		return Thread{}, err
	}
	return Thread{Run: time.Duration(n[0]), Wait: time.Duration(n[1]), Reads: stat.majorFaults, State: stat.state}, nil
}

type stat struct {
	state       byte
	majorFaults int64
}

// readStat reads a thread's stat. One that a control group of version 2 has
// frozen sleeps (S) there like one that waits for an event; it is given as
// stopped (T), as what it is.
func readStat(dir string) (stat, error) {
	src, err := os.ReadFile(dir + "stat")
	if err != nil {
		return stat{}, err
	}
	// The name, in brackets, may hold spaces and brackets.
	fields := strings.Fields(string(src[bytes.LastIndexByte(src, ')')+1:]))
	const state, majorFaults = 0, 9 // fields 3 and 12
	if len(fields) <= majorFaults {
		return stat{}, fmt.Errorf("%sstat: unexpected content %s", dir, text.Excerpt(src, 80))
	}
	s := stat{state: fields[state][0]}
	if s.majorFaults, err = strconv.ParseInt(fields[majorFaults], 10, 64); err != nil {
		return stat{}, fmt.Errorf("%sstat: %w", dir, err)
	}
	if s.state == 'S' {
		// Where this can't be read it is "0": what is known stays.
		where, _ := os.ReadFile(dir + "wchan")
		if w := string(where); w == "get_signal" || w == "do_freezer_trap" {
			s.state = 'T'
		}
	}
	return s, nil
}
