package guest

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/protocol"
)

// link is ttyS1: JSON lines both ways.
type link struct {
	f *os.File
	r *bufio.Reader

	heard   chan protocol.ToGuest // setups and steps
	readErr error                 // why there are no more; valid when heard is closed
	script  bool                  // there is no host, and a file says what it would
	given   atomic.Int64          // the host's last word on the time it gave, milliseconds
	words   atomic.Int64          // how often it said so

	mu    sync.Mutex
	trial uint64 // of the step in progress, or the last one
}

// controlPort is where the host is.
const controlPort = "/dev/ttyS1"

func openLink(path string) (*link, error) {
	f, err := openPort(path)
	if err != nil {
		return nil, err
	}
	l := &link{f: f, r: bufio.NewReaderSize(f, protocol.MaxLine), heard: make(chan protocol.ToGuest)}
	go l.listen()
	return l, nil
}

// openPort opens a serial port for plain lines.
func openPort(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("%s: get terminal settings: %w", path, errorsJoinClose(fd, err))
	}
	// cfmakeraw(3): no echo, no translation, no signals.
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag &^= unix.CSIZE | unix.PARENB | unix.CBAUD
	t.Cflag |= unix.CS8 | unix.CLOCAL | unix.CREAD | unix.B115200
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, t); err != nil {
		return nil, fmt.Errorf("%s: set terminal settings: %w", path, errorsJoinClose(fd, err))
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openScript reads from a file what the host would say. Nobody hears what is
// sent.
func openScript(path string) (*link, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	l := &link{f: out, r: bufio.NewReaderSize(in, protocol.MaxLine), heard: make(chan protocol.ToGuest), script: true}
	go l.listen()
	return l, nil
}

// ask has part n of what is the host's done by whoever listens to ttyS1, and
// waits for it, for ever where that is the power's end.
func ask(n int) (err error) {
	port, err := openPort(controlPort)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, port.Close()) }()
	// The port's first bytes may be noise: they are on a line of their own.
	if _, err := port.WriteString("\n" + protocol.AskLine(n) + "\n"); err != nil {
		return err
	}
	in := bufio.NewScanner(port)
	for in.Scan() {
		if in.Text() == protocol.DoneLine(n) {
			return nil
		}
	}
	return cmp.Or(in.Err(), io.ErrUnexpectedEOF)
}

// listen hands on what the host says until it can't be read any more.
func (l *link) listen() {
	defer close(l.heard)
	for {
		m, err := l.read()
		if err != nil {
			l.readErr = err
			return
		}
		if m.Given != nil {
			l.given.Store(*m.Given)
			l.words.Add(1)
			continue
		}
		l.given.Store(0)
		l.heard <- m
	}
}

func (l *link) receive() (protocol.ToGuest, error) {
	m, ok := <-l.heard
	if !ok {
		return m, l.readErr
	}
	return m, nil
}

// send writes one message. There is nobody to tell when it can't be written.
func (l *link) send(m protocol.FromGuest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m.Trial = l.trial
	m.MS = monotonicMS()
	b, err := json.Marshal(m)
	if err != nil {
		return
	}
	_, _ = l.f.Write(append(b, '\n'))
}

func (l *link) setTrial(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trial = n
}

func (l *link) read() (protocol.ToGuest, error) {
	var m protocol.ToGuest
	for {
		line, err := l.r.ReadSlice('\n')
		if err != nil {
			return m, fmt.Errorf("read the control line: %w", err)
		}
		if len(line) <= 1 {
			continue
		}
		if json.Unmarshal(line, &m) == nil {
			return m, nil
		}
		m = protocol.ToGuest{} // a half that a saved machine had heard
	}
}

func monotonicMS() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return ts.Nano() / 1e6
}

func errorsJoinClose(fd int, err error) error {
	return errors.Join(err, unix.Close(fd))
}
