package qemu

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/digitalocean/go-qemu/qmp"

	"github.com/blockrig/blockrig/harness/text"
)

// ErrHost marks trouble of the host or of QEMU, which says nothing about the
// guest's kernel.
var ErrHost = errors.New("host trouble")

// Trouble is the first trouble of the host that stopped the machine, wrapping
// ErrHost; nil when there was none. The machine stays stopped.
func (m *Machine) Trouble() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trouble
}

// Troubled is closed when Trouble has something to say.
func (m *Machine) Troubled() <-chan struct{} { return m.faulted }

// note takes what matters to the machine itself out of an event.
func (m *Machine) note(e qmp.Event) {
	m.spec.Log.Debug("QEMU event", "event", e.Event, "data", e.Data)
	said := func(key string) string {
		s, _ := e.Data[key].(string)
		return text.Excerpt([]byte(s), 200)
	}
	switch e.Event {
	case "SHUTDOWN":
		m.mu.Lock()
		m.shutdown = said("reason")
		m.mu.Unlock()

	case "BLOCK_IO_ERROR":
		if action := said("action"); action == "ignore" || action == "report" {
			return // a fault that was injected: see image
		}
		disk := strings.TrimPrefix(said("node-name"), nodeName(""))
		m.fault(fmt.Errorf("%w: QEMU can't %s the file of disk %s: %s", ErrHost, said("operation"), disk, said("reason")))

	case "STOP":
		// Most stops are our own; the status shows the others.
		ctx, cancel := context.WithTimeout(context.Background(), RunLimit)
		defer cancel()
		var now struct {
			Status string `json:"status"`
		}
		switch err := m.mon.Execute(ctx, "query-status", nil, &now); {
		case err != nil: // gone or silent: that is found elsewhere
		case now.Status == "internal-error":
			m.fault(fmt.Errorf("%w: QEMU stopped the machine with an internal error (accelerator %s)", ErrHost, m.spec.Accel))
		}
	}
}

func (m *Machine) fault(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.trouble == nil {
		m.trouble = why
		close(m.faulted)
	}
}
