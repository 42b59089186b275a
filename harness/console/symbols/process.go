package symbols

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/child"
)

// ErrNoTool says that neither tool is there.
var ErrNoTool = errors.New("neither llvm-symbolizer nor addr2line is there (apt-get install binutils)")

// A tool is a program that turns addresses into source lines.
type tool struct {
	path string
	llvm bool
}

func findTool() (tool, error) {
	for _, t := range []struct {
		name string
		llvm bool
	}{{"llvm-symbolizer", true}, {"addr2line", false}} {
		if path, err := exec.LookPath(t.name); err == nil {
			return tool{path, t.llvm}, nil
		}
	}
	return tool{}, ErrNoTool
}

// A call is one source line of an address; the innermost comes first.
type call struct {
	function string
	file     string
	line     int
}

// A process is a running tool for one file.
type process struct {
	*child.Process
	name string
	llvm bool
	in   io.WriteCloser
	pipe *os.File // from its stdout
	out  *bufio.Reader
	said *child.Tail // on stderr
}

// endWait is how long a tool may take to end once its input is closed.
const endWait = 5 * time.Second

// start executes the tool for a file. The process lives until close.
func (t tool) start(path string, relocatable bool) (_ *process, err error) {
	// A name that looks like an option is taken for none: it comes after one.
	args := []string{"-a", "-f", "-i", "-e", path}
	if relocatable {
		args = append(args, "-j", ".text")
	}
	if t.llvm {
		args = []string{"--output-style=LLVM", "--functions=linkage", "--inlines", "--no-demangle", "--obj=" + path}
	}
	cmd := exec.Command(t.path, args...)
	p := &process{name: t.path, llvm: t.llvm, said: &child.Tail{Limit: 1000}}
	cmd.Stderr = p.said
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("execute %s: %w", t.path, err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("execute %s: %w", t.path, err)
	}
	cmd.Stdout, p.pipe, p.out = in, out, bufio.NewReader(out)
	p.Process, err = child.Start(context.Background(), cmd, child.Options{})
	if err = errors.Join(err, in.Close()); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return p, nil
}

// ask returns the calls at an address, none if the tool doesn't know it. When
// ctx is done it kills the process and returns ctx's error.
func (p *process) ask(ctx context.Context, addr uint64) ([]call, error) {
	stop := context.AfterFunc(ctx, p.Kill)
	defer stop()
	calls, err := p.exchange(addr)
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	if err != nil {
		return nil, p.failed(err)
	}
	return calls, nil
}

// end is an address that no function has: addr2line's answer to it marks the
// end of the one before.
const end = "0xfffffffffffffff0"

func (p *process) exchange(addr uint64) ([]call, error) {
	question := fmt.Sprintf("%#x\n", addr)
	if !p.llvm {
		question += end + "\n"
	}
	if _, err := io.WriteString(p.in, question); err != nil {
		return nil, err
	}
	if !p.llvm { // "0x…", then pairs of lines, then end's three lines
		if _, err := p.line(); err != nil {
			return nil, err
		}
	}
	var calls []call
	for {
		function, err := p.line()
		if err != nil {
			return nil, err
		}
		if p.llvm && function == "" {
			return calls, nil
		}
		if !p.llvm && function == end {
			for range 2 {
				if _, err := p.line(); err != nil {
					return nil, err
				}
			}
			return calls, nil
		}
		where, err := p.line()
		if err != nil {
			return nil, err
		}
		if c, ok := parseWhere(function, where, p.llvm); ok {
			calls = append(calls, c)
		}
	}
}

// parseWhere reads "block/bio.c:1044", with a column from llvm-symbolizer and
// a discriminator from addr2line.
func parseWhere(function, where string, llvm bool) (call, bool) {
	where, _, _ = strings.Cut(where, " (discriminator")
	if llvm {
		if i := strings.LastIndexByte(where, ':'); i > 0 {
			where = where[:i]
		}
	}
	i := strings.LastIndexByte(where, ':')
	if i <= 0 || where[:i] == "??" {
		return call{}, false
	}
	line, err := strconv.Atoi(where[i+1:])
	if err != nil || line == 0 {
		return call{}, false
	}
	if function == "??" {
		function = ""
	}
	return call{function, sourcePath(where[:i]), line}, true
}

func (p *process) line() (string, error) {
	l, err := p.out.ReadSlice('\n')
	if err != nil {
		return "", fmt.Errorf("read its answer: %w", err)
	}
	return string(bytes.TrimRight(l, "\r\n")), nil
}

func (p *process) close() error {
	late := time.AfterFunc(endWait, p.Kill)
	defer late.Stop()
	closeErr := p.in.Close()
	// What it still writes would block it.
	_, drainErr := io.Copy(io.Discard, p.out)
	err := p.Wait()
	if err != nil {
		err = p.failed(err)
	} else {
		err = errors.Join(closeErr, drainErr)
	}
	return errors.Join(err, p.pipe.Close())
}

// failed adds what the tool complained of.
func (p *process) failed(err error) error {
	if text := p.said.Line(); text != "" {
		return fmt.Errorf("%s: %w (%s)", p.name, err, text)
	}
	return fmt.Errorf("%s: %w", p.name, err)
}
