package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// endKey ends a shell, as it does telnet: Ctrl-].
const endKey = 0x1d

// A handOver is a terminal that is handed over to a guest: at the first thing
// said or typed it stops being the host's, and takes every key as it comes,
// Ctrl-C too. over gives it back.
type handOver struct {
	out   io.Writer
	in    *os.File
	begin func() // what to do before

	wakeR, wakeW *os.File // an end of input for Close
	ended        bool     // by endKey; of Read

	once sync.Once
	mu   sync.Mutex
	old  *term.State
	err  error
}

func newHandOver(in *os.File, out io.Writer, begin func()) (*handOver, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	return &handOver{out: out, in: in, begin: begin, wakeR: r, wakeW: w}, nil
}

func (h *handOver) take() {
	h.once.Do(func() {
		h.begin()
		h.mu.Lock()
		defer h.mu.Unlock()
		h.old, h.err = term.MakeRaw(int(h.in.Fd()))
	})
}

// Write shows what the guest says.
func (h *handOver) Write(p []byte) (int, error) {
	h.take()
	return h.out.Write(p)
}

// Read gives what is typed. It ends at endKey and with Close.
func (h *handOver) Read(p []byte) (int, error) {
	h.take()
	if h.ended {
		return 0, io.EOF
	}
	fds := []unix.PollFd{{Fd: int32(h.in.Fd()), Events: unix.POLLIN}, {Fd: int32(h.wakeR.Fd()), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("wait for the keyboard: %w", err)
		}
		break
	}
	if fds[1].Revents != 0 {
		return 0, io.EOF
	}
	n, err := h.in.Read(p)
	if end := bytes.IndexByte(p[:n], endKey); end >= 0 {
		h.ended = true
		n = end
		if n == 0 {
			return 0, io.EOF
		}
	}
	return n, err
}

// Close makes a Read that waits come back.
func (h *handOver) Close() error { return h.wakeW.Close() }

// over gives the terminal back. Nobody reads any more.
func (h *handOver) over() error {
	h.once.Do(func() {}) // from here on it is not taken any more
	h.mu.Lock()
	defer h.mu.Unlock()
	err := errors.Join(h.err, h.wakeR.Close())
	if cerr := h.wakeW.Close(); !errors.Is(cerr, os.ErrClosed) {
		err = errors.Join(err, cerr)
	}
	if h.old != nil {
		// The guest's shell may have hidden the cursor or be in the middle of a
		// line.
		_, werr := io.WriteString(h.out, "\x1b[?25h\x1b[0m\r\n")
		err = errors.Join(err, werr, term.Restore(int(h.in.Fd()), h.old))
		h.old = nil
	}
	if err != nil {
		return fmt.Errorf("take the terminal back: %w", err)
	}
	return nil
}
