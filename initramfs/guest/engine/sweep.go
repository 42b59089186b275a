package engine

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/programs"
)

// Sweep is short programs of I/O for one file or device.
type Sweep struct {
	Path    string
	Space   int64  // bytes at its beginning that programs use
	Counter string // a file that says what is under way; see UnderWay
	First   int    // place of the first program
	Skip    []bool // by place in the set; nil: none
	Forgets bool   // a discard may bring back whatever stood there before
	programs.Set
}

// A Sweeper does programs on one file or device and remembers what may stand
// there.
type Sweeper struct {
	path    string
	files   map[int]*file // by the flags they were opened with
	shadow  shadow
	write   uint32 // generation of the last write
	counter *uint32
	memory  arena
	queues  map[string]queue
	drawer  programs.Generator
	forgets bool
}

// NewSweeper writes known bytes to the space that programs use.
func NewSweeper(w Sweep) (*Sweeper, error) {
	if w.Space <= 0 || w.Space%page != 0 || w.Space > mostMemory {
		return nil, fmt.Errorf("a space of %d bytes is not possible", w.Space)
	}
	// Thousands of programs leave garbage behind.
	debug.SetGCPercent(100)
	s := &Sweeper{path: w.Path, files: map[int]*file{}, shadow: newShadow(w.Space), queues: map[string]queue{}, forgets: w.Forgets}
	var err error
	if s.memory, err = newArena(); err != nil {
		return nil, err
	}
	if s.counter, err = mapCounter(w.Counter); err != nil {
		return nil, err
	}
	if answer := s.fill(0, w.Space); answer != "" {
		return nil, fmt.Errorf("fill %s: %s", w.Path, answer)
	}
	return s, nil
}

// fill writes known bytes to a range.
func (s *Sweeper) fill(from, to int64) (answer string) {
	return s.do(scenarios.IO{Op: "pwrite", Direct: true, Offset: from, Length: to - from})
}

