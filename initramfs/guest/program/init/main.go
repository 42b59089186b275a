// Command init is the guest's /init. It holds nothing that only the host
// needs: a kernel unpacks it at every cold boot, and starts it several times.
package main

import (
	"fmt"
	"os"

	"github.com/blockrig/blockrig/initramfs/guest"
)

func main() {
	guest.Enter(os.Args)
	fmt.Fprintln(os.Stderr, "blockrig: this is the guest's /init and runs only there")
	os.Exit(2)
}
