// Package config holds the options of the kernels that blockrig builds:
// fragments, one for the machine and one for each disk bus, stack layer and
// debug option. Each is a file that the kernel's own merge_config.sh takes.
//
// A line "# or CONFIG_B=y" after "CONFIG_A=y" names what stood for the same
// thing in other releases: one of the two must hold. "CONFIG_A=n" says that an
// option must be off.
package config

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

//go:embed *.config
var files embed.FS

// Default are the fragments of a kernel that runs every scenario.
func Default() []string {
	return []string{"base", Lean, "ahci", "dm", "dm-mirror", "dm-raid", "md", "ext4"}
}

// With are the default fragments and some more.
func With(more []string) []string {
	all := Default()
	for _, name := range more {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// Lean is the fragment of preferences; no kernel needs what it has.
const Lean = "lean"

// Beside are those of the fragments that hold beside a distribution's config,
// which has preferences of its own.
func Beside(fragments []string) []string {
	return slices.DeleteFunc(slices.Clone(fragments), func(name string) bool { return name == Lean })
}

// Names lists all fragments.
func Names() []string {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil // it is part of the executable
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".config"))
	}
	return names
}

// A Want is what one line of a fragment asks for: one of the settings holds.
type Want struct {
	Any      []Setting `json:"any"`
	Fragment string    `json:"fragment"`
	Line     int       `json:"line"`
}

// A Setting is an option and its value: y, n, m, a number or a quoted string.
type Setting struct {
	Option string `json:"option"` // CONFIG_DM_MIRROR
	Value  string `json:"value"`
}

func (s Setting) String() string { return s.Option + "=" + s.Value }

func (w Want) String() string {
	var all []string
	for _, s := range w.Any {
		all = append(all, s.String())
	}
	return strings.Join(all, " or ")
}

var (
	settingSyntax = regexp.MustCompile(`^(CONFIG_[A-Za-z0-9_]+)=(y|n|m|[0-9]+|0x[0-9a-fA-F]+|"[^"\\]*")$`)
	notSetSyntax  = regexp.MustCompile(`^# (CONFIG_[A-Za-z0-9_]+) is not set$`)
)

// Check says what in a want that came from elsewhere no fragment can have.
func (w Want) Check() error {
	if len(w.Any) == 0 || len(w.Fragment) > 100 {
		return errors.New("an option without a name")
	}
	for _, s := range w.Any {
		if !settingSyntax.MatchString(s.String()) {
			return fmt.Errorf("%.80q sets no option", s)
		}
	}
	return nil
}

// Parse reads a fragment.
func Parse(name, text string) ([]Want, error) {
	var wants []Want
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		rest, alternative := strings.CutPrefix(line, "# or ")
		if m := notSetSyntax.FindStringSubmatch(line); m != nil {
			rest = m[1] + "=n"
		} else if !alternative && (line == "" || line[0] == '#') {
			continue
		}
		m := settingSyntax.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("%s:%d: want CONFIG_NAME=value, not %q", name, n, line)
		}
		s := Setting{m[1], m[2]}
		if !alternative {
			wants = append(wants, Want{Any: []Setting{s}, Fragment: name, Line: n})
			continue
		}
		if len(wants) == 0 {
			return nil, fmt.Errorf("%s:%d: an alternative to nothing", name, n)
		}
		w := &wants[len(wants)-1]
		w.Any = append(w.Any, s)
	}
	return wants, nil
}

// Read gives what some fragments ask for, in their order.
func Read(fragments []string) ([]Want, error) {
	var all []Want
	for _, name := range fragments {
		if !slices.Contains(Names(), name) {
			return nil, fmt.Errorf("no config fragment %q; there are %s", name, strings.Join(Names(), ", "))
		}
		data, err := files.ReadFile(name + ".config")
		if err != nil {
			return nil, fmt.Errorf("config fragment %s: %w", name, err)
		}
		wants, err := Parse(name+".config", string(data))
		if err != nil {
			return nil, err
		}
		all = append(all, wants...)
	}
	if err := conflict(all); err != nil {
		return nil, err
	}
	return all, nil
}

// conflict finds an option that two fragments want to have different values.
func conflict(wants []Want) error {
	seen := make(map[string]Want)
	for _, w := range wants {
		for _, s := range w.Any {
			if was, ok := seen[s.Option]; ok {
				i := slices.IndexFunc(was.Any, func(o Setting) bool { return o.Option == s.Option })
				if was.Any[i].Value != s.Value {
					return fmt.Errorf("%s:%d asks for %s, but %s:%d for %s", w.Fragment, w.Line, s, was.Fragment, was.Line, was.Any[i])
				}
				continue
			}
			seen[s.Option] = w
		}
	}
	return nil
}

// Text is a fragment for make's KCONFIG_ALLCONFIG: every setting, also the
// alternatives, since a tree ignores the options it doesn't know.
func Text(wants []Want) string {
	var b strings.Builder
	seen := make(map[string]bool)
	for _, w := range wants {
		for _, s := range w.Any {
			if seen[s.Option] {
				continue
			}
			seen[s.Option] = true
			if s.Value == "n" {
				fmt.Fprintf(&b, "# %s is not set\n", s.Option)
				continue
			}
			fmt.Fprintf(&b, "%s\n", s)
		}
	}
	return b.String()
}

// Values reads a .config: the options that are set.
func Values(dotConfig string) map[string]string {
	values := make(map[string]string)
	for line := range strings.Lines(dotConfig) {
		if m := settingSyntax.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			values[m[1]] = m[2]
		}
	}
	return values
}

// Lost gives what a .config does not fulfil.
func Lost(wants []Want, dotConfig string) []Want {
	values := Values(dotConfig)
	var lost []Want
	for _, w := range wants {
		if !slices.ContainsFunc(w.Any, func(s Setting) bool {
			v, ok := values[s.Option]
			if s.Value == "n" {
				return !ok || v == "n"
			}
			return v == s.Value
		}) {
			lost = append(lost, w)
		}
	}
	return lost
}
