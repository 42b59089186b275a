package blktrace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// root is where tracefs is mounted.
const root = "/sys/kernel/tracing"

// Sizes of the kernel's buffers, in KiB for each processor. What is worth
// having of errors is the first, of all else what led to the answer: the last.
const (
	errorsKiB = 256
	flowKiB   = 512
)

// Unseen is said where the probe can't be set.
const Unseen = "what was refused before it was queued"

// A Tracer records one step after the other.
type Tracer struct {
	failed instance // answers that are errors, the first of them
	flow   instance // what was asked and where it went, the last of it
	// Missing is what this kernel has no event for.
	Missing []string
}

// A Record is what was recorded.
type Record struct {
	Errors []Event // answers that are errors, in order
	Flow   []Event // Queued and Remapped, in order
	Lost   int64   // errors for which there was no room
	Lines  []string
}

// New makes the kernel ready. An error says what the kernel lacks.
func New() (*Tracer, error) {
	err := unix.Mount("tracefs", root, "tracefs", 0, "")
	if err != nil && !errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("this kernel has no tracing (CONFIG_FTRACE): %w", err)
	}
	return newTracer(root)
}

// newTracer is New for a tracefs that is mounted at root. With an error there is
// no Tracer: one that records a part of what it should would find too little.
func newTracer(root string) (_ *Tracer, err error) {
	if _, err := os.Stat(filepath.Join(root, "events/block")); err != nil {
		return nil, fmt.Errorf("this kernel has no tracepoints of the block layer (CONFIG_BLK_DEV_IO_TRACE): %w", err)
	}
	t := &Tracer{}
	probe := probeEnds(root)
	if probe != nil {
		t.Missing = append(t.Missing, Unseen)
	}
	if t.failed, err = newInstance(root, "blockrig-errors", errorsKiB, false); err != nil {
		return nil, err
	}
	if t.flow, err = newInstance(root, "blockrig-flow", flowKiB, true); err != nil {
		return nil, err
	}
	err = errors.Join(
		t.failed.enable("block/"+string(Requested), "error != 0"),
		t.failed.enable("block/"+string(Completed), "error != 0"),
		t.flow.enable("block/"+string(Queued), ""),
		t.flow.enable("block/"+string(Remapped), ""),
	)
	if probe == nil {
		err = errors.Join(err, t.failed.enable("blockrig/"+string(Ended), "status != 0"))
	}
	if err != nil {
		return nil, fmt.Errorf("record what the block layer does: %w", err)
	}
	return t, nil
}

// probeEnds sets the probe. Kernels from 6.6 on find the fields by their names
// (PROBE_EVENTS_BTF_ARGS); in the ones before, struct bio was the same for
// years: it grew bi_write_hint before bi_status in 6.9.
func probeEnds(root string) error {
	file := filepath.Join(root, "kprobe_events")
	if _, err := os.Stat(filepath.Join(root, "events/blockrig", string(Ended))); err == nil {
		return nil
	}
	named := "p:blockrig/ended bio_endio dev=bio->bi_bdev->bd_dev:u32 op=bio->bi_opf:u32 sector=bio->bi_iter.bi_sector:u64 status=bio->bi_status:u8"
	placed := "p:blockrig/ended bio_endio dev=+36(+8(%di)):u32 op=+16(%di):u32 sector=+32(%di):u64 status=+24(%di):u8"
	err := write(file, named)
	if err == nil || errors.Is(err, fs.ErrNotExist) || !olderThan(6, 6) {
		return err
	}
	return write(file, placed)
}

// olderThan compares the kernel's release.
func olderThan(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var a, b int
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a < major || a == major && b < minor
}

// Start begins with nothing recorded.
func (t *Tracer) Start() error { return errors.Join(t.failed.start(), t.flow.start()) }

// Stop ends the recording and gives it.
func (t *Tracer) Stop() (Record, error) {
	var r Record
	err := errors.Join(t.failed.stop(), t.flow.stop())
	for _, from := range []struct {
		instance
		to *[]Event
	}{{t.failed, &r.Errors}, {t.flow, &r.Flow}} {
		text, rerr := os.ReadFile(from.file("trace"))
		err = errors.Join(err, rerr)
		lines := 0
		for line := range strings.Lines(string(text)) {
			if e, ok := parse(strings.TrimRight(line, "\n")); ok {
				*from.to = append(*from.to, e)
			}
			if line = strings.TrimSpace(line); lines < mostLines && line != "" && line[0] != '#' {
				r.Lines = append(r.Lines, line)
				lines++
			}
		}
	}
	r.Lost = t.failed.lost()
	return r, err
}

// mostLines of each buffer are kept as the kernel wrote them.
const mostLines = 100

// An instance is a buffer of its own (Documentation/trace/ftrace.rst).
type instance string

func newInstance(root, name string, kib int, overwrite bool) (instance, error) {
	i := instance(filepath.Join(root, "instances", name))
	if err := os.Mkdir(string(i), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make a trace buffer: %w", err)
	}
	keep := "0"
	if overwrite {
		keep = "1"
	}
	err := errors.Join(
		i.write("tracing_on", "0"),
		i.write("buffer_size_kb", strconv.Itoa(kib)),
		i.write("options/overwrite", keep),
		i.write("trace_clock", "mono"), // the same on all processors
	)
	return i, err
}

func (i instance) file(name string) string { return filepath.Join(string(i), name) }

func (i instance) write(name, text string) error { return write(i.file(name), text) }

func (i instance) enable(event, filter string) error {
	var err error
	if filter != "" {
		err = i.write("events/"+event+"/filter", filter)
	}
	return errors.Join(err, i.write("events/"+event+"/enable", "1"))
}

func (i instance) start() error { return errors.Join(i.write("trace", ""), i.write("tracing_on", "1")) }

func (i instance) stop() error { return i.write("tracing_on", "0") }

// lost is how many events found no room.
func (i instance) lost() (sum int64) {
	files, _ := filepath.Glob(i.file("per_cpu/cpu*/stats"))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		sum += lostOf(string(text))
	}
	return sum
}

// lostOf reads a file stats: what was overwritten, and what was dropped.
func lostOf(stats string) (sum int64) {
	for line := range strings.Lines(stats) {
		name, value, _ := strings.Cut(line, ":")
		if slices.Contains([]string{"overrun", "commit overrun", "dropped events"}, name) {
			n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			sum += n
		}
	}
	return sum
}

// write is one write to a file of tracefs, which is truncated by being opened.
func write(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text + "\n")
	return errors.Join(err, f.Close())
}
