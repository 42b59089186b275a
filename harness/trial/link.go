package trial

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/blockrig/blockrig/initramfs/protocol"
)

// maxNoise is how many lines that are no messages are recorded.
const maxNoise = 100

// link is the conversation over ttyS1, and its record.
type link struct {
	rw     io.ReadWriter
	events *os.File
	start  time.Time

	messages chan protocol.FromGuest // closed when the line ends
	err      error                   // why it ended; valid then

	mu     sync.Mutex
	logErr error
}

func newLink(rw io.ReadWriter, path string) (*link, error) {
	// One that is there is that of the machine whose power was cut.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create the record of messages: %w", err)
	}
	return &link{rw: rw, events: f, start: time.Now(), messages: make(chan protocol.FromGuest, 256)}, nil
}

// run reads messages until the line ends. Nobody has to take them all: when
// stop is closed the rest is dropped.
func (l *link) run(stop <-chan struct{}) {
	defer close(l.messages)
	r := bufio.NewReaderSize(l.rw, protocol.MaxLine)
	noise := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) {
				l.err = fmt.Errorf("read what the guest says: %w", err)
			}
			return
		}
		var m protocol.FromGuest
		if json.Unmarshal(line, &m) != nil {
			// The port's first bytes may be noise; a guest that talks
			// nonsense is found by its silence.
			if noise++; noise <= maxNoise {
				l.record("noise", string(line[:min(len(line), 200)]))
			}
			continue
		}
		if m.Beat == nil {
			l.record("guest", m)
		}
		select {
		case l.messages <- m:
		case <-stop:
		}
	}
}

func (l *link) send(m protocol.ToGuest) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write a message to the guest: %w", err)
	}
	l.record("host", m)
	// The line break in front ends what a saved machine has heard only half of.
	if _, err := l.rw.Write(slices.Concat([]byte{'\n'}, b, []byte{'\n'})); err != nil {
		return fmt.Errorf("tell the guest: %w", err)
	}
	return nil
}

// give tells the guest how much time the host has given it since the last
// setup or step. It answers a beat, so that no more is sent than is read. It is
// not recorded.
func (l *link) give(d time.Duration) {
	ms := d.Milliseconds()
	if b, err := json.Marshal(protocol.ToGuest{Given: &ms}); err == nil {
		_, _ = l.rw.Write(append(b, '\n'))
	}
}

// record adds a line to events.jsonl. An error is kept for close.
func (l *link) record(from string, what any) {
	b, err := json.Marshal(struct {
		MS   int64  `json:"ms"`
		From string `json:"from"`
		What any    `json:"what"`
	}{time.Since(l.start).Milliseconds(), from, what})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		_, err = l.events.Write(append(b, '\n'))
	}
	if l.logErr == nil && err != nil {
		l.logErr = fmt.Errorf("record a message: %w", err)
	}
}

func (l *link) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.logErr, l.events.Close())
}
