// Command blockrig is a kernel regression harness for the block layer.
package main

import (
	"os"

	"github.com/blockrig/blockrig/initramfs/guest"
)

func main() {
	// In the guest the same executable is PID 1, and the process that does
	// the I/O.
	if os.Getpid() == 1 && isInit() {
		guest.Main()
	}
	switch os.Args[0] {
	case guest.ChildName:
		os.Exit(guest.Child())
	case guest.FillName:
		os.Exit(guest.Fill(os.Args[1:]))
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// isInit tells PID 1 of a machine from PID 1 of a container, where blockrig
// may be the only process: the kernel starts it as /init.
func isInit() bool { return os.Args[0] == "/init" }
