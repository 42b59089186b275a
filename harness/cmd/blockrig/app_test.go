package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestInterruptionSaysWhatElseWentWrong(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	signal := errors.New("interrupt signal received")
	cancel(signal)
	waited := fmt.Errorf("wait for another process: %w", context.Canceled)
	ended := fmt.Errorf("end the machine: %w", signal)
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"what was under way", waited, "interrupted"},
		{"what the signal ended", ended, "interrupted"},
		{"both", errors.Join(waited, ended), "interrupted"},
		{"more", errors.Join(waited, errors.New("remove disk a: permission denied")), "interrupted\nremove disk a: permission denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := withoutInterruption(ctx, c.err).Error(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
