package qemu

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func TestChoiceOfAccelerator(t *testing.T) {
	works := probeOutcome{Works: true, Why: "a guest came up"}
	aborts := probeOutcome{Why: "QEMU aborted"}
	slow := probeOutcome{Why: "no word from the guest", Slow: true}
	noDevice := errors.New("this host has no /dev/kvm")

	// A world is a host on which a choice is made, and what is expected there.
	type world struct {
		name    string
		choice  Accel
		device  error
		known   *probeState // what an earlier run left behind
		outcome probeOutcome
		accel   Accel
		why     string // in the reason or the error
		err     error
		tries   int
	}
	key := probeKey{BootID: "b", QEMU: "q", CPU: "host", Kernel: "k"}
	otherBoot, otherQEMU, otherKernel := key, key, key
	otherBoot.BootID, otherQEMU.QEMU, otherKernel.Kernel = "c", "r", "l"

	for _, tt := range []world{
		{name: "tcg is never doubted", choice: TCG, outcome: works, accel: TCG, why: "asked for"},
		{name: "auto, KVM works", choice: Auto, outcome: works, accel: KVM, why: "came up", tries: 1},
		{name: "auto, QEMU aborts", choice: Auto, outcome: aborts, accel: TCG, why: "aborted", tries: 1},
		{name: "auto, guest is silent", choice: Auto, outcome: slow, accel: TCG, why: "no word", tries: 1},
		{name: "auto, no device", choice: Auto, device: noDevice, accel: TCG, why: "no /dev/kvm"},
		{name: "auto, known to work", choice: Auto, known: &probeState{key, works}, accel: KVM, why: "came up"},
		{name: "auto, known to work with another kernel", choice: Auto, known: &probeState{otherKernel, works}, accel: KVM, why: "came up"},
		{name: "auto, known not to work", choice: Auto, known: &probeState{key, aborts}, outcome: works, accel: TCG, why: "aborted"},
		{name: "auto, another kernel was silent", choice: Auto, known: &probeState{otherKernel, slow}, outcome: works, accel: KVM, why: "came up", tries: 1},
		{name: "auto, the same kernel was silent", choice: Auto, known: &probeState{key, slow}, outcome: works, accel: TCG, why: "no word"},
		{name: "auto, known from before a reboot", choice: Auto, known: &probeState{otherBoot, works}, outcome: aborts, accel: TCG, why: "aborted", tries: 1},
		{name: "auto, known from another QEMU", choice: Auto, known: &probeState{otherQEMU, works}, outcome: aborts, accel: TCG, why: "aborted", tries: 1},
		{name: "auto, device gone since", choice: Auto, device: noDevice, known: &probeState{key, works}, accel: TCG, why: "no /dev/kvm"},
		{name: "kvm works", choice: KVM, outcome: works, accel: KVM, why: "came up", tries: 1},
		{name: "kvm, known to work", choice: KVM, known: &probeState{key, works}, accel: KVM, why: "came up"},
		{name: "kvm does not work", choice: KVM, outcome: aborts, err: ErrNoKVM, why: "aborted", tries: 1},
		{name: "kvm, did not work, but does now", choice: KVM, known: &probeState{key, aborts}, outcome: works, accel: KVM, why: "came up", tries: 1},
		{name: "kvm, no device", choice: KVM, device: noDevice, err: ErrNoKVM, why: "no /dev/kvm"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tries := 0
			c := chooser{
				kvm:      func() error { return tt.device },
				identify: func(context.Context) (probeKey, error) { return key, nil },
				try:      func(context.Context) (probeOutcome, error) { tries++; return tt.outcome, nil },
				state:    filepath.Join(t.TempDir(), "state", probeStateFile),
				log:      slog.New(slog.DiscardHandler),
			}
			if tt.known != nil {
				if err := rememberProbe(c.state, tt.known.Key, tt.known.Outcome); err != nil {
					t.Fatal(err)
				}
			}

			accel, why, err := c.choose(t.Context(), tt.choice)

			if accel != tt.accel || !errors.Is(err, tt.err) {
				t.Errorf("choice %q, %v; want %q, %v", accel, err, tt.accel, tt.err)
			}
			if err != nil {
				why = err.Error()
			}
			if !strings.Contains(why, tt.why) {
				t.Errorf("reason %q, want %q in it", why, tt.why)
			}
			if tries != tt.tries {
				t.Errorf("%d guests were booted, want %d", tries, tt.tries)
			}
			if tries > 0 {
				got, known := recallProbe(c.state, key, c.log)
				if !known || got != tt.outcome {
					t.Errorf("remembered %v, %v; want %v", got, known, tt.outcome)
				}
			}
		})
	}
}

func TestChoiceThatIsNone(t *testing.T) {
	if _, _, err := ChooseAccel(t.Context(), "hvf", Probe{}); err == nil {
		t.Error("hvf was accepted")
	}
}

func TestProbeThatCanNotBeDoneIsNoOutcome(t *testing.T) {
	broken := errors.New("disk full")
	c := chooser{
		kvm:      func() error { return nil },
		identify: func(context.Context) (probeKey, error) { return probeKey{}, nil },
		try:      func(context.Context) (probeOutcome, error) { return probeOutcome{}, broken },
		state:    filepath.Join(t.TempDir(), probeStateFile),
		log:      slog.New(slog.DiscardHandler),
	}
	if _, _, err := c.choose(t.Context(), Auto); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if _, err := os.Stat(c.state); err == nil {
		t.Error("something was remembered")
	}
}

func TestGarbledProbeStateIsForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), probeStateFile)
	if err := os.WriteFile(path, []byte(`{"key": 3`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, known := recallProbe(path, probeKey{}, slog.New(slog.DiscardHandler)); known {
		t.Error("garbage was believed")
	}
}

func TestReadUntilFindsTextSplitOverReads(t *testing.T) {
	if !readUntil(iotest.OneByteReader(strings.NewReader("xxRun /init")), cameUp) {
		t.Error("Run / was not found")
	}
	if readUntil(io.LimitReader(strings.NewReader("xxRun /init"), 5), cameUp) {
		t.Error("Run / was found where it is not")
	}
}
