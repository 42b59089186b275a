package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/review"
)

// Given mails of every kind that can't be tried, then b4-check answers with a JSON
// array that says why, and with status 0: b4 takes any other for a failure of the
// series.
func TestB4CheckAnswers(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	repo := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", repo, "-c", "user.name=T", "-c", "user.email=t@t.example", "-c", "commit.gpgsign=false"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out)) + "\n"
	}
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(repo, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git("init", "-q", "-b", "master")
	write("drivers/md/Makefile", "obj-$(CONFIG_DM_MIRROR) += dm-raid1.o\n")
	write("drivers/md/dm-raid1.c", "int mirror;\n")
	write("Documentation/x.rst", "x\n")
	git("add", "-A")
	git("commit", "-q", "-m", "base")
	base := strings.TrimSpace(git("rev-parse", "HEAD"))
	patch := func(name, text string, args ...string) string {
		t.Helper()
		git("checkout", "-q", base)
		write(name, text)
		git("commit", "-q", "-a", "-m", "change "+name)
		return git(append(append([]string{"format-patch", "--stdout", "--base=" + base}, args...), base)...)
	}
	sound := patch("drivers/md/dm-raid1.c", "int mirror, more;\n")
	for name, tt := range map[string]struct {
		mail   string
		status review.Status // "": an empty array
		says   string
	}{
		"nothing":           {"", "", ""},
		"no mail":           {"hello\n", "", ""},
		"a cover letter":    {"From: A <a@example.org>\nSubject: [PATCH 0/2] x\n\nTwo fixes.\n", "", ""},
		"documentation":     {patch("Documentation/x.rst", "y\n"), "", ""},
		"no base":           {strings.ReplaceAll(sound, "base-commit", "based-on"), review.Warn, "no base is known"},
		"a base elsewhere":  {strings.ReplaceAll(sound, base, strings.Repeat("b", 40)), review.Warn, `the base of the series: no commit "bbbb`},
		"does not apply":    {strings.ReplaceAll(sound, "int mirror;", "int moon;"), review.Fail, "does not apply"},
		"cut in the middle": {strings.Replace(sound, "+int mirror, more;\n", "", 1), review.Fail, "it is no whole patch"},
		"versions":          {patch("drivers/md/dm-raid1.c", "int a;\n", "-v1", "-n") + "\n" + patch("drivers/md/dm-raid1.c", "int b;\n", "-v2", "-n"), review.Warn, "versions 1 and 2"},
	} {
		dir := t.TempDir()
		var files [2]*os.File
		for i := range files {
			var err error
			if files[i], err = os.Create(filepath.Join(dir, string(rune('a'+i)))); err != nil {
				t.Fatal(err)
			}
			defer files[i].Close()
		}
		status := run([]string{"b4-check", "--repo", repo, "--results", filepath.Join(dir, "runs")}, strings.NewReader(tt.mail), files[0], files[1])
		out, err1 := os.ReadFile(files[0].Name())
		said, err2 := os.ReadFile(files[1].Name())
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		var found []review.Result
		if err := json.Unmarshal(out, &found); err != nil || status != 0 || !bytes.HasPrefix(out, []byte("[")) {
			t.Errorf("%s: status %d, %v: %s%s", name, status, err, out, said)
			continue
		}
		if tt.status == "" {
			if len(found) != 0 {
				t.Errorf("%s: %s", name, out)
			}
			continue
		}
		if len(found) != 1 || found[0].Status != tt.status || !strings.Contains(found[0].Summary, tt.says) || found[0].Tool != "blockrig" {
			t.Errorf("%s: %s, want %s with %q", name, out, tt.status, tt.says)
		}
	}
}
