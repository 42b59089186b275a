package protocol

// ScriptFile is where an initramfs may have all that the host would say, a
// ToGuest a line. A guest that finds it needs no host: it does what it says and
// ends the machine.
const ScriptFile = "/blockrig-script.jsonl"
