// Command blockrig is a kernel regression harness for the block layer.
package main

import (
	"os"

	"github.com/blockrig/blockrig/initramfs/guest"
)

func main() {
	// In the guest the same executable is PID 1, and the process that does
	// the I/O.
	if os.Getpid() == 1 {
		guest.Main()
	}
	if os.Args[0] == guest.ChildName {
		os.Exit(guest.Child())
	}
}
