package trial

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// Given a saved machine that has rotted, when a hunt begins from it, then it is
// made anew, and the hunt goes on.
func TestASweepBaseThatIsDamagedIsMadeAnew(t *testing.T) {
	m := &maker{}
	c := &BaseCache{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	begin := func() *SweepBase {
		t.Helper()
		b, err := newSweepBase(t.Context(), Local{}, c, m.make)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := begin()
	console := filepath.Join(first.base.Path(), baseConsole)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(console, []byte("rotten"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := begin()
	if n := m.made.Load(); n != 2 {
		t.Errorf("it was made %d times, want 2", n)
	}
	if err := second.base.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	third := begin()
	defer third.Close()
	if n := m.made.Load(); n != 2 {
		t.Errorf("a sound one was made anew")
	}
}

// Given a boot that fails for the host's sake, then it is tried again; one that
// fails by the kernel's doing is not.
func TestASweepBaseIsTriedAgainForTheHostsSake(t *testing.T) {
	for verdict, want := range map[scenarios.Verdict]int{scenarios.Error: MaxAttempts, scenarios.Hang: 1} {
		c := &BaseCache{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
		tries := 0
		_, err := newSweepBase(t.Context(), Local{}, c, func(context.Context, string) error {
			tries++
			bad := &NotReadyError{}
			bad.Outcome.Verdict = verdict
			return bad
		})
		var bad *NotReadyError
		if !errors.As(err, &bad) || tries != want {
			t.Errorf("%s: %d tries, want %d: %v", verdict, tries, want, err)
		}
	}
}
