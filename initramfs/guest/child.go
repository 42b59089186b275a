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

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// ioRequest is what PID 1 tells the child to do.
type ioRequest struct {
	File string
	Step protocol.Step
}

// ioReply is what the child answers. The first one, sent before any request,
// has only TID.
type ioReply struct {
	TID int // thread that makes the system call
	scenarios.Observation
	Fail string // the child could not try
}

// child is the process that does the I/O, started before it is needed.
type child struct {
	cmd     *exec.Cmd
	tid     int
	in      io.WriteCloser
	replies chan ioReply
	waited  chan error
}

func startChild() (*child, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{childName}
	cmd.Stderr = os.Stderr
	// A Go runtime with one processor starts fewer threads.
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off")
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
	c := &child{cmd: cmd, in: in, replies: make(chan ioReply, 2), waited: make(chan error, 1)}
	go func() {
		defer close(c.replies)
		defer r.Close()
		d := json.NewDecoder(bufio.NewReader(r))
		for {
			var reply ioReply
			if d.Decode(&reply) != nil {
				return
			}
			c.replies <- reply
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

func (c *child) request(r ioRequest) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = c.in.Write(append(b, '\n'))
	return err
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
	out := json.NewEncoder(os.Stdout)
	if out.Encode(ioReply{TID: unix.Gettid()}) != nil {
		return 1
	}
	var r ioRequest
	if err := json.NewDecoder(os.Stdin).Decode(&r); err != nil {
		return 1
	}
	reply, err := doIO(r)
	if err != nil {
		reply.Fail = err.Error()
	}
	if out.Encode(reply) != nil {
		return 1
	}
	return 0
}

// outside fills the buffer where no byte may change.
const outside = 0xA5

// doIO makes the one system call. Its buffer starts memory_offset bytes after
// a page boundary: where a compiler puts a buffer must not decide the case.
func doIO(r ioRequest) (ioReply, error) {
	s := r.Step
	if s.Op != "pread" {
		return ioReply{}, fmt.Errorf("operation %q is not known", s.Op)
	}
	if s.Length <= 0 || s.Length > 1<<30 || s.MemoryOffset < 0 || s.MemoryOffset > 1<<20 {
		return ioReply{}, fmt.Errorf("length %d, memory offset %d: out of bounds", s.Length, s.MemoryOffset)
	}
	page := int64(os.Getpagesize())
	start := page + s.MemoryOffset
	mem, err := unix.Mmap(-1, 0, int(start+s.Length+page), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return ioReply{}, fmt.Errorf("map the buffer: %w", err)
	}
	if uintptr(unsafe.Pointer(&mem[0]))%uintptr(page) != 0 {
		return ioReply{}, errors.New("the buffer is not on a page boundary")
	}
	for i := range mem {
		if int64(i) < start || int64(i) >= start+s.Length {
			mem[i] = outside
		}
	}
	buf := mem[start : start+s.Length]
	flags := unix.O_RDONLY | unix.O_CLOEXEC
	if s.Direct {
		// As the program of the report: O_RDWR|O_DIRECT.
		flags = unix.O_RDWR | unix.O_DIRECT | unix.O_CLOEXEC
	}
	fd, err := unix.Open(r.File, flags, 0)
	if err != nil {
		return ioReply{}, fmt.Errorf("open %s: %w", r.File, err)
	}
	n, err := unix.Pread(fd, buf, s.Offset)
	reply := ioReply{Observation: scenarios.Observation{Returned: true, Bytes: int64(max(n, 0))}}
	if err != nil {
		reply.Errno = errnoName(err)
	}
	if i := differs(buf[:reply.Bytes], s.Offset); i >= 0 {
		reply.Mismatch = &i
	}
	for i, b := range mem {
		if (int64(i) < start || int64(i) >= start+s.Length) && b != outside {
			at := int64(i) - start
			reply.Overrun = &at
			break
		}
	}
	return reply, nil
}

// differs gives the index of the first byte that is not the file's, or -1.
func differs(buf []byte, offset int64) int64 {
	for i, b := range buf {
		if b != protocol.Pattern(offset+int64(i)) {
			return int64(i)
		}
	}
	return -1
}

func errnoName(err error) string {
	var e unix.Errno
	if errors.As(err, &e) {
		if name := unix.ErrnoName(e); name != "" {
			return name
		}
		return fmt.Sprintf("errno %d", int(e))
	}
	return err.Error()
}
