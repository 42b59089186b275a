package debian

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/blockrig/blockrig/harness/text"
)

type command struct {
	name    string
	args    []string
	dir     string
	percent func(float64) // told what comes on descriptor 3 (APT::Status-Fd)
}

// run runs a command and gives what it wrote to standard output. It dies with
// ctx and, whatever kills blockrig, with blockrig.
func run(ctx context.Context, c command) (string, error) {
	path, err := exec.LookPath(c.name)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoApt, err)
	}
	// The parent-death signal comes when the thread that forked ends, so
	// this goroutine keeps its thread until the command has ended.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, path, c.args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) } // its transports too
	cmd.WaitDelay = 5 * time.Second

	read := make(chan error, 1)
	if c.percent == nil {
		read <- nil
	} else {
		r, w, err := os.Pipe()
		if err != nil {
			return "", err
		}
		defer r.Close()
		cmd.ExtraFiles = []*os.File{w}
		go func() { read <- readStatus(r, c.percent) }()
	}
	err = cmd.Start()
	for _, f := range cmd.ExtraFiles {
		err = errors.Join(err, f.Close()) // else the reader would never see the end
	}
	if err == nil {
		err = cmd.Wait()
	}
	if readErr := <-read; err == nil && readErr != nil {
		err = fmt.Errorf("read progress: %w", readErr)
	}
	if err == nil {
		return stdout.String(), nil
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if said := complaint(stderr.String()); said != "" {
		return "", fmt.Errorf("%s: %s (%w)", c.name, said, err)
	}
	return "", fmt.Errorf("%s: %w", c.name, err)
}

// readStatus reads lines such as "dlstatus:1:73.36:Retrieving file 1 of 1".
func readStatus(r io.Reader, percent func(float64)) error {
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		words := strings.SplitN(scan.Text(), ":", 4)
		if len(words) < 3 || words[0] != "dlstatus" {
			continue
		}
		if p, err := strconv.ParseFloat(words[2], 64); err == nil && p >= 0 && p <= 100 {
			percent(p)
		}
	}
	return scan.Err()
}

// complaint makes one line of what apt wrote to standard error: its errors, or
// else its warnings. A server's words may be among it, so control characters
// are taken out.
func complaint(stderr string) string {
	for _, prefix := range []string{"E: ", "W: "} {
		var said []string
		for line := range strings.SplitSeq(stderr, "\n") {
			if line, ok := strings.CutPrefix(line, prefix); ok {
				said = append(said, text.OneLine(line))
			}
		}
		if len(said) > 4 {
			said = append(said[:4], fmt.Sprintf("and %d more", len(said)-4))
		}
		if len(said) > 0 {
			return strings.Join(said, "; ")
		}
	}
	return text.OneLine(stderr)
}
