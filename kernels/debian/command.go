package debian

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/blockrig/blockrig/harness/child"
	"github.com/blockrig/blockrig/harness/text"
)

// run runs one of apt's commands in dir and gives what it wrote to standard
// output, also when it fails. With percent, that is what goes to APT::Status-Fd, and percent gets
// what it says.
func run(ctx context.Context, dir string, percent func(float64), name string, args ...string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoApt, err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if percent != nil {
		cmd.Stdout = &statusLines{percent: percent}
	}
	err = child.Run(ctx, cmd, child.Options{Signal: syscall.SIGINT})
	if err == nil {
		return stdout.String(), nil
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if said := complaint(stderr.String()); said != "" {
		err = fmt.Errorf("%s (%w)", said, err)
	}
	return stdout.String(), fmt.Errorf("%s: %w", name, err)
}

// statusLines reads lines such as "dlstatus:1:73.36:Retrieving file 1 of 1".
type statusLines struct {
	percent func(float64)
	rest    []byte
}

func (s *statusLines) Write(p []byte) (int, error) {
	lines := bytes.Split(append(s.rest, p...), []byte("\n"))
	s.rest = bytes.Clone(lines[len(lines)-1])
	for _, line := range lines[:len(lines)-1] {
		words := strings.SplitN(string(line), ":", 4)
		if len(words) < 3 || words[0] != "dlstatus" {
			continue
		}
		if percent, err := strconv.ParseFloat(words[2], 64); err == nil && percent >= 0 && percent <= 100 {
			s.percent(percent)
		}
	}
	return len(p), nil
}

// complaint makes one line of what apt wrote to standard error: its errors, or
// else its warnings. A server's words may be among it.
func complaint(stderr string) string {
	for _, prefix := range []string{"E: ", "W: "} {
		var said []string
		for line := range strings.Lines(stderr) {
			if words, ok := strings.CutPrefix(line, prefix); ok {
				said = append(said, text.OneLine(words))
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
