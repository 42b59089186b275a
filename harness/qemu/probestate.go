package qemu

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/blockrig/blockrig/harness/cachedir"
)

// probeStateFile holds what ChooseAccel found out, in Probe.StateDir.
const probeStateFile = "kvm.json"

// A probeKey names what the outcome of a probe depends on.
type probeKey struct {
	BootID string `json:"boot_id"` // of the host: its kernel, modules and firmware settings
	QEMU   string `json:"qemu"`
	CPU    string `json:"cpu"` // model
	Kernel string `json:"kernel"`
}

// A probeOutcome is whether KVM works, and how that is known.
type probeOutcome struct {
	Works bool   `json:"works"`
	Why   string `json:"why"`
	// Slow is set when the guest did not come up, though QEMU found nothing
	// wrong: that may be the kernel's doing, and holds for this one only.
	Slow bool `json:"slow,omitempty"`
}

type probeState struct {
	Key     probeKey     `json:"key"`
	Outcome probeOutcome `json:"outcome"`
}

// recallProbe looks for an outcome that holds for key. A file that can't be
// read is as good as none.
func recallProbe(path string, key probeKey, log *slog.Logger) (probeOutcome, bool) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return probeOutcome{}, false
	}
	var s probeState
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		log.Debug("what was known of KVM is unreadable", "err", err)
		return probeOutcome{}, false
	}
	if !s.Outcome.Slow {
		s.Key.Kernel = key.Kernel
	}
	return s.Outcome, s.Key == key
}

// rememberProbe replaces the file whole: another process may read it now.
func rememberProbe(path string, key probeKey, outcome probeOutcome) error {
	text, err := json.MarshalIndent(probeState{Key: key, Outcome: outcome}, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer root.Close()
	return cachedir.WriteFile(root, filepath.Base(path), append(text, '\n'))
}

// readUntil reads until one of the texts was seen, or to the end.
func readUntil(r io.Reader, texts []string) bool {
	var longest int
	for _, t := range texts {
		longest = max(longest, len(t))
	}
	var kept []byte
	part := make([]byte, 4096)
	for {
		n, err := r.Read(part)
		kept = append(kept, part[:n]...)
		for _, t := range texts {
			if bytes.Contains(kept, []byte(t)) {
				return true
			}
		}
		// A text may be split over two reads.
		kept = kept[max(0, len(kept)-longest):]
		if err != nil {
			return false
		}
	}
}
