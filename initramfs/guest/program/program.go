// Package program holds the guest program as an executable of its own, if the
// build put it there (just build does).
package program

import (
	"embed"
	"strings"
	"sync"

	"github.com/blockrig/blockrig"
)

// built has the executable, init, and what says of which sources it is.
//
//go:embed all:built
var built embed.FS

// Executable is a static executable that becomes /init. It is nil when there is
// none, or when it was built from other sources than this program: the guest
// and the host must speak the same language.
var Executable = sync.OnceValue(func() []byte {
	sources, err := built.ReadFile("built/sources")
	if err != nil || strings.TrimSpace(string(sources)) != blockrig.GuestSources() {
		return nil
	}
	exe, err := built.ReadFile("built/init")
	if err != nil {
		return nil
	}
	return exe
})
