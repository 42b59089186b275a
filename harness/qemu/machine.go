package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/digitalocean/go-qemu/qemu"
	"github.com/digitalocean/go-qemu/qmp"
	"golang.org/x/sys/unix"
)

const (
	// startLimit bounds the time from the start of QEMU to its first answer
	// over QMP, on a busy host.
	startLimit = 60 * time.Second
	// quitLimit bounds how long QEMU may take to do as asked by QMP quit.
	quitLimit = 2 * time.Second
)

// A Machine is one QEMU process. Its methods may be called from several
// goroutines; Close must be called.
type Machine struct {
	spec    Spec
	args    []string
	proc    *process
	mon     *Monitor
	console *serial
	control *serial
	vcpus   []int  // thread IDs
	savedBy string // version of the QEMU that wrote what the machine continues
	began   time.Time
	detach  func() bool
	filters map[string]*filter // by the ID of the disk
	guards  sync.WaitGroup     // see guard

	events  <-chan qmp.Event // the caller's
	faulted chan struct{}    // closed at the first trouble of the host
	done    chan struct{}    // closed when all is over and known

	mu       sync.Mutex
	ram      *os.File // shared with QEMU; nil when there is none, or Save has it
	asked    error    // why this side ended the machine, if it did
	trouble  error
	shutdown string // reason in QEMU's SHUTDOWN event
	end      error
	guarded  bool         // a guard is there
	tapes    []*Recording // that the machine's end stops

	closing  sync.Once
	closeErr error
}

// errClosed is the reason in asked when Close ended the machine.
var errClosed = errors.New("closed")

// Start runs a machine. When ctx ends, QEMU is killed; Close must be called
// all the same. What Start returns has a QEMU that answers over QMP.
func Start(ctx context.Context, spec Spec) (*Machine, error) {
	m, err := start(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("start machine: %w", err)
	}
	return m, nil
}

