package trial

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Given boots whose kernel speaks of a lockup, when they are to be bases, then
// one that the host held up is none: its console is that of each of its trials.
func TestABootThatTheHostHeldUpIsNoBase(t *testing.T) {
	const lockup = "[    0.000000] Linux version 6.18.15 (debian)\n" +
		"[    1.000000] blockrig: guest: hello from PID 1 on Linux 6.18.15\n" +
		"[   31.000000] watchdog: BUG: soft lockup - CPU#0 stuck for 27s! [init:112]\n"
	for _, tt := range []struct{ console, paused, want string }{
		{lockup, "the host stood still for 27 s", "while it booted the host stood still for 27 s, so this may be no hang: "},
		{lockup, "", ""},
		{strings.ReplaceAll(lockup, "BUG: soft lockup - CPU#0 stuck for 27s! [init:112]", "all is well"), "the host stood still for 27 s", ""},
	} {
		saved := filepath.Join(t.TempDir(), baseConsole)
		if err := os.WriteFile(saved, []byte(tt.console), 0o600); err != nil {
			t.Fatal(err)
		}
		s := newSession(Local{Dir: t.TempDir()})
		if err := s.record(); err != nil {
			t.Fatal(err)
		}
		if err := s.rec.preload(saved); err != nil {
			t.Fatal(err)
		}
		s.res.Report.Paused, s.base = tt.paused, true
		s.close()
		if got := s.res.Report.Host; (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) {
			t.Errorf("paused %q: %q, want %q\n%s", tt.paused, got, tt.want, tt.console)
		}
	}
}
