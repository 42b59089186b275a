package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// What a build is told by the linker; "" where it was not.
var (
	version  string // of a release
	revision string // what git describe said
)

// A build says what this executable was built from.
type build struct {
	Version  string `json:"version"`  // of the release, or of the module, such as v1.2.3; (devel) from a checkout
	Revision string `json:"revision"` // of the checkout; "" when it is not known
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func thisBuild() build {
	b := build{Version: cmp.Or(version, "unknown"), Revision: revision, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = cmp.Or(version, info.Main.Version, b.Version)
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Revision = cmp.Or(b.Revision, s.Value)
		case s.Key == "vcs.modified" && s.Value == "true" && revision == "":
			dirty = "-dirty"
		}
	}
	b.Revision += dirty
	return b
}

func (b build) String() string {
	s := b.Version
	if b.Revision != "" {
		s += ", revision " + b.Revision
	}
	return fmt.Sprintf("%s, %s, %s", s, b.Go, b.Platform)
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which blockrig this is", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := thisBuild()
			if a.format == "json" {
				return a.printJSON(b)
			}
			_, err := fmt.Fprintf(a.stdout, "blockrig version %s\n", b)
			return err
		},
	}
}
