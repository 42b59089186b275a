// Command blockrig is a kernel regression harness for the block layer.
package main

import (
	"os"

	"github.com/blockrig/blockrig/initramfs/guest"
)

func main() {
	guest.Enter(os.Args) // this may be the guest's /init
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
