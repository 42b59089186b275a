package kernels

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fetchUntil, in the environment, makes the test executable fetch a kernel
// and stop, for its parent to kill it, where the progress is as named.
const fetchUntil = "BLOCKRIG_TEST_FETCH_UNTIL"

func TestMain(m *testing.M) {
	if at := os.Getenv(fetchUntil); at != "" {
		fmt.Println(fetchAndStop(at, os.Args[1], os.Args[2]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func fetchAndStop(at, cache, sources string) error {
	s, err := Open(context.Background(), cache, nil)
	if err != nil {
		return err
	}
	s.aptSources = []string{sources}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.Progress = func(what string, _, _ int64) {
		if what == at {
			fmt.Println("there")
			<-ctx.Done() // never
		}
	}
	_, err = s.Resolve(ctx, "debian:6.18.9")
	return fmt.Errorf("not killed: %w", err)
}

func TestKilledWhileFetching(t *testing.T) {
	for _, at := range []string{"linux-image-6.18.9+deb13-amd64", "unpacking linux-image-6.18.9+deb13-amd64", "reading modules"} {
		t.Run(at, func(t *testing.T) {
			a := debianArchive(t)
			if _, err := a.open().Available(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			// Given a process that is killed while it fetches,
			cmd := exec.CommandContext(t.Context(), os.Args[0], a.cache, a.sources)
			cmd.Env = append(os.Environ(), fetchUntil+"="+at)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			killErr := cmd.Process.Kill()
			_ = cmd.Wait() // says that it was killed
			if err != nil || killErr != nil || line != "there\n" {
				t.Fatalf("%q, %v, %v", line, err, killErr)
			}
			// then apt dies with it,
			deadline := time.Now().Add(30 * time.Second)
			for running(t, a.cache) && time.Now().Before(deadline) {
				time.Sleep(10 * time.Millisecond)
			}
			if running(t, a.cache) {
				t.Error("apt goes on")
			}
			// no half kernel is there,
			s := a.open()
			if all, err := s.List(); err != nil || all != nil {
				t.Errorf("the cache has %v, %v; want nothing", all, err)
			}
			// and a later start sweeps and fetches anew.
			if _, err := a.open().Resolve(t.Context(), "debian:6.18.9"); err != nil {
				t.Error(err)
			}
			if left := a.left(); left != nil {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// running tells whether a process has cache in its command line.
func running(t *testing.T, cache string) bool {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		// One that has ended meanwhile can't be read, and does not count.
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), cache) {
			return true
		}
	}
	return false
}
