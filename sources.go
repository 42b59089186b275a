// Package blockrig knows the sources of the guest program, so that blockrig
// can tell whether the one that was built into it is made of those that it was
// built from itself.
package blockrig

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
)

// Of the packages outside this module go.sum tells.
//
//go:embed go.mod go.sum harness/text/*.go initramfs/guest/*.go initramfs/guest/blktrace/*.go initramfs/guest/engine/*.go initramfs/guest/layer/*.go initramfs/guest/program/init/*.go initramfs/protocol/*.go scenarios/*.go scenarios/programs/*.go
var guestSources embed.FS

// GuestSources is the SHA-256, in hex, of the guest program's sources, one
// behind the other in the order of their paths.
func GuestSources() string {
	sum := sha256.New()
	_ = fs.WalkDir(guestSources, ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			data, _ := guestSources.ReadFile(path) // what is embedded can be read
			sum.Write(data)
		}
		return err
	})
	return hex.EncodeToString(sum.Sum(nil))
}
