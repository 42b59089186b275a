package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A said is how a command in this process ended.
type said struct {
	status      int
	out, errors string
}

// say runs a command in this process.
func say(t *testing.T, args ...string) said {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	stdout, stderr := file("out"), file("err")
	s := said{status: run(args, strings.NewReader(""), stdout, stderr)}
	for f, text := range map[*os.File]*string{stdout: &s.out, stderr: &s.errors} {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		*text = string(b)
	}
	return s
}

// nowhere is a home in which nothing may appear.
func nowhere(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", filepath.Join(home, "home"))
	for _, name := range []string{"CACHE_HOME", "STATE_HOME", "CONFIG_HOME"} {
		t.Setenv("XDG_"+name, filepath.Join(home, name))
	}
	t.Chdir(home)
	t.Cleanup(func() {
		entries, err := os.ReadDir(home)
		if err != nil || len(entries) > 0 {
			t.Errorf("a mistake left something behind: %v, %v", entries, err)
		}
	})
}

// A mistake is arguments that are wrong, and words of what is said about them.
type mistake struct {
	args []string
	want string
}

// mistakesOf makes every kind of mistake that a command line can have, for one
// verb.
func mistakesOf(c *cobra.Command, usage []string) []mistake {
	verb := strings.Fields(c.CommandPath())[1:]
	with := func(more ...string) []string { return slices.Concat(verb, more) }
	formats := oneOf(strings.Split(c.Flag("format").Value.Type(), "|"))
	all := []mistake{
		{with("--no-such-flag"), "unknown flag: --no-such-flag"},
		{with("--frmat", "json"), "did you mean --format?"},
		{with("-X"), "unknown shorthand flag: 'X'"},
		{with("--format", "xml"), "--format xml: want " + formats},
		{with("--format", ""), "--format : want " + formats},
		{with("--verbose=perhaps"), "--verbose perhaps: want true or false"},
		{with("--results"), "flag needs an argument: --results"},
	}
	if c.HasSubCommands() {
		all = append(all, mistake{with("no-such-verb"), "unknown command \"no-such-verb\"; there are: "})
	} else if c.Args(c, usage) == nil {
		whole := slices.Concat(verb, usage)
		all = append(all,
			mistake{slices.Concat(whole, []string{"--results", ""}), "--results: its value is empty"},
			mistake{slices.Concat(whole, []string{"--results", "/etc/passwd"}), "--results /etc/passwd: want a folder"},
			mistake{slices.Concat(whole, []string{"--results", "/etc/passwd/x"}), "--results: stat /etc/passwd/x: not a directory"},
		)
		if c.Args(c, append(usage, "one-more")) != nil {
			all = append(all, mistake{slices.Concat(whole, []string{"one-more"}), `"one-more" is one argument too many; usage: blockrig `})
		}
	}
	if len(usage) > 0 {
		all = append(all,
			mistake{with(usage[1:]...), "; usage: blockrig "},
			mistake{with(append([]string{""}, usage[1:]...)...), "argument 1 is empty"},
		)
	}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		bad := map[string][]string{
			"number": {"0", "-1", "x", "", "1.5", "99999999999999999999"},
			"choice": {"nope", ""}, "float64": {"x", ""}, "string": {""}, "stringArray": {""}, "bool": {"x"},
		}
		kind := f.Value.Type()
		switch v := f.Value.(type) {
		case *number:
			kind = "number"
			if v.least == 0 {
				bad[kind] = bad[kind][1:]
			}
		case *choice:
			kind = "choice"
		}
		for _, value := range bad[kind] {
			all = append(all, mistake{slices.Concat(verb, usage, []string{"--" + f.Name + "=" + value}), "--" + f.Name})
		}
		if f.Value.Type() != "bool" {
			all = append(all, mistake{slices.Concat(verb, usage, []string{"--" + f.Name}), "flag needs an argument: --" + f.Name})
		}
	})
	return all
}

// arguments are the fewest that each verb takes.
var arguments = map[string][]string{
	"classify": {"log"}, "shell": {"plain-dio-read"}, "run": {"plain-dio-read"}, "try-patch": {"fix.patch", "plain-dio-read"},
	"scenarios show": {"plain-dio-read"}, "scenarios check": {"mine.yaml"},
	"kernels fetch": {"debian:6.18"}, "kernels build": {"git:linux@v6.18"}, "kernels add": {"mine", "bzImage"}, "kernels rm": {"debian:6.18"},
	"results show": {"last"}, "results compare": {"last", "last"}, "results bundle": {"last/1"}, "results replay": {"last/1"}, "replay": {"last/1"}, "minimise": {"last/1"}, "bisect git": {"plain-dio-read"}, "bisect versions": {"plain-dio-read"},
}

// Given every verb, when it is asked for wrongly in any way, then it says in
// one line what is wrong, ends with status 2 and leaves nothing behind.
func TestMistakes(t *testing.T) {
	nowhere(t)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		verb := strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), "blockrig"), " ")
		if verb == stepVerb {
			return // its own way to end is in bisect_step.txtar
		}
		for _, m := range mistakesOf(c, arguments[verb]) {
			got := say(t, m.args...)
			if got.status != exitRequest || got.out != "" || strings.Count(got.errors, "\n") != 1 ||
				!strings.HasPrefix(got.errors, "blockrig: ") || !strings.Contains(got.errors, m.want) {
				t.Errorf("blockrig %q: status %d, %q; want status 2 and one line with %q", m.args, got.status, got.out+got.errors, m.want)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&app{}).root())
}

// Given a name that is nearly right, then the right one is named.
func TestNearMistakes(t *testing.T) {
	nowhere(t)
	for _, m := range []mistake{
		{[]string{"bisetc"}, `unknown command "bisetc" (did you mean bisect?)`},
		{[]string{"check"}, `unknown command "check" (did you mean scenarios check?)`},
		{[]string{"bisect", "gti"}, `bisect: unknown command "gti" (did you mean git?)`},
		{[]string{"scenarios", "lst"}, `scenarios: unknown command "lst" (did you mean list?)`},
		{[]string{"check", "--help"}, `unknown command "check" (did you mean scenarios check?)`},
		{[]string{"kernels", "biuld", "-h"}, `kernels: unknown command "biuld" (did you mean build?)`},
		{[]string{"help", "klassify"}, `unknown command "klassify" (did you mean classify?)`},
		{[]string{"help", "kernels", "biuld"}, `kernels: unknown command "biuld" (did you mean build?)`},
		{[]string{"help", "run", "x"}, `blockrig run has no command "x" below it`},
		{[]string{"completion", "bsh"}, `completion: unknown command "bsh" (did you mean bash?)`},
		{[]string{"run", "--jbos", "2"}, "unknown flag: --jbos (did you mean --jobs?); see blockrig run --help"},
		{[]string{"--format", "jsn", "doctor"}, "--format jsn: want table or json (did you mean json?)"},
		{[]string{"run", "plain-dio-red", "-k", "debian:6.18"}, "did you mean plain-dio-read?"},
		{[]string{"run", "plain-dio-read", "-k", "debian:6.18", "--set", "lenght=1"}, "did you mean length?"},
		{[]string{"run", "plain-dio-read", "-k", "debian:6.18", "--set", "length=1", "--set", "length=2"}, "set to 1 and to 2"},
	} {
		got := say(t, m.args...)
		if got.status != exitRequest || got.out != "" || strings.Count(got.errors, "\n") != 1 || !strings.Contains(got.errors, m.want) {
			t.Errorf("blockrig %q: status %d, %q; want status 2 and one line with %q", m.args, got.status, got.out+got.errors, m.want)
		}
	}
}
