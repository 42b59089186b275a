package trials

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/kernels/config"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// fileReport is the text to send, in the search's folder.
const fileReport = "report.txt"

// context is what the report says besides the answer.
func (s *Search) context(ctx context.Context, a *bisect.Answer, c scenarios.Case, h bisect.History, k Kernels) (bisect.Context, error) {
	r := s.Request
	cx := bisect.Context{
		Scenario: strings.TrimSpace(c.Scenario.Name + " " + c.ID), About: c.Scenario.About,
		Bisect: commandLine(withoutFolders(r.Command)), Folder: s.Dir(),
	}
	failing := a.Direction == bisect.Regression
	var end string
	switch {
	case r.Git != nil:
		cx.Old, cx.New = r.Git.Old[0].Name, r.Git.New.Name
		end = r.Git.New.Commit
		if !failing {
			end = r.Git.Old[0].Commit
		}
		cx.Config = configOf(r.Git.Build)
	default:
		// Names such as debian:newest mean something else tomorrow.
		cx.Old, cx.New = "debian:"+r.Releases.Old.Commit, "debian:"+r.Releases.New.Commit
		end = r.Releases.New.Commit
		if !failing {
			end = r.Releases.Old.Commit
		}
		cx.Config = "Debian's of that release, amd64"
		cx.Stable = strings.Count(end, ".") >= 2
		if rel, ok := h.(*bisect.Releases); ok && a.First != nil {
			rng, err := rel.Range(a.First.Hash, a.Direction)
			if err != nil {
				return cx, err
			}
			cx.Range = &rng
		}
	}
	ref := k.Ref(bisect.Subject{Commit: end})
	cx.Command = runCommand(r, c, ref)
	rec, dir, err := s.shows(ref, a.Target)
	if err != nil || dir == "" {
		return cx, err
	}
	cx.Release = rec.Kernel.Release
	cx.Machine = machineOf(ctx, rec)
	cx.Console, err = excerpt(s.state.Dir(), path.Join(dir, results.ConsoleFile), rec)
	return cx, err
}

// WriteReport puts the text to send into the search's folder.
func (s *Search) WriteReport(o *Outcome) (string, error) {
	return putFile(s.Dir(), fileReport, []byte(bisect.Report(o.Answer, o.Context)))
}

func configOf(b Build) string {
	fragments := config.With(b.Fragments)
	if b.Config != nil {
		fragments = config.Beside(fragments)
	}
	text := "blockrig's fragments " + strings.Join(fragments, ", ")
	if b.Config != nil {
		text = b.Config.Name + ", cut down to what is built in, and " + text
	}
	for _, p := range b.Patches {
		text += "; with " + p.Name
	}
	return text
}

// runCommand shows one trial.
func runCommand(r Request, c scenarios.Case, ref string) string {
	args := []string{"blockrig", "run"}
	if c.Scenario.File != "" {
		args = append(args, c.Scenario.File)
	} else {
		args = append(args, c.Scenario.Name)
	}
	if c.ID != "" {
		args = append(args, "--case", c.ID)
	}
	if r.Machine.CPUs > 0 {
		args = append(args, "--cpus", fmt.Sprint(r.Machine.CPUs))
	}
	args = append(args, "-k", ref)
	if r.Git != nil {
		args = append(args, r.Git.Build.args()...)
	}
	return commandLine(args)
}

// args are the flags that build kernels so.
func (b Build) args() []string {
	var args []string
	for _, f := range b.Fragments {
		args = append(args, "--fragment", f)
	}
	if b.Config != nil {
		args = append(args, "--config", b.Config.Name)
	}
	for _, p := range b.Patches {
		args = append(args, "--apply", p.Name)
	}
	if b.CC != "" {
		args = append(args, "--cc", b.CC)
	}
	return args
}

// commandLine writes a command for a shell.
func commandLine(args []string) string {
	var out []string
	for i, a := range args {
		if i == 0 {
			a = "blockrig" // whatever it is called here
		}
		out = append(out, Quoted(a))
	}
	return strings.Join(out, " ")
}

