package symbols

import (
	"path"

	"github.com/blockrig/blockrig/harness/console"
)

// sourcePath cuts the folder off in which the kernel was built.
func sourcePath(p string) string { return console.SourcePath(path.Clean(p)) }
