package guest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/guest/engine"
	"github.com/blockrig/blockrig/initramfs/guest/layer"
	"github.com/blockrig/blockrig/scenarios"
)

// A request is what PID 1 tells the child to do. One field is set.
type request struct {
	IO      *engine.Request      `json:",omitempty"`
	Chain   []engine.Request     `json:",omitempty"`
	Zone    *engine.Zones        `json:",omitempty"`
	Verify  *engine.Request      `json:",omitempty"`
	Compare *engine.Compare      `json:",omitempty"`
	Write   *textFor             `json:",omitempty"`
	Set     []scenarios.FileText `json:",omitempty"`
	Look    *engine.Look         `json:",omitempty"`
	Sweep   *engine.Sweep        `json:",omitempty"`
}

// textFor is a text for a file of the kernel's, which may have none of that name
// where MayLack says so.
type textFor struct {
	Path, Text string
	MayLack    bool `json:",omitempty"`
}

// A reply is what the child says: its thread, before the first request; what
// it did; that it has closed all and waits for the next request.
type reply struct {
	TID  int // thread that makes the system calls
	Idle bool
	scenarios.Observation
	Chain  []scenarios.Observation
	Holds  []string   // what was looked at
	Swept  [][]string // what programs answered
	Fail   string     // the child could not try
	Cannot bool       // and no other one could
}

// child is the process that does the I/O, started before it is needed.
type child struct {
	cmd     *exec.Cmd
	tid     int
	in      io.WriteCloser
	replies chan reply
	waited  chan error
}

func startChild() (*child, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{childName}
	cmd.Stderr = os.Stderr
	// A Go runtime with one processor starts fewer threads. Signals of its own
	// would only interrupt what the child does.
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// Not StdoutPipe: Wait would close it under the reader.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = w
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	c := &child{cmd: cmd, in: in, replies: make(chan reply, 4), waited: make(chan error, 1)}
	go func() {
		defer close(c.replies)
		defer r.Close()
		d := json.NewDecoder(bufio.NewReader(r))
		for {
			var said reply
			if d.Decode(&said) != nil {
				return
			}
			c.replies <- said
		}
	}()
	go func() { c.waited <- cmd.Wait() }()
	hello, ok := <-c.replies
	if !ok {
		return nil, fmt.Errorf("the child ended at once: %w", <-c.waited)
	}
	c.tid = hello.TID
	return c, nil
}

func (c *child) ask(r request) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = c.in.Write(append(b, '\n'))
	return err
}

// task is the child as one that is watched.
func (c *child) task() task {
	return task{pid: c.cmd.Process.Pid, tid: c.tid, kill: c.cmd.Process.Kill, ended: c.waited, said: c.replies}
}

// childMain is the main function of the process that does the I/O.
func childMain() int {
	runtime.LockOSThread()
	if os.Getppid() != 1 {
		fmt.Fprintln(os.Stderr, "blockrig: "+childName+" is a part of the guest and runs only there")
		return 2
	}
	// What the kernel's reports call the task.
	name := append([]byte(childName), 0)
	if err := unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0); err != nil {
		return 1
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	w := worker{sweepers: map[string]*engine.Sweeper{}}
	if out.Encode(reply{TID: unix.Gettid()}) != nil {
		return 1
	}
	for {
		var r request
		if err := in.Decode(&r); err != nil {
			return 1
		}
		answer, release, err := w.do(r)
		if err != nil {
			answer.Fail, answer.Cannot = err.Error(), errors.Is(err, layer.ErrCannot)
		}
		if out.Encode(answer) != nil {
			return 1
		}
		// What a close does is not a part of the I/O.
		release()
		if out.Encode(reply{Idle: true}) != nil {
			return 1
		}
	}
}

// A worker is what the child keeps between two requests.
type worker struct {
	sweepers map[string]*engine.Sweeper // by path
}

// do does what was asked. release gives back what it took.
func (w worker) do(r request) (answer reply, release func(), err error) {
	release = func() {}
	began := engine.Submitted()
	defer func() { answer.Submitted = engine.Submitted() - began }()
	switch {
	case r.IO != nil:
		answer.Observation, release, err = engine.Do(*r.IO)
	case r.Zone != nil:
		answer.Observation, err = r.Zone.Do()
	case len(r.Chain) > 0:
		answer.Returned = true
		answer.Chain, release, err = engine.DoChain(r.Chain)
	case r.Verify != nil:
		answer.Observation, release, err = engine.Verify(*r.Verify)
	case r.Compare != nil:
		answer.Observation, release, err = r.Compare.Do()
	case r.Sweep != nil:
		answer.Returned = true
		sweeper := w.sweepers[r.Sweep.Path]
		if sweeper == nil {
			if sweeper, err = engine.NewSweeper(*r.Sweep); err != nil {
				return answer, release, err
			}
			w.sweepers[r.Sweep.Path] = sweeper
		}
		answer.Swept = sweeper.Do(*r.Sweep)
	case r.Look != nil:
		answer.Returned = true
		answer.Holds, err = r.Look.Do()
	case r.Set != nil:
		answer.Returned = true
		told, no := layer.Set(r.Set)
		if answer.Failed = told; errors.Is(no, layer.ErrCannot) {
			err = no
		} else if no != nil {
			answer.Errno, answer.Output = engine.ErrnoName(no), no.Error()
		}
	case r.Write != nil:
		answer.Returned = true
		if _, gone := os.Stat(r.Write.Path); gone != nil && !r.Write.MayLack {
			return answer, release, noFile(gone)
		}
		if err := layer.WriteText(r.Write.Path, r.Write.Text); err != nil {
			answer.Errno, answer.Output = engine.ErrnoName(err), err.Error()
		}
	default:
		err = errors.New("nothing to do")
	}
	return answer, release, err
}
