package console_test

import (
	"fmt"

	"github.com/blockrig/blockrig/harness/console"
)

// A host watches a console while the guest writes it.
func Example() {
	s := console.NewScanner(
		console.OnSign(func(x console.Sign) { fmt.Println("begins:", x.Kind) }),
		console.OnMark(func(_ int, text string) { fmt.Println("mark:", text) }),
	)
	fmt.Fprint(s, "[    2.000000] blockrig: guest: phase step\n")
	fmt.Fprint(s, "[    3.000000] WARNING: block/bio.c:1044 at bio_add_page+0x18b/0x250, CPU#0: kwor")
	fmt.Fprint(s, "ker/0:1/12\n[    3.000001] ---[ end trace 0000000000000000 ]---\n")
	s.Close()
	for _, f := range s.Findings() {
		fmt.Println(f.Title, f.Place)
	}
	// Output:
	// mark: blockrig: guest: phase step
	// begins: warn
	// WARNING in bio_add_page block/bio.c:1044
}
