package qemu

import "io"

// ConsoleInput is what the guest reads from ttyS0. A write after the machine's
// end fails with ErrEnded.
func (m *Machine) ConsoleInput() io.Writer { return m.console }
