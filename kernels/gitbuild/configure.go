package gitbuild

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/kernels/config"
)

// distribution lists options of distributions' configs that need files or
// tools that are not in the sources, or that make builds differ.
var distribution = []config.Setting{
	{Option: "CONFIG_LOCALVERSION", Value: `""`},
	{Option: "CONFIG_LOCALVERSION_AUTO", Value: "n"},
	{Option: "CONFIG_BUILD_SALT", Value: `""`},
	{Option: "CONFIG_SYSTEM_TRUSTED_KEYS", Value: `""`},
	{Option: "CONFIG_SYSTEM_REVOCATION_KEYS", Value: `""`},
	{Option: "CONFIG_MODULES", Value: "n"},
	{Option: "CONFIG_DEBUG_INFO_NONE", Value: "y"}, // slow; generated code is the same with it
	{Option: "CONFIG_WERROR", Value: "n"},          // other compilers warn of other things
}

// configure makes the object tree's .config and checks that nothing that was
// asked for got lost.
func (b *Builder) configure(ctx context.Context, j *job, src *source, obj *objects, log *log) (clean bool, err error) {
	const dotConfig, fragmentFile, fileConfigured = ".config", ".blockrig.config", ".blockrig-configured"
	fragment := fragmentFile
	before, beforeErr := obj.root.ReadFile(dotConfig)
	info, statErr := obj.root.Stat(dotConfig)

	text := config.Text(j.wants)
	targets := []string{"KCONFIG_ALLCONFIG=" + filepath.Join(obj.dir, fragment), "allnoconfig"}
	if j.start != nil {
		text = cutDown(string(j.start), j.wants)
		targets = []string{"olddefconfig"}
		fragment = dotConfig
	}
	// What a config follows from seldom differs between two commits.
	inputs, err := src.git.Run(ctx, "ls-files", "--stage", "-z", "--", ":(glob)**/Kconfig*", "scripts", "Makefile", "arch/x86/Makefile")
	if err != nil {
		return true, fmt.Errorf("configure: %w", err)
	}
	sum := sha256.Sum256([]byte(text + inputs))
	// With the config's own digest: a loss of power can cut that file short.
	configured := func(dotConfig []byte) string {
		return fmt.Sprintf("%x %x", sum, sha256.Sum256(dotConfig))
	}
	if was, err := obj.root.ReadFile(fileConfigured); err == nil && beforeErr == nil && string(was) == configured(before) {
		return true, nil
	}
	if err := obj.write(fragment, text, b.user); err != nil {
		return true, fmt.Errorf("configure: %w", err)
	}
	if err := obj.root.Remove(fileConfigured); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return true, fmt.Errorf("configure: %w", err)
	}
	if clean, err := b.make(ctx, j, src, obj, log, nil, targets...); err != nil {
		return clean, err
	}
	after, err := obj.root.ReadFile(dotConfig)
	if err != nil {
		return true, fmt.Errorf("read the kernel's config: %w", err)
	}
	if lost := config.Lost(j.wants, string(after)); len(lost) > 0 {
		return true, lostError(lost, src.dir)
	}
	// Make looks at the time of .config: the same config is not a new one.
	if beforeErr == nil && statErr == nil && string(before) == string(after) {
		if err := obj.root.Chtimes(dotConfig, time.Time{}, info.ModTime()); err != nil {
			return true, fmt.Errorf("configure: %w", err)
		}
	}
	if err := obj.write(fileConfigured, configured(after), b.user); err != nil {
		return true, fmt.Errorf("configure: %w", err)
	}
	return true, nil
}

// cutDown is a distribution's config without its modules, and with what the
// fragments want.
func cutDown(start string, wants []config.Want) string {
	set := make(map[string]bool)
	for _, w := range wants {
		for _, s := range w.Any {
			set[s.Option] = true
		}
	}
	debugInfo := slices.ContainsFunc(slices.Collect(maps.Keys(set)), isDebugInfo)
	var b strings.Builder
	for _, s := range distribution {
		if !set[s.Option] && !(debugInfo && isDebugInfo(s.Option)) {
			set[s.Option] = true
			if s.Value == "n" {
				fmt.Fprintf(&b, "# %s is not set\n", s.Option)
			} else {
				fmt.Fprintf(&b, "%s\n", s)
			}
		}
	}
	for line := range strings.Lines(start) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		switch {
		case !ok:
			name = strings.TrimSuffix(strings.TrimPrefix(name, "# "), " is not set")
			if strings.HasPrefix(name, "CONFIG_") && !set[name] && !isDebugInfo(name) {
				b.WriteString(line)
			}
		case set[name], isDebugInfo(name):
		case value == "m":
			fmt.Fprintf(&b, "# %s is not set\n", name)
		default:
			b.WriteString(line)
		}
	}
	b.WriteString(config.Text(wants))
	return b.String()
}

// isDebugInfo tells whether an option is about the kernel's debug information:
// a choice of which one is y, and what hangs on it.
func isDebugInfo(option string) bool { return strings.HasPrefix(option, "CONFIG_DEBUG_INFO") }

// lostError says which options did not survive, and what they depend on in
// this tree. The sources are to blame, so it is remembered.
func lostError(lost []config.Want, src string) error {
	var parts []string
	for _, w := range lost {
		part := fmt.Sprintf("%s (%s:%d)", w, w.Fragment, w.Line)
		depends, found := dependsOn(src, strings.TrimPrefix(w.Any[0].Option, "CONFIG_"))
		switch {
		case !found:
			part += ", which this tree does not know"
		case depends != "":
			part += ", which depends on " + depends
		}
		parts = append(parts, part)
	}
	return &FailedError{Why: "options were lost: " + strings.Join(parts, "; ")}
}

// dependsOn looks an option up in the tree's Kconfig files.
func dependsOn(src, option string) (depends string, found bool) {
	head := regexp.MustCompile(`(?m)^\s*(?:menu)?config\s+` + regexp.QuoteMeta(option) + `\s*$`)
	var all []string
	// An error reading one file only makes the message poorer.
	_ = filepath.WalkDir(src, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "Documentation") {
			return filepath.SkipDir
		}
		if !d.Type().IsRegular() || !strings.HasPrefix(d.Name(), "Kconfig") {
			return nil
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return nil
		}
		for _, at := range head.FindAllIndex(data, -1) {
			found = true
			for line := range strings.Lines(string(data[at[1]:])) {
				line = strings.TrimSpace(line)
				if strings.HasPrefix(line, "config ") || strings.HasPrefix(line, "menuconfig ") || strings.HasPrefix(line, "endmenu") || strings.HasPrefix(line, "help") {
					break
				}
				if rest, ok := strings.CutPrefix(line, "depends on "); ok {
					all = append(all, text.Escape(rest))
				}
			}
		}
		return nil
	})
	return strings.Join(all, ", "), found
}
