package protocol

import "fmt"

// ScriptFile is where an initramfs may have all that the host would say, a
// ToGuest a line. A guest that finds it needs no host: it does what it says and
// ends the machine. Where the script has an Ask, somebody must listen to its
// ttyS1.
const ScriptFile = "/blockrig-script.jsonl"

// AskLine is what the guest of a script says on ttyS1 to have part n of what is
// the host's done.
func AskLine(n int) string { return fmt.Sprintf("blockrig asks for %d", n) }

// DoneLine is what it waits for then.
func DoneLine(n int) string { return fmt.Sprintf("blockrig did %d", n) }