// withoutFolders leaves out the flags that name the user's own folders for
// results: they are nobody else's business.
func withoutFolders(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		name, _, joined := strings.Cut(args[i], "=")
		switch name {
		case "--":
			return append(out, args[i:]...)
		case "--results", "--state", "--output", "-o":
			if !joined {
				i++
			}
			continue
		}
		out = append(out, args[i])
	}
	return out
}

// Quoted writes an argument for a shell.
func Quoted(a string) string {
	if a == "" || a[0] == '~' || strings.ContainsFunc(a, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_=+,./:@%^~", r))
	}) {
		a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return a
}

// shows finds a recorded trial of a kernel that shows the target: its record,
// and its folder relative to the search's.
func (s *Search) shows(ref string, t bisect.Target) (results.Record, string, error) {
	root, err := os.OpenRoot(s.Dir())
	if err != nil {
		return results.Record{}, "", fmt.Errorf("look for a failing trial: %w", err)
	}
	defer root.Close()
	files, err := fs.Glob(root.FS(), path.Join(dirRuns, "*", "*", results.ResultFile))
	if err != nil {
		return results.Record{}, "", fmt.Errorf("look for a failing trial: %w", err)
	}
	var any results.Record
	var anyDir string
	for _, f := range files {
		data, err := root.ReadFile(f)
		if err != nil {
			return results.Record{}, "", fmt.Errorf("look for a failing trial: %w", err)
		}
		var rec results.Record
		if err := json.Unmarshal(data, &rec); err != nil {
			return results.Record{}, "", fmt.Errorf("%s: %w", f, err)
		}
		// The kind of wrong data is not in the record.
		s := bisect.Outcome{Verdict: rec.Verdict, Phase: rec.Phase, Step: rec.Signature.Step, Errno: rec.Errno, Bytes: rec.Bytes, Wrong: t.Signature.Wrong}
		if s.Signature() != t.Signature {
			continue
		}
		if rec.Kernel.Ref == ref {
			return rec, path.Dir(f), nil
		}
		if anyDir == "" {
			any, anyDir = rec, path.Dir(f)
		}
	}
	return any, anyDir, nil
}

func machineOf(ctx context.Context, rec results.Record) string {
	text := "QEMU"
	// Without the version the line is still of use.
	if out, err := exec.CommandContext(ctx, qemu.DefaultBinary, "--version").Output(); err == nil {
		if _, v, ok := strings.Cut(string(out), " version "); ok {
			text += " " + strings.Fields(v)[0]
		}
	}
	text += ", q35, " + strings.ToUpper(rec.Accel)
	if rec.CPUs == 1 {
		return text + ", 1 CPU"
	}
	return fmt.Sprintf("%s, %d CPUs", text, rec.CPUs)
}

// Of a console, for a report.
const (
	excerptBefore = 3
	excerptAfter  = 75
	excerptLine   = 4096 // bytes
)

// excerpt is the part of a console that begins at the first finding.
func excerpt(base, name string, rec results.Record) (string, error) {
	root, err := os.OpenRoot(base)
	if err != nil {
		return "", fmt.Errorf("read a failing console: %w", err)
	}
	defer root.Close()
	f, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read a failing console: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 64<<20))
	if err != nil {
		return "", fmt.Errorf("read a failing console: %w", err)
	}
	// What the host adds is for blockrig classify.
	lines := slices.DeleteFunc(strings.Split(strings.TrimRight(string(data), "\n"), "\n"), protocol.IsHostLine)
	first := len(lines) - excerptAfter
	for _, k := range rec.Findings {
		if k.Line > 0 && k.Line <= len(lines) {
			first = k.Line - 1
			break
		}
	}
	first = max(0, first-excerptBefore)
	lines = slices.Clone(lines[first:min(len(lines), first+excerptBefore+excerptAfter)])
	for i := range lines {
		lines[i] = lines[i][:min(len(lines[i]), excerptLine)]
	}
	return strings.Join(lines, "\n") + "\n", nil
}
