//go:build vm && long

package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// steppingClock steps the wall clock that blockrig and its QEMUs see, forward
// and back, by up to a day. The machine's own is left alone: what is changed is
// the processes' copy of the vDSO, the kernel's code through which programs,
// static ones too, read clocks. Times that the kernel itself takes, those of
// files, are not stepped.
func steppingClock(ctx context.Context, v victim, r *rand.Rand) error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("there is no code for the vDSO of %s here", runtime.GOARCH)
	}
	clocks := map[int]*clock{}
	offset := int64(0)
	steps := 0
	for rest(ctx, between(r, 20*time.Millisecond, 2*time.Second)) {
		if r.IntN(4) == 0 {
			offset = r.Int64N(2*24*3600) - 24*3600
		}
		for _, pid := range v.all() {
			if clocks[pid] == nil {
				c, err := takeClock(pid)
				if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) || errors.Is(err, errClockInUse) {
					continue // it has ended or does not run yet; later then
				}
				if err != nil {
					return err
				}
				clocks[pid] = c
			}
			if clocks[pid].step(offset) == nil && offset != 0 {
				steps++
			}
		}
	}
	if steps == 0 {
		return fmt.Errorf("%w: no clock was stepped", errNoMoment)
	}
	return nil
}

// A clock is the vDSO of a process, made to add an offset to CLOCK_REALTIME.
type clock struct {
	mem string
	at  int64 // of the offset, in seconds
}

var errClockInUse = errors.New("a thread reads the clock just now")

// What replaces the functions of the vDSO: a system call whose seconds get the
// offset added, if they are of CLOCK_REALTIME (0). The offset follows the code.
var (
	// mov $228,%eax; syscall; test %eax,%eax; jnz 1f; test %edi,%edi; jnz 1f
	// mov offset(%rip),%rcx; add %rcx,(%rsi); 1: ret
	clockGettime = []byte{0xb8, 228, 0, 0, 0, 0x0f, 0x05, 0x85, 0xc0, 0x75, 0x0e, 0x85, 0xff, 0x75, 0x0a, 0x48, 0x8b, 0x0d, 0x0b, 0, 0, 0, 0x48, 0x01, 0x0e, 0xc3}
	// mov $96,%eax; syscall; test %rdi,%rdi; jz 1f; mov offset(%rip),%rcx
	// add %rcx,(%rdi); 1: ret
	getTimeOfDay = []byte{0xb8, 96, 0, 0, 0, 0x0f, 0x05, 0x48, 0x85, 0xff, 0x74, 0x0a, 0x48, 0x8b, 0x0d, 0, 0, 0, 0, 0x48, 0x01, 0x0f, 0xc3}
)

// takeClock replaces what a process reads its clocks by.
func takeClock(pid int) (_ *clock, err error) {
	from, to, err := vdsoOf(pid)
	if err != nil {
		return nil, err
	}
	// All stand still, and outside of what is replaced.
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, syscall.Kill(pid, syscall.SIGCONT)) }()
	if err := standsOutside(pid, from, to); err != nil {
		return nil, err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer mem.Close() // what was written is there
	image := make([]byte, to-from)
	if _, err := mem.ReadAt(image, from); err != nil {
		return nil, err
	}
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return nil, err
	}
	at := map[string]elf.Symbol{}
	for _, s := range symbols {
		at[s.Name] = s
	}
	gettime, ofDay := at["__vdso_clock_gettime"], at["__vdso_gettimeofday"]
	// The offset is where the first function's code went on.
	const room = 32
	if gettime.Size < room+8 || ofDay.Size < uint64(len(getTimeOfDay)) {
		return nil, fmt.Errorf("the vDSO's functions are too small: %+v %+v", gettime, ofDay)
	}
	offset := int64(gettime.Value) + room
	code := bytes.Clone(clockGettime)
	binary.LittleEndian.PutUint32(code[18:], uint32(room-22))
	if _, err := mem.WriteAt(make([]byte, 8), from+offset); err != nil {
		return nil, err
	}
	if _, err := mem.WriteAt(code, from+int64(gettime.Value)); err != nil {
		return nil, err
	}
	code = bytes.Clone(getTimeOfDay)
	binary.LittleEndian.PutUint32(code[15:], uint32(offset-int64(ofDay.Value)-19))
	if _, err := mem.WriteAt(code, from+int64(ofDay.Value)); err != nil {
		return nil, err
	}
	return &clock{mem: mem.Name(), at: from + offset}, nil
}

// vdsoOf is where a process has the vDSO. One that has just been forked has
// still its parent's, and gets another.
func vdsoOf(pid int) (from, to int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			_, err := fmt.Sscanf(line, "%x-%x", &from, &to)
			return from, to, err
		}
	}
	return 0, 0, os.ErrNotExist
}

// standsOutside waits until all threads of a process stand still, and says
// whether one stands in a range of its memory.
func standsOutside(pid int, from, to int64) error {
	for range 100 {
		all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil || len(all) == 0 {
			return os.ErrNotExist
		}
		running := false
		for _, dir := range all {
			// "running", or a call's number and arguments, then stack and instruction
			// pointers; "-1" and those outside of a call.
			where, err := os.ReadFile(filepath.Join(dir, "syscall"))
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
				continue
			}
			if err != nil {
				return err
			}
			fields := strings.Fields(string(where))
			ip, err := strconv.ParseInt(strings.TrimPrefix(fields[len(fields)-1], "0x"), 16, 64)
			switch {
			case err != nil:
				running = true
			case ip >= from && ip < to:
				return errClockInUse
			}
		}
		if !running {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return errClockInUse
}

// step sets the offset.
func (c *clock) step(seconds int64) error {
	mem, err := os.OpenFile(c.mem, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(seconds))
	_, err = mem.WriteAt(b[:], c.at)
	return errors.Join(err, mem.Close())
}
