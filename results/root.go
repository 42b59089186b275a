package results

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const modulePath = "github.com/blockrig/blockrig"

// DefaultRoot is where runs are kept unless the user says otherwise:
// results/runs of the checkout of blockrig that dir lies in, or else
// $XDG_STATE_HOME/blockrig/runs. It is never dir itself, which may be a
// kernel tree. getenv is os.Getenv.
func DefaultRoot(dir string, getenv func(string) string) (string, error) {
	checkout, err := findCheckout(dir)
	if err != nil {
		return "", err
	}
	if checkout != "" {
		return filepath.Join(checkout, "results", "runs"), nil
	}
	// The base directory specification: a relative path is to be ignored.
	if state := getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "blockrig", "runs"), nil
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "blockrig", "runs"), nil
	}
	return "", errors.New("find a place for results: neither XDG_STATE_HOME nor HOME is set; name one with --results DIR")
}

// findCheckout walks up from dir to the go.mod of blockrig. Another module's
// go.mod on the way ends the search: what lies in it is not blockrig's.
func findCheckout(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the checkout: %w", err)
	}
	for {
		path := filepath.Join(dir, "go.mod")
		// Opening what is no regular file may block.
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			src, err := os.ReadFile(path)
			if err != nil {
				return "", fmt.Errorf("find the checkout: %w", err)
			}
			if isBlockrig(src) {
				return dir, nil
			}
			return "", nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", nil
		}
		dir = parent
	}
}

func isBlockrig(gomod []byte) bool {
	lines := bufio.NewScanner(bytes.NewReader(gomod))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 2 && fields[0] == "module" {
			return strings.Trim(fields[1], `"`) == modulePath
		}
	}
	return false
}