func start(ctx context.Context, spec Spec) (*Machine, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if err := spec.check(); err != nil {
		return nil, err
	}
	m := &Machine{
		spec:    spec,
		began:   time.Now(),
		faulted: make(chan struct{}),
		done:    make(chan struct{}),
	}

	var err error
	if spec.From != "" {
		err = m.launchSaved()
	} else {
		err = m.launchNew()
	}
	if err != nil {
		return nil, err
	}
	own := m.mon.subscribe(context.Background())
	m.events = m.mon.subscribe(context.Background())
	m.detach = context.AfterFunc(ctx, func() {
		m.ask(fmt.Errorf("ended by blockrig: %w", context.Cause(ctx)))
		m.proc.kill()
	})
	go m.watch(own) // ends with the process; Close waits for done

	limited, cancel := context.WithTimeoutCause(ctx, startLimit,
		fmt.Errorf("QEMU did not answer within %v", startLimit))
	defer cancel()
	if err = m.meet(limited); err == nil && spec.From != "" {
		err = m.restore(limited)
	}
	if err != nil {
		err = m.explain(err)
		if spec.From != "" && ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", ErrRestore, err)
		}
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// launchNew starts QEMU with memory that Save can read.
func (m *Machine) launchNew() error {
	fd, err := unix.MemfdCreate("blockrig-ram", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("memory for the guest: %w", err)
	}
	m.ram = os.NewFile(uintptr(fd), "ram")
	var content []layers
	for _, d := range m.spec.Disks {
		if !d.filtered() {
			continue
		}
		image, err := openImage(d.Path)
		if err != nil {
			err = fmt.Errorf("disk %s: %w", d.ID, err)
			for _, c := range content {
				err = errors.Join(err, c.release())
			}
			return errors.Join(err, m.ram.Close())
		}
		content = append(content, image)
	}
	if err := m.launch(content, m.ram); err != nil {
		return errors.Join(err, m.ram.Close())
	}
	return nil
}

// launch starts QEMU with its three connections, more files, and those that
// serve disks. content is of the disks that have a filter, in order; it is
// released in the end.
func (m *Machine) launch(content []layers, more ...*os.File) (err error) {
	var undo []func() error // of what is not this machine's yet
	var theirs []*os.File
	defer func() {
		// Our ends show that QEMU has ended only if nobody else holds its ends.
		for _, f := range theirs {
			err = errors.Join(err, f.Close())
		}
		if err == nil {
			return
		}
		if m.proc != nil {
			m.proc.kill()
			<-m.proc.Done()
		}
		for _, f := range undo {
			err = errors.Join(err, f())
		}
	}()
	for _, c := range content {
		undo = append(undo, c.release)
	}
	connect := func(name string) (net.Conn, *os.File, error) {
		ours, f, err := socketPair(name)
		if err == nil {
			theirs = append(theirs, f)
		}
		return ours, f, err
	}
	var ours [2]net.Conn
	for i, name := range []string{"ttyS1", "QMP"} { // fdControl, fdQMP
		if ours[i], _, err = connect(name); err != nil {
			return err
		}
		undo = append(undo, ours[i].Close)
	}
	files := slices.Concat(theirs, more)
	line, stdin, stdout, err := pipePair()
	if err != nil {
		return err
	}
	theirs, undo = append(theirs, stdin, stdout), append(undo, line.Close)
	var filters []*filter
	for _, d := range m.spec.Disks {
		if !d.filtered() {
			continue
		}
		conn, f, err := connect("disk " + d.ID)
		if err != nil {
			return err
		}
		undo = append(undo, conn.Close)
		files = append(files, f)
		one := newFilter(d, conn, m.spec.Dir, content[len(filters)])
		one.fault, one.onHold = m.fault, m.guard
		filters = append(filters, one)
	}
	args := m.spec.args()
	m.args = append([]string{m.spec.Binary}, args...)
	if m.proc, err = startProcess(m.spec.Binary, args, m.spec.Dir, stdin, stdout, files); err != nil {
		return err
	}
	m.console, m.control, m.mon = &serial{conn: line}, &serial{conn: ours[0]}, NewMonitor(ours[1])
	m.filters = make(map[string]*filter, len(filters))
	for _, f := range filters {
		m.filters[f.disk.ID] = f
		f.run()
	}
	return nil
}

// meet makes contact with a QEMU that has just been started.
func (m *Machine) meet(ctx context.Context) error {
	if err := m.mon.ConnectContext(ctx); err != nil {
		return err
	}
	var cpus []struct {
		Thread int `json:"thread-id"`
	}
	if err := m.mon.Execute(ctx, "query-cpus-fast", nil, &cpus); err != nil {
		return err
	}
	for _, c := range cpus {
		// Under single-threaded TCG all virtual CPUs share one thread.
		if !slices.Contains(m.vcpus, c.Thread) {
			m.vcpus = append(m.vcpus, c.Thread)
		}
	}
	return nil
}

// watch owns the machine's events and records how it ended.
func (m *Machine) watch(events <-chan qmp.Event) {
	for e := range events { // until the connection ends
		m.note(e)
	}
	<-m.proc.Done()
	_ = m.mon.Disconnect() // never fails; ends the caller's events

	m.mu.Lock()
	defer m.mu.Unlock()
	failure := m.proc.failure()
	switch {
	case m.asked == nil:
		m.end = failure
	case !errors.Is(m.asked, errClosed):
		m.end = m.asked
	case !m.proc.killed.Load():
		m.end = failure // it was to quit, and crashed
	}
	close(m.done)
}

// ask notes why this side ends the machine; the first reason stays.
func (m *Machine) ask(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked == nil {
		m.asked = why
	}
}

// Console is what the guest writes to ttyS0. It must be read: a kernel waits only
// for a moment when the megabyte that may wait here is full, and what it says then
// is lost. It ends with io.EOF when the machine has ended and all was read; Close
// takes nothing of it away.
func (m *Machine) Console() io.Reader { return m.console }

// Control is ttyS1, both ways. It must be read: a guest waits for that. A write
// after the machine's end fails with ErrEnded.
func (m *Machine) Control() io.ReadWriteCloser { return m.control }

// ConsoleInput is what the guest reads from ttyS0. A write after the machine's
// end fails with ErrEnded.
func (m *Machine) ConsoleInput() io.Writer { return m.console }

// PID is QEMU's process ID.
func (m *Machine) PID() int { return m.proc.Pid() }

// Args is the command line QEMU was started with, its path first. Descriptor
// numbers in it are the child's.
func (m *Machine) Args() []string { return slices.Clone(m.args) }

// Monitor is the QMP connection. It ends with the machine.
func (m *Machine) Monitor() *Monitor { return m.mon }

// Domain is go-qemu's view of the machine, for its block, PCI and CPU
// queries. The caller closes it; the QMP connection stays.
func (m *Machine) Domain() (*qemu.Domain, error) {
	d, err := qemu.NewDomain(lentMonitor{m.mon}, "blockrig")
	if err != nil {
		return nil, fmt.Errorf("QMP: %w", err)
	}
	return d, nil
}

// A lentMonitor is not disconnected by those who borrow it.
type lentMonitor struct{ *Monitor }

func (lentMonitor) Disconnect() error { return nil }

// Version is QEMU's version: 7.2.22.
func (m *Machine) Version() string { return m.mon.Version().String() }

// Events are QEMU's events since its start (STOP, BLOCK_IO_ERROR, SHUTDOWN,
// …), for one reader; it is the same channel at every call and is closed when
// the machine has ended. Nobody has to read it: it holds 1024 events, then
// the oldest are lost.
func (m *Machine) Events() <-chan qmp.Event { return m.events }

// Cont lets the virtual CPUs run.
func (m *Machine) Cont(ctx context.Context) error { return m.execute(ctx, "cont", nil, nil) }

// Began is when the guest began to run at the earliest: its clocks go on since.
func (m *Machine) Began() time.Time { return m.began }

// Pause stops the virtual CPUs.
func (m *Machine) Pause(ctx context.Context) error { return m.execute(ctx, "stop", nil, nil) }

// Status is QEMU's run state: running, paused, io-error, internal-error, ….
func (m *Machine) Status(ctx context.Context) (string, error) {
	var s struct {
		Status string `json:"status"`
	}
	err := m.execute(ctx, "query-status", nil, &s)
	return s.Status, err
}

// execute is Monitor.Execute with the better error.
func (m *Machine) execute(ctx context.Context, command string, args, out any) error {
	return m.explain(m.mon.Execute(ctx, command, args, out))
}

// explain gives the reason for which QEMU ended in place of the mere end of
// its QMP connection.
func (m *Machine) explain(err error) error {
	if !errors.Is(err, ErrMonitorClosed) || !m.proc.Within(time.Second) {
		return err
	}
	<-m.done
	if ended := m.Err(); ended != nil {
		return fmt.Errorf("%w: %w", ErrEnded, ended)
	}
	return ErrEnded
}

// Done is closed when QEMU has ended, however that came about.
func (m *Machine) Done() <-chan struct{} { return m.done }

// Err is why QEMU failed: an *ExitError when it ended by itself with a failure
// or was killed by somebody else, the cause of Start's context when that
// ended. It is nil while QEMU runs, when the guest ended it (see Shutdown)
// and when Close did.
func (m *Machine) Err() error {
	select {
	case <-m.done:
	default:
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.end
}

// Shutdown is the reason QEMU gave when the machine shut down: guest-reset,
// guest-shutdown, guest-panic, host-qmp-quit, host-signal, …; "" when it did
// not, or could not say so in time.
func (m *Machine) Shutdown() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shutdown
}

// Close ends the machine and waits until nothing of it is left: QEMU, its
// descriptors, goroutines. What the guest has written can still be read. It
// may be called at any time, more than once.
func (m *Machine) Close() error {
	m.closing.Do(func() {
		m.ask(errClosed)
		m.stopRecordings() // QEMU flushes when it quits
		if m.mayHold() || m.Trouble() != nil {
			m.proc.kill() // it would wait for the answer to a request
		} else {
			m.quit()
		}
		<-m.done
		m.detach()
		m.closeErr = errors.Join(m.console.finish(), m.control.finish())
		for _, f := range m.filters {
			m.closeErr = errors.Join(m.closeErr, f.close())
		}
		m.guards.Wait()
		if ram := m.takeRAM(); ram != nil {
			m.closeErr = errors.Join(m.closeErr, ram.Close())
		}
	})
	return m.closeErr
}

func (m *Machine) quit() {
	ctx, cancel := context.WithTimeout(context.Background(), quitLimit)
	defer cancel()
	grace := quitLimit
	if err := m.mon.Execute(ctx, "quit", nil, nil); err != nil && !errors.Is(err, ErrMonitorClosed) {
		grace = 0 // a QEMU that does not listen won't quit
	}
	m.proc.end(grace)
}

// takeRAM gives the guest's memory to the caller, who closes it; nil when it
// is not there.
func (m *Machine) takeRAM() *os.File {
	m.mu.Lock()
	defer m.mu.Unlock()
	ram := m.ram
	m.ram = nil
	return ram
}
