package qemu

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// ErrEnded says that a machine has ended.
var ErrEnded = errors.New("the machine has ended")

// A serial is this side of a serial port. What the machine wrote before it
// ended can still be read.
type serial struct {
	conn io.ReadWriteCloser

	mu   sync.Mutex // held while reading
	over bool       // conn is closed, rest is all there is
	rest []byte
}

func (s *serial) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		if len(s.rest) == 0 {
			return 0, io.EOF
		}
		n := copy(p, s.rest)
		s.rest = s.rest[n:]
		return n, nil
	}
	n, err := s.conn.Read(p)
	return n, atEnd(err)
}

func (s *serial) Write(p []byte) (int, error) {
	n, err := s.conn.Write(p)
	if errors.Is(err, syscall.EPIPE) || isClosed(err) || errors.Is(err, syscall.ECONNRESET) {
		err = fmt.Errorf("write to a serial port: %w", ErrEnded)
	}
	return n, err
}

// Close gives the port up: reads end with io.EOF at once, and the guest
// talks to nobody.
func (s *serial) Close() error {
	err := s.conn.Close() // wakes a Read that holds the lock
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over, s.rest = true, nil
	if isClosed(err) {
		return nil
	}
	return err
}

// isClosed tells the error of an end that this process has closed: a socket's,
// or a pipe's.
func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) }

// finish reads what is left of a machine that has ended, and closes the
// connection.
func (s *serial) finish() error {
	s.mu.Lock() // a Read in progress ends: the other side is gone
	defer s.mu.Unlock()
	if s.over {
		return nil
	}
	rest, err := io.ReadAll(s.conn)
	s.over, s.rest = true, rest
	if err = atEnd(err); errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, s.conn.Close())
}

// atEnd makes one end of all ways in which the other side can go: a socket
// whose peer died with data unread is reset, not closed.
func atEnd(err error) error {
	if errors.Is(err, syscall.ECONNRESET) || isClosed(err) {
		return io.EOF
	}
	return err
}
