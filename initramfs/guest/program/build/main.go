// Command build builds the guest program for package program, which holds it.
// It is run in the root of the module.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"github.com/blockrig/blockrig"
)

const dir = "initramfs/guest/program"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := build(ctx, filepath.Join(dir, "built")); err != nil {
		fmt.Fprintln(os.Stderr, "build the guest program:", err)
		os.Exit(1)
	}
}

func build(ctx context.Context, to string) error {
	// Nobody takes a half of it: what it is made of is said when it is there.
	sources := filepath.Join(to, "sources")
	if err := os.RemoveAll(sources); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(to, "init"), "./"+dir+"/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	return os.WriteFile(sources, []byte(blockrig.GuestSources()+"\n"), 0o644)
}
