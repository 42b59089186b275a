package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Given a build for pages, then each verb has one of each kind, which says what
// its help says, and there are no others.
func TestManual(t *testing.T) {
	program := filepath.Join(t.TempDir(), "blockrig")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "man", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	plain := strings.NewReplacer(`\`, "", "\n", " ")
	// What is looked for in a page that troff reads is one word at a time.
	for _, kind := range []struct {
		verb, between, ending string
		words                 bool
	}{{"man", "-", ".1", true}, {"docs", "_", ".md", false}} {
		dir := filepath.Join(t.TempDir(), kind.verb)
		write := exec.Command(program, kind.verb, dir)
		write.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
		if out, err := write.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		want := map[string]bool{}
		walk((&app{}).root(), func(c *cobra.Command) {
			name := strings.ReplaceAll(c.CommandPath(), " ", kind.between) + kind.ending
			want[name] = true
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Error(err)
				return
			}
			page := string(data)
			if kind.words {
				page = plain.Replace(page)
			}
			says := func(text string) {
				parts := []string{text}
				if kind.words {
					parts = strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \n\t\\`<>*_|[]\"'#", r) })
				}
				for _, p := range parts {
					if !strings.Contains(page, p) {
						t.Errorf("%s does not say %q", name, p)
					}
				}
			}
			says(c.Short)
			says(c.Long)
			says(c.Example)
			c.InitDefaultHelpFlag()
			c.LocalFlags().VisitAll(func(f *pflag.Flag) {
				if !f.Hidden {
					says("--" + f.Name)
				}
			})
		})
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !want[f.Name()] {
				t.Errorf("%s is of no verb", f.Name())
			}
		}
		if len(want) < 40 {
			t.Errorf("%d verbs only", len(want))
		}
	}
}

// walk calls f for a command and each below it that a user can see.
func walk(c *cobra.Command, f func(*cobra.Command)) {
	if c.HasParent() && !c.IsAvailableCommand() {
		return
	}
	f(c)
	for _, sub := range c.Commands() {
		walk(sub, f)
	}
}
