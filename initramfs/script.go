package initramfs

import (
	"bytes"

	"github.com/blockrig/blockrig/initramfs/protocol"
)

// ScriptMember is what is to follow an initramfs of so many bytes, so that its
// guest does without a host: see protocol.ScriptFile.
func ScriptMember(size int64, script []byte) ([]byte, error) {
	var t tree
	if err := t.file(protocol.ScriptFile, 0o600, script); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	// An archive begins at a multiple of 4 bytes (the kernel's init/initramfs.c).
	out.Write(make([]byte, -size&3))
	err := t.write(&out)
	return out.Bytes(), err
}
