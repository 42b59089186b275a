package initramfs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const helloProgram = `package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) > 1 {
		panic("asked to")
	}
	fmt.Println("hello from", VERSION)
}

const VERSION = "1"
`

// buildProgram compiles a Go program for the guest.
func buildProgram(t testing.TB, source string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	src, exe := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	if err := os.WriteFile(src, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"build"}, args...), "-o", exe, src)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GO111MODULE=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v: %s", err, out)
	}
	return exe
}

func TestAStaticExecutableIsRead(t *testing.T) {
	exe := buildProgram(t, helloProgram)
	data, id, err := readExecutable(exe)
	if err != nil {
		t.Fatal(err)
	}
	if id.Size != int64(len(data)) || id.Ino == 0 {
		t.Errorf("identity %+v of a file of %d bytes", id, len(data))
	}
}

func TestADynamicExecutableIsRefused(t *testing.T) {
	// Given an executable as the Go toolchain links it with an interpreter.
	exe := buildProgram(t, helloProgram, "-buildmode=pie")
	_, _, err := readExecutable(exe)
	if !errors.Is(err, ErrDynamic) {
		t.Fatalf("got %v, want ErrDynamic", err)
	}
	for _, want := range []string{exe, "CGO_ENABLED=0"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q says nothing of %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q has more than a line", err)
	}
}

func TestWhatIsNoExecutableIsRefused(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing"):   "no such file",
		dir:                             "no regular file",
		write("script", []byte("#!sh")): "no ELF executable",
		write("empty", nil):             "no ELF executable",
		write("arm", elfImage{machine: 183}.bytes(t)):                   "no x86-64 executable",
		write("libs", elfImage{needed: []string{"libc.so.6"}}.bytes(t)): "CGO_ENABLED=0",
		write("core", elfImage{typ: 4}.bytes(t)):                        "no x86-64 executable",
	} {
		t.Run(filepath.Base(path), func(t *testing.T) {
			if _, _, err := readExecutable(path); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error with %q", err, want)
			}
		})
	}
}

func TestAStrippedProgramStillRuns(t *testing.T) {
	for name, args := range map[string][]string{"static": nil, "with an interpreter": {"-buildmode=pie"}} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(buildProgram(t, helloProgram, args...))
			if err != nil {
				t.Fatal(err)
			}
			got := strip(data)
			if len(got) > len(data)*8/10 {
				t.Errorf("stripping took only %d of %d bytes", len(data)-len(got), len(data))
			}
			if again := strip(got); !bytes.Equal(again, got) {
				t.Error("stripping twice is not stripping once")
			}
			exe := filepath.Join(t.TempDir(), "stripped")
			if err := os.WriteFile(exe, got, 0o755); err != nil {
				t.Fatal(err)
			}
			if name != "static" {
				return // the host may not have the interpreter
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, exe).CombinedOutput()
			if err != nil || string(out) != "hello from 1\n" {
				t.Errorf("it says %q, %v", out, err)
			}
			// A panic still names the function: the guest's traces are read.
			out, _ = exec.CommandContext(ctx, exe, "panic").CombinedOutput()
			if !strings.Contains(string(out), "main.main()") {
				t.Errorf("its panic says %q", out)
			}
		})
	}
}

func TestWhatCannotBeStrippedStaysAsItIs(t *testing.T) {
	for _, data := range [][]byte{nil, []byte("text"), elfImage{typ: 2}.bytes(t)} {
		if got := strip(data); !bytes.Equal(got, data) {
			t.Errorf("%d bytes became %d", len(data), len(got))
		}
	}
}
