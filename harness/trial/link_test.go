package trial

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/initramfs/protocol"
)

// newTestLink is a link whose other end is the test's.
func newTestLink(t *testing.T) (*link, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	l, err := newLink(near, filepath.Join(t.TempDir(), "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = near.Close()
		_ = far.Close()
		_ = l.events.Close()
	})
	return l, far
}

// say writes lines to the link and closes the line.
func say(t *testing.T, far net.Conn, lines ...string) {
	t.Helper()
	go func() {
		defer far.Close()
		for _, line := range lines {
			if _, err := far.Write([]byte(line)); err != nil {
				return // the reader had enough
			}
		}
	}()
}

func TestNoiseOnTheLineIsNoMessage(t *testing.T) {
	l, far := newTestLink(t)
	say(t, far, "\x00\xff\x1b[2J\n", `{"trial":1,"ms":5,"hel`, `lo":{"release":"6.18.15"}}`+"\n", "\n", "[1,2]\n", `{"trial":"x"}`+"\n",
		`{"trial":2,"beat":{}}`+"\n", `{"trial":3,"beat":{}`)

	go l.run(make(chan struct{}))
	var got []string
	for m := range l.messages {
		got = append(got, fmt.Sprintf("%d hello %t beat %t", m.Trial, m.Hello != nil, m.Beat != nil))
	}

	// What was cut off at the end is no message either.
	if diff := cmp.Diff([]string{"1 hello true beat false", "2 hello false beat true"}, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if l.err != nil {
		t.Errorf("error %v", l.err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(l.events.Name())
	if err != nil {
		t.Fatal(err)
	}
	noise := 0
	for line := range bytes.Lines(text) {
		var e struct{ From string }
		if err := json.Unmarshal(line, &e); err != nil {
			t.Errorf("line %q of the record: %v", line, err)
		}
		if e.From == "noise" {
			noise++
		}
		if bytes.ContainsAny(line, "\x1b\x00") {
			t.Errorf("control codes in the record: %q", line)
		}
	}
	if noise != 4 {
		t.Errorf("%d lines of noise recorded, want 4:\n%s", noise, text)
	}
}

func TestLineWithoutAnEndIsAnError(t *testing.T) {
	l, far := newTestLink(t)
	say(t, far, strings.Repeat("x", protocol.MaxLine+1))
	go l.run(make(chan struct{}))
	for m := range l.messages {
		t.Errorf("message %+v", m)
	}
	if !errors.Is(l.err, bufio.ErrBufferFull) {
		t.Errorf("error %v, want that the line is too long", l.err)
	}
}

func TestLinkThatNobodyListensToEnds(t *testing.T) {
	l, far := newTestLink(t)
	var lines []string
	for range cap(l.messages) + 10 {
		lines = append(lines, `{"trial":1,"started":{"pid":2}}`+"\n")
	}
	say(t, far, lines...)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run(stop)
	}()
	close(stop)
	<-done
}

func TestBeatsAreNotRecorded(t *testing.T) {
	l, far := newTestLink(t)
	say(t, far, `{"trial":1,"beat":{}}`+"\n", `{"trial":1,"started":{"pid":2}}`+"\n")
	go l.run(make(chan struct{}))
	for range l.messages {
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(l.events.Name())
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n != 1 || !bytes.Contains(text, []byte(`"started"`)) {
		t.Errorf("record %s, want the start alone", text)
	}
}

func TestRecordThatCannotBeWrittenIsToldAtTheEnd(t *testing.T) {
	l, far := newTestLink(t)
	if err := l.events.Close(); err != nil {
		t.Fatal(err)
	}
	say(t, far, `{"trial":1,"started":{"pid":2}}`+"\n")
	go l.run(make(chan struct{}))
	n := 0
	for range l.messages {
		n++
	}
	if n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
	if err := l.close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v, want that it can't be written", err)
	}
}

func TestMessageIsOneLine(t *testing.T) {
	l, far := newTestLink(t)
	go func() {
		if err := l.send(protocol.ToGuest{Setup: &protocol.Setup{Script: "echo a\necho b\n"}}); err != nil {
			t.Error(err)
		}
	}()
	r := bufio.NewReader(far)
	if line, err := r.ReadBytes('\n'); err != nil || len(line) != 1 {
		t.Fatalf("%q, %v: want the end of what may have been heard before", line, err)
	}
	line, err := r.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var m protocol.ToGuest
	if err := json.Unmarshal(line, &m); err != nil || m.Setup == nil || m.Setup.Script != "echo a\necho b\n" {
		t.Errorf("line %s: %v", line, err)
	}
}

func TestLineThatIsGoneIsAnErrorOfSend(t *testing.T) {
	l, far := newTestLink(t)
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.send(protocol.ToGuest{}); err == nil {
		t.Error("no error")
	}
}
