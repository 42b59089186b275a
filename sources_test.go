package blockrig

import (
	"io/fs"
	"os/exec"
	"strings"
	"testing"
)

// Given the packages of this module that the guest program is made of, then
// the sources of each count.
func TestEveryPackageOfTheGuestProgramCounts(t *testing.T) {
	const module = "github.com/blockrig/blockrig/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./initramfs/guest/program/init").Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		dir, ours := strings.CutPrefix(strings.TrimSpace(line), module)
		if !ours {
			continue
		}
		n++
		if files, err := fs.Glob(guestSources, dir+"/*.go"); err != nil || len(files) == 0 {
			t.Errorf("the guest program is made of %s, too, and its sources are not embedded in sources.go", dir)
		}
	}
	if n == 0 {
		t.Errorf("no package of this module in %s", out)
	}
}
