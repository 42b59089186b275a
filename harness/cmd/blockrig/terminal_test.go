package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A pty is a terminal and the side that a person sits at.
func newPTY(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return person, terminal
}

// isRaw tells whether keys reach who reads as they are typed, Ctrl-C too.
func isRaw(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&(unix.ICANON|unix.ISIG|unix.ECHO) == 0
}

func TestHandOver(t *testing.T) {
	person, terminal := newPTY(t)
	var shown bytes.Buffer
	begun := 0
	h, err := newHandOver(terminal, &shown, func() { begun++ })
	if err != nil {
		t.Fatal(err)
	}
	if isRaw(t, terminal) || begun != 0 {
		t.Fatal("the terminal was taken before anything was said or typed")
	}

	// When the guest says something, the terminal is handed over, once.
	for range 2 {
		if _, err := io.WriteString(h, "> "); err != nil {
			t.Fatal(err)
		}
	}
	if !isRaw(t, terminal) || begun != 1 {
		t.Fatalf("raw %t, begun %d times", isRaw(t, terminal), begun)
	}

	// Every key gets through, Ctrl-C and Ctrl-D too, up to Ctrl-].
	if _, err := io.WriteString(person, "ls\r\x03\x04\x1dlost"); err != nil {
		t.Fatal(err)
	}
	typed, err := io.ReadAll(h)
	if err != nil || string(typed) != "ls\r\x03\x04" {
		t.Errorf("typed %q, error %v", typed, err)
	}

	if err := h.over(); err != nil {
		t.Fatal(err)
	}
	if isRaw(t, terminal) {
		t.Error("the terminal was not given back")
	}
}

func TestHandOverCloseWakesRead(t *testing.T) {
	_, terminal := newPTY(t)
	h, err := newHandOver(terminal, io.Discard, func() {})
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := h.Read(make([]byte, 1))
		read <- err
	}()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != io.EOF {
		t.Errorf("error %v, want EOF", err)
	}
	if err := h.over(); err != nil {
		t.Fatal(err)
	}
	if isRaw(t, terminal) {
		t.Error("the terminal was not given back")
	}
}

func TestHandOverNeverTaken(t *testing.T) {
	_, terminal := newPTY(t)
	h, err := newHandOver(terminal, io.Discard, func() { t.Error("begun") })
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.over(); err != nil {
		t.Fatal(err)
	}
}
