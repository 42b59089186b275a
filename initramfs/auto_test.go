package initramfs

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestToolsAreTheHostsWhereDebiansCantBeFetched(t *testing.T) {
	dir := t.TempDir()
	sources := filepath.Join(dir, "debian.list")
	if err := os.WriteFile(sources, []byte("deb http://mirror.example/debian trixie main\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "apt-get"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		asked, path, sources string
		want                 string
		says                 int // how often
	}{
		"apt, and a mirror":        {FromAuto, bin, sources, FromDebian, 0},
		"no apt":                   {FromAuto, dir, sources, FromHost, 1},
		"no mirror":                {FromAuto, bin, dir + "/none", FromHost, 1},
		"Debian's, without apt":    {FromDebian, dir, sources, FromDebian, 0},
		"the host's, though there": {FromHost, bin, sources, FromHost, 0},
		"nothing is asked for":     {"", dir, sources, FromDebian, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", test.path)
			t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "none"))
			var log bytes.Buffer
			b := &Builder{Cache: t.TempDir(), sources: []string{test.sources}, Log: slog.New(slog.NewTextHandler(&log, nil))}
			table, err := readToolTable()
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if got := b.toolsFrom(t.Context(), test.asked, table); got != test.want {
					t.Errorf("tools are from %s, want %s", got, test.want)
				}
			}
			if got := strings.Count(log.String(), "the guest's tools are this host's"); got != test.says {
				t.Errorf("said %d times, want %d:\n%s", got, test.says, &log)
			}
			if made, err := os.ReadDir(b.Cache); err != nil || len(made) != 0 {
				t.Errorf("it made %v, %v", made, err)
			}
		})
	}
}

// Given a configuration that names a mirror and a keyring, then the guest's
// tools come from there, as kernels do.
func TestToolsComeFromTheMirrorOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	if err := os.Mkdir(filepath.Join(dir, "blockrig"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "blockrig", "debian.yaml"), []byte("mirror: http://mirror.example/debian\nkeyring: /etc/own.gpg\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := &Builder{Cache: t.TempDir(), sources: []string{filepath.Join(dir, "none")}}
	table, err := readToolTable()
	if err != nil {
		t.Fatal(err)
	}
	if cfg, err := b.debian(table); err != nil || cfg.Mirror != "http://mirror.example/debian" || cfg.Keyring != "/etc/own.gpg" {
		t.Errorf("got %+v, %v", cfg, err)
	}
	if got := b.toolsFrom(t.Context(), FromAuto, table); got != FromDebian {
		t.Errorf("tools are from %s", got)
	}
}
