package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/protocol"
)

// kmsgMax is the longest line written: /dev/kmsg refuses more than about
// 1,000 bytes.
const kmsgMax = 880

type kmsg struct {
	mu sync.Mutex
	f  *os.File
}

func openKmsg() (*kmsg, error) {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/kmsg: %w", err)
	}
	return &kmsg{f: f}, nil
}

// say writes a line for people to the kernel's log.
func (k *kmsg) say(format string, args ...any) {
	k.write(protocol.GuestLine{Text: oneLine(fmt.Sprintf(format, args...))})
}

// write writes one line to the kernel's log. What it says has been sent over
// ttyS1 too, so an error is no loss.
func (k *kmsg) write(l protocol.GuestLine) {
	line := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, l.String())
	if len(line) > kmsgMax {
		line = line[:kmsgMax] + "…"
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	_, _ = k.f.WriteString("<5>" + line + "\n")
}

// A sign is what a kernel message says about the fate of a step.
type sign int

const (
	signNone sign = iota
	signIO        // an I/O error line: many of them are a flood
	signDead      // the kernel is damaged: nothing is to be waited for
)

// signs are looked for in what the kernel logs during a step, to end the
// child at once. They decide no verdict: that is the console's.
var signs = []struct {
	text string
	sign sign
}{
	{";BUG: ", signDead}, // begins the message
	{"Oops: ", signDead},
	{"general protection fault", signDead},
	{"kernel BUG at", signDead},
	{"I/O error, dev ", signIO},
	{"Buffer I/O error on dev ", signIO},
	{"callbacks suppressed", signIO},
}

func signOf(line string) sign {
	if _, ours := protocol.ParseGuestLine(line); ours {
		return signNone
	}
	for _, s := range signs {
		if strings.Contains(line, s.text) {
			return s.sign
		}
	}
	return signNone
}

// signsSeen is what the kernel's log has shown since a step began.
type signsSeen struct {
	dead atomic.Bool
	io   atomic.Int64 // lines about I/O errors
}

func (s *signsSeen) take(found sign) {
	switch found {
	case signDead:
		s.dead.Store(true)
	case signIO:
		s.io.Add(1)
	}
}

// watchSigns opens the kernel's log at its end and notes every sign that
// appears until stop is closed.
func watchSigns(log string, stop <-chan struct{}) (*signsSeen, error) {
	// A pollable file: Close ends a pending Read.
	f, err := os.OpenFile(log, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekEnd); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	out := &signsSeen{}
	go func() {
		<-stop
		_ = f.Close()
	}()
	go func() {
		buf := make([]byte, 8192)
		for {
			n, err := f.Read(buf)
			switch {
			case errors.Is(err, unix.EPIPE):
				out.take(signIO) // records were overwritten before they were read: a flood by itself
			case err != nil:
				return
			default:
				out.take(signOf(string(buf[:n])))
			}
		}
	}()
	return out, nil
}
