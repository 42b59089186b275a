package child

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func shell(script string, args ...string) *exec.Cmd {
	return exec.Command("sh", append([]string{"-c", script, "sh"}, args...)...)
}

// fifo makes a pipe that a test reads: it ends when nobody that was started
// holds it for writing any more.
func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ended waits until nobody has the fifo open for writing.
func ended(t *testing.T, f *bufio.Reader) {
	t.Helper()
	gone := make(chan error, 1)
	go func() {
		_, err := f.ReadString(0)
		gone <- err
	}()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Fatal("a process still runs")
	}
}

// open opens a fifo for reading and waits for a line in it: the number of a
// process that holds it.
func open(t *testing.T, path string) (*bufio.Reader, int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r := bufio.NewReader(f)
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return r, pid
}

func TestRunGivesTheChildsStatusAndOutput(t *testing.T) {
	var out strings.Builder
	cmd := shell("echo hello; exit 7")
	cmd.Stdout = &out
	err := Run(t.Context(), cmd, Options{})
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 || out.String() != "hello\n" {
		t.Errorf("got %v and %q", err, out.String())
	}
	if err := Run(t.Context(), exec.Command("/nonexistent/program"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestWhatAChildLeavesInItsGroupIsKilled(t *testing.T) {
	hold := fifo(t)
	result := make(chan error, 1)
	go func() {
		var out strings.Builder // the one left behind holds it, too
		cmd := shell(`(trap "" TERM HUP; exec 3>"$1"; echo 1 >&3; sleep 1000) & read x <"$2"`, hold, hold+"2")
		cmd.Stdout = &out
		result <- Run(t.Context(), cmd, Options{})
	}()
	if err := syscall.Mkfifo(hold+"2", 0o600); err != nil {
		t.Fatal(err)
	}
	r, _ := open(t, hold)
	if err := os.WriteFile(hold+"2", []byte("end\n"), 0); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
	ended(t, r)
}

func TestTheContextEndsTheChildAndItsChildren(t *testing.T) {
	for what, test := range map[string]struct {
		script string
		opt    Options
	}{
		"one that obeys":    {`exec 3>"$1"; sleep 1000 & echo 1 >&3; wait`, Options{Grace: time.Hour}},
		"one that doesn't":  {`trap "" TERM; exec 3>"$1"; echo 1 >&3; while :; do sleep 1000; done`, Options{Grace: time.Millisecond}},
		"by another signal": {`trap "exit 0" INT; trap "" TERM; exec 3>"$1"; sleep 1000 & echo 1 >&3; wait`, Options{Signal: syscall.SIGINT, Grace: time.Hour}},
	} {
		t.Run(what, func(t *testing.T) {
			hold := fifo(t)
			why := errors.New("enough")
			ctx, cancel := context.WithCancelCause(t.Context())
			result := make(chan error, 1)
			go func() { result <- Run(ctx, shell(test.script, hold), test.opt) }()
			r, _ := open(t, hold)
			cancel(why)
			if err := <-result; !errors.Is(err, why) {
				t.Errorf("got %v, want the context's cause", err)
			}
			ended(t, r)
		})
	}
}

func TestNothingIsStartedWhenTheContextHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	mark := filepath.Join(t.TempDir(), "mark")
	if err := Run(ctx, shell(`: >"$1"`, mark), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Error("it ran")
	}
}

// daemon leaves its group and session, ignores what it can, and writes its
// number.
const daemon = `setsid sh -c 'trap "" TERM HUP INT; exec 3>"$1"; echo $$ >&3; while :; do sleep 1000; done' sh "$1" >/dev/null 2>&1 &`

func TestAContainedChildsDaemonsDieWithIt(t *testing.T) {
	if !CanContain() {
		t.Skip("this user may not make PID namespaces here")
	}
	hold, goOn := fifo(t), fifo(t)
	result := make(chan error, 1)
	go func() {
		result <- Run(t.Context(), shell(daemon+` read x <"$2"; exit 3`, hold, goOn), Options{Contain: true})
	}()
	r, _ := open(t, hold)
	if err := os.WriteFile(goOn, []byte("end\n"), 0); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := <-result; !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("got %v", err)
	}
	ended(t, r)
}

// TestMain makes of the test program the parent that is killed.
func TestMain(m *testing.M) {
	if hold := os.Getenv("CHILD_TEST_PARENT"); hold != "" {
		o := Options{Contain: os.Getenv("CHILD_TEST_CONTAIN") != ""}
		script := `exec 3>"$1"; echo 1 >&3; exec sleep 1000`
		if o.Contain {
			script = daemon + ` sleep 1000`
		}
		fmt.Fprintln(os.Stderr, Run(context.Background(), shell(script, hold), o))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestTheChildDiesWithAKilledParent(t *testing.T) {
	for what, env := range map[string]string{"alone": "", "with its daemons": "CHILD_TEST_CONTAIN=1"} {
		t.Run(what, func(t *testing.T) {
			if env != "" && !CanContain() {
				t.Skip("this user may not make PID namespaces here")
			}
			hold := fifo(t)
			parent := exec.Command(os.Args[0])
			parent.Env = append(os.Environ(), "CHILD_TEST_PARENT="+hold, env)
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			r, _ := open(t, hold)
			_ = parent.Process.Kill()
			_ = parent.Wait() // it was killed
			ended(t, r)
		})
	}
}

func TestOutputIsBounded(t *testing.T) {
	out, err := Output(t.Context(), shell("echo fine"), Options{}, 100)
	if err != nil || string(out) != "fine\n" {
		t.Errorf("got %q, %v", out, err)
	}
	out, err = Output(t.Context(), exec.Command("yes"), Options{}, 1000)
	if err == nil || !strings.Contains(err.Error(), "more than 1000 bytes") || len(out) > 1000 {
		t.Errorf("got %d bytes, %v", len(out), err)
	}
	_, err = Output(t.Context(), shell(`echo one >&2; printf 'two\033[31m\n' >&2; exit 1`), Options{}, 100)
	if err == nil || err.Error() != `sh: exit status 1: one; two\u001b[31m` {
		t.Errorf("got %v", err)
	}
}

func TestATailKeepsTheEnd(t *testing.T) {
	tail := &Tail{Limit: 10}
	for i := range 100 {
		fmt.Fprintf(tail, "line %d\n", i)
	}
	if text, cut := tail.Text(); text != "8\nline 99\n" || !cut {
		t.Errorf("got %q, %v", text, cut)
	}
	if got := tail.Line(); got != "line 99" {
		t.Errorf("got %q", got)
	}
}