func mapCounter(path string) (*uint32, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	mem, err := unix.Mmap(int(f.Fd()), 0, CounterSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	return (*uint32)(unsafe.Pointer(&mem[0])), nil
}

// Do does programs. Of each it gives an answer for each operation: "" where it
// did all that it was asked, and what was read is right; the name of an errno;
// "short N"; "KIND@N" where byte N of what was read is wrong; "overrun@N" where
// a byte outside of the buffer was changed; "untried: WHY". One more answer
// follows where what a program wrote, or what stands beside it, is not read
// back as it must be: "readback " and one of these.
func (s *Sweeper) Do(w Sweep) [][]string {
	out := make([][]string, w.Len())
	for i, program := range s.programs(w.Set) {
		if i < len(w.Skip) && w.Skip[i] {
			continue
		}
		for n, o := range program {
			s.at(w.First+i, n)
			out[i] = append(out[i], s.do(o))
		}
		s.at(w.First+i, len(program))
		if answer := s.readBack(program); answer != "" {
			out[i] = append(out[i], "readback "+answer)
		}
		if slices.ContainsFunc(out[i], func(answer string) bool { return strings.Contains(answer, "@") }) {
			// Else what stays wrong is told of all that follows, too.
			s.fill(0, int64(len(s.shadow))*sectorSize)
		}
	}
	return out
}

// perProgram is more than the operations of a program, and what reads back.
const perProgram = programs.Longest + 2

// at says what is under way.
func (s *Sweeper) at(program, operation int) {
	atomic.StoreUint32(s.counter, uint32(program*perProgram+operation))
}

// CounterSize is that of a Sweep's counter, bytes.
const CounterSize = 4

// UnderWay reads a Sweep's counter: the place of the program under way, and which of
// its operations was; as many as it has where that was read back.
func UnderWay(counter []byte) (program, operation int, ok bool) {
	if len(counter) != CounterSize {
		return 0, 0, false
	}
	n := int(binary.NativeEndian.Uint32(counter))
	return n / perProgram, n % perProgram, true
}

// programs are those of a set.
func (s *Sweeper) programs(set programs.Set) []programs.Program {
	if set.Drawn == nil {
		return set.Programs
	}
	return set.Drawn.Programs(&s.drawer)
}

// do does one operation and notes what it may have written.
func (s *Sweeper) do(o scenarios.IO) string {
	op, ok := operations[o.Op]
	if !ok || o.Length < 0 || o.Offset < 0 || o.Count > 1 {
		return fmt.Sprintf("untried: %s of %d bytes at %d", o.Op, o.Length, o.Offset)
	}
	f, answer := s.open(openFlags(o))
	if f == nil {
		return answer
	}
	f.io = o
	run := &series{Request: Request{Path: s.path, IO: o}, file: f, oracle: s.shadow, memory: s.memory, kept: s.queues}
	if o.Writes() {
		s.write++
		run.data = written(s.write, o.Offset, o.Length)
	}
	err := run.do(op)
	run.free()
	s.note(o, run.data, run.seen, err)
	if err != nil {
		s.closeQueues() // they may not be as they were
		return "untried: " + err.Error()
	}
	return answerOf(o, run.seen)
}

func (s *Sweeper) closeQueues() {
	for _, q := range s.queues {
		q.close()
	}
	clear(s.queues)
}

// written is what a write puts at an offset: no two words of all that is written
// are the same, and no byte is zero. It is quicker to make than protocol.Fill's,
// of which any byte can be told without the others.
func written(generation uint32, at, length int64) []byte {
	const word = 8
	from := at / word * word
	b := make([]byte, (at+length-from+word-1)/word*word)
	for i := range len(b) / word {
		place := uint64(from)/word + uint64(i)
		x := (uint64(generation)<<32 + place) * 0x9E3779B97F4A7C15
		binary.LittleEndian.PutUint64(b[i*word:], x|0x0101010101010101)
	}
	return b[at-from:][:length]
}

// open gives an open file. A device that is opened for each operation costs more
// than the operation.
func (s *Sweeper) open(flags int) (*file, string) {
	if f := s.files[flags]; f != nil {
		return f, ""
	}
	f, errno, err := open(s.path, flags)
	switch {
	case err != nil:
		return nil, "untried: " + err.Error()
	case errno != "":
		return nil, errno
	}
	s.files[flags] = f
	return f, ""
}

// note brings the shadow up to date.
func (s *Sweeper) note(o scenarios.IO, data []byte, seen scenarios.Observation, err error) {
	well := err == nil && seen.Returned && seen.Errno == ""
	if s.forgets && o.Op == "discard" {
		s.shadow.forget(o.Offset, o.Length)
		return
	}
	if sure, ok := clears(o); ok {
		s.shadow.put(o.Offset, make([]byte, o.Length), well && sure)
		return
	}
	if !o.Writes() {
		return
	}
	done := int64(0)
	if well {
		done = min(seen.Bytes, o.Length)
	}
	s.shadow.put(o.Offset, data[:done], true)
	s.shadow.put(o.Offset+done, data[done:], false)
}

// clears says whether an operation leaves zeroes behind, surely or perhaps.
func clears(o scenarios.IO) (sure, clears bool) {
	switch {
	case o.Op == "zeroes", o.Op == "fallocate" && (o.Mode == "punch-hole" || o.Mode == "zero-range"):
		return true, true
	case o.Op == "discard":
		return false, true
	}
	return false, false
}

func answerOf(o scenarios.IO, seen scenarios.Observation) string {
	switch {
	case seen.Overrun != nil:
		return fmt.Sprintf("overrun@%d", *seen.Overrun)
	case seen.Mismatch != nil:
		return fmt.Sprintf("%s@%d", seen.Wrong, *seen.Mismatch)
	case seen.Errno != "":
		return seen.Errno
	case o.Transfers() && seen.Bytes < o.Length:
		return fmt.Sprintf("short %d", seen.Bytes)
	}
	return ""
}

// readBack reads what a program may have changed by another path, O_DIRECT and
// aligned, with a page on both sides.
func (s *Sweeper) readBack(program []scenarios.IO) string {
	space := int64(len(s.shadow)) * sectorSize
	from, to := space, int64(0)
	for _, o := range program {
		if _, zeroes := clears(o); o.Writes() || zeroes {
			from, to = min(from, o.Offset), max(to, o.Offset+o.Length)
		}
	}
	if from >= min(to, space) {
		return ""
	}
	from, to = max(0, from/page*page-page), min(space, (to+page-1)/page*page+page)
	answer := s.do(scenarios.IO{Op: "pread", Direct: true, Offset: from, Length: to - from})
	if answer == "" && s.shadow.unsure(from, to-from) {
		// What follows is to be told from what an error left behind.
		if answer := s.fill(from, to); answer != "" {
			return "rewrite " + answer
		}
	}
	return answer
}
