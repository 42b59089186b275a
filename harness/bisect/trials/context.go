package trials

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/kernels/config"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// context is what the report says besides the answer: about its culprit and
// the failure that was looked for.
func (s *Search) context(ctx context.Context, a *bisect.Answer, c scenarios.Case, h bisect.History, k Kernels) (bisect.Context, error) {
	r := s.Request
	cx := bisect.Context{
		Case: c, Scenario: strings.TrimSpace(c.Scenario.Name + " " + c.ID),
		Folder: s.Dir(),
	}
	rules, err := r.Rules()
	if err != nil {
		return cx, err
	}
	cx.BadWhen = rules.BadWhen
	failing := a.Direction == bisect.Regression
	old, new := r.ends()
	if r.Git != nil {
		cx.Old, cx.New = r.Git.Old[0].others(), r.Git.New.others()
		cx.Config = configOf(r.Git.Build)
		if a.First != nil {
			s.ask(ctx, a, h, &cx)
		}
	} else {
		// Names such as debian:newest mean something else tomorrow.
		cx.Old, cx.New = k.Ref(old), k.Ref(new)
		end := new
		if !failing {
			end = old
		}
		cx.Config = "Debian's of that release, amd64"
		cx.Stable = strings.Count(end.Commit, ".") >= 2
		if rel, ok := h.(*bisect.Releases); ok && a.First != nil {
			rng, err := rel.Range(a.First.Hash, a.Direction)
			if err != nil {
				return cx, err
			}
			cx.Range = &rng
		}
	}
	cx.Bisect = foldedLine(forOthers(r.Command, r.namesForOthers(k)))
	// The culprit against its parent or, without one, the ends.
	with, without := []string{new.Commit}, []string{old.Commit}
	names := [2]string{cx.New, cx.Old}
	if a.First != nil {
		if without, err = h.Parents(ctx, a.First.Hash); err != nil {
			return cx, err
		}
		with, names = []string{a.First.Hash}, [2]string{"the commit", "its parent"}
		if r.Git == nil {
			names[0] = k.Ref(bisect.Subject{Commit: a.First.Hash})
			if len(without) > 0 {
				names[1] = k.Ref(bisect.Subject{Commit: without[0]})
			}
		}
	}
	if !failing {
		with, without, names = without, with, [2]string{names[1], names[0]}
	}
	trials, err := bisect.Trials(s.Dir())
	if err != nil {
		return cx, err
	}
	var rec results.Record
	if cx.Failing, rec, err = s.seen(a, rules, trials, with, names[0]); err != nil {
		return cx, err
	}
	if cx.Passing, _, err = s.seen(a, rules, trials, without, names[1]); err != nil {
		return cx, err
	}
	var refs []string
	for _, commits := range [][]string{without, with} {
		if len(commits) > 0 {
			refs = append(refs, k.Ref(bisect.Subject{Commit: commits[0]}))
		}
	}
	if up := cx.Origin.Upstream; cx.Origin.Same {
		refs = []string{"git:@" + up + "^", "git:@" + up} // those that others have
		if !failing {
			slices.Reverse(refs)
		}
	}
	cx.Repeats = repeats(cx.Failing, a.FailRate)
	cx.Command = runCommand(r, c, refs, cx.Repeats)
	if cx.Failing == nil || rec.Scenario == "" {
		return cx, nil
	}
	cx.Release = rec.Kernel.Release
	cx.Machine = machineOf(ctx, rec)
	if cx.Failing.Hits == 0 {
		return cx, nil // nothing that it showed is the failure
	}
	var others []string
	if cx.Passing != nil {
		others = cx.Passing.Others
	}
	cx.Console, err = excerpt(s.Dir(), path.Join(cx.Failing.Trial.Where, results.ConsoleFile), rec, cx.Failing.Titles, others)
	return cx, err
}

// ask finds out what the repository says of the culprit. The report is of use
// without it.
func (s *Search) ask(ctx context.Context, a *bisect.Answer, h bisect.History, cx *bisect.Context) {
	repo, err := gitcmd.Open(ctx, s.Cache, s.Request.Git.Repo)
	if err != nil {
		return
	}
	var old []string
	for _, o := range s.Request.Git.Old {
		old = append(old, o.Commit)
	}
	from := source{repo}
	cx.Origin = from.originOf(ctx, *a.First, old, s.Request.Git.New.Commit)
	if files, err := h.Files(ctx, a.First.Hash); err == nil {
		cx.People = from.people(ctx, *a.First, files)
	}
}

// takenBack is a [bisect.Config]'s: by what the messages of commits say, and by
// their changes.
func (s *Search) takenBack(ctx context.Context, c bisect.Commit) string {
	repo, err := gitcmd.Open(ctx, s.Cache, s.Request.Git.Repo)
	if err != nil {
		return ""
	}
	var old []string
	for _, o := range s.Request.Git.Old {
		old = append(old, o.Commit)
	}
	ctx, cancel := context.WithTimeout(ctx, originTime)
	defer cancel()
	story := source{repo}.story(ctx, c, old, s.Request.Git.New.Commit)
	if n := len(story); n > 0 && story[n-1].Reverts {
		return story[n-1].Hash
	}
	return ""
}

// seen is what the trials of commits showed, with the record of one that shows
// it where there is one; nil without trials.
func (s *Search) seen(a *bisect.Answer, rules bisect.Rules, trials map[bisect.Subject][]bisect.Outcome, commits []string, name string) (*bisect.Seen, results.Record, error) {
	var all []bisect.Outcome
	counted := map[string]bool{}
	for _, c := range commits {
		// Trials of the same binary are recorded with the commit that was first.
		for _, m := range slices.Concat(a.Ends, a.Marks) {
			if m.Commit == c && m.SameAs != "" {
				c = m.SameAs
				break
			}
		}
		if !counted[c] { // both parents of a merge may be one binary
			all = append(all, trials[bisect.Subject{Commit: c}]...)
		}
		counted[c] = true
	}
	seen := bisect.See(rules, a.Target, all)
	if seen.Runs == 0 {
		return nil, results.Record{}, nil
	}
	seen.Name = name
	rec, err := s.record(seen.Trial.Where)
	if errors.Is(err, fs.ErrNotExist) {
		return &seen, results.Record{}, nil // removed by its user
	}
	seen.Said, seen.Release = rec.Outcome, rec.Kernel.Release
	if rec.FirstFailed.Known() {
		seen.First = rec.FirstFailed.Text()
	}
	for _, l := range rec.Legs {
		if !l.OK && seen.Hits > 0 {
			seen.Legs = append(seen.Legs, fmt.Sprintf("%s on disk %s (%s)", l.Name, l.Disk, l.Health))
		}
	}
	return &seen, rec, err
}

// record reads that of a trial, by its folder.
func (s *Search) record(where string) (rec results.Record, err error) {
	fail := func(err error) (results.Record, error) {
		return results.Record{}, fmt.Errorf("read a trial of the bisection: %w", err)
	}
	if !filepath.IsLocal(where) {
		return fail(fs.ErrNotExist)
	}
	root, err := os.OpenRoot(s.Dir())
	if err != nil {
		return fail(err)
	}
	defer root.Close() // only read from
	data, err := root.ReadFile(path.Join(where, results.ResultFile))
	if err == nil {
		err = json.Unmarshal(data, &rec)
	}
	if err != nil {
		return fail(err)
	}
	return rec, nil
}

// repeats is how many trials show a failure for sure enough, that seldom as it
// was seen: of the culprit, or of all kernels with the failure.
func repeats(s *bisect.Seen, all bisect.Rate) int {
	if s == nil || s.Hits == 0 {
		return 0
	}
	rate := float64(s.Hits) / float64(s.Runs)
	if all.Hits > 0 {
		rate = min(rate, float64(all.Hits)/float64(all.Runs))
	}
	if rate == 1 {
		return 0
	}
	return stats.RunsToTrust(rate, bisect.Reproduced)
}

// WriteReports puts the texts to send into the search's folder, one for each
// culprit, and gives their paths.
func (s *Search) WriteReports(o *Outcome) (paths []string, err error) {
	err = o.Each(func(i int, a *bisect.Answer, cx bisect.Context) error {
		p, err := putFile(s.Dir(), Numbered(bisect.ReportFile, i), []byte(bisect.Report(a, cx)))
		paths = append(paths, p)
		return err
	})
	return paths, err
}

// Numbered is the file name of the i-th of several texts, from 0: "x.txt",
// "x-2.txt".
func Numbered(name string, i int) string {
	if i == 0 {
		return name
	}
	ext := filepath.Ext(name)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, ext), i+1, ext)
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

// runCommand shows the failure, and the kernel without it: a line for each
// part, as the shell takes it.
func runCommand(r Request, c scenarios.Case, refs []string, repeats int) string {
	var parts [][]string
	add := func(args ...string) { parts = append(parts, args) }
	// A case that the scenario's matrix does not have is known by its values only.
	if slices.ContainsFunc(r.Command, func(a string) bool { return a == "--set" || strings.HasPrefix(a, "--set=") }) || !inMatrix(c) {
		for _, p := range c.Params {
			add("--set", fmt.Sprintf("%s=%s", p.Name, p.Value))
		}
	} else if c.ID != "" {
		add("--case", c.ID)
	}
	if repeats > 1 {
		add("--repeat", fmt.Sprint(repeats))
	}
	if r.Machine.CPUs > 0 {
		add("--cpus", fmt.Sprint(r.Machine.CPUs))
	}
	if r.Machine.Accel != "" && r.Machine.Accel != "auto" {
		add("--accel", r.Machine.Accel)
	}
	if r.Machine.Cold {
		add("--cold")
	}
	for _, ref := range refs {
		if git, ok := kernels.CutGit(ref); ok {
			git.Repo = othersRepo
			ref = git.String()
		}
		add("-k", ref)
	}
	if r.Git != nil {
		add(r.Git.Build.args()...)
	}
	return folded("blockrig run "+Quoted(nameOf(c)), parts)
}

// folded is a command as a shell takes it, a line for each part.
func folded(command string, parts [][]string) string {
	for _, part := range parts {
		for i, arg := range part {
			if i == 0 {
				command += " \\\n   "
			}
			command += " " + Quoted(arg)
		}
	}
	return command
}

// othersRepo stands for a clone of the kernel, wherever others have one.
const othersRepo = "linux"

// nameOf is how others name a case's scenario: one that ships by its name, a
// file without the folder where this user has it.
func nameOf(c scenarios.Case) string {
	if c.Scenario.File != "" {
		return filepath.Base(c.Scenario.File)
	}
	return c.Scenario.Name
}

func inMatrix(c scenarios.Case) bool {
	for _, p := range c.Params {
		if !slices.ContainsFunc(c.Scenario.Matrix, func(m scenarios.Param) bool { return m.Name == p.Name && slices.Contains(m.Values, p.Value) }) {
			return false
		}
	}
	return true
}

// foldedLine is a command, on a line for each flag where one line is too
// long for a mail.
func foldedLine(args []string) string {
	line := commandLine(args)
	if len(line) <= bisect.MailWidth-2 {
		return line
	}
	first := max(1, slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") }))
	var parts [][]string
	for _, a := range args[first:] {
		if len(parts) == 0 || strings.HasPrefix(a, "-") {
			parts = append(parts, nil)
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], a)
	}
	return folded(commandLine(args[:first]), parts)
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

// others is what others call an end: a branch or HEAD is another commit there.
func (e End) others() string {
	if releaseTag.MatchString(e.Name) {
		return e.Name
	}
	return e.Commit
}

// namesForOthers are the names that the user gave the ends, with those that
// mean the same to others, too.
func (r *Request) namesForOthers(k Kernels) map[string]string {
	names := map[string]string{}
	if r.Git != nil {
		for _, e := range append([]End{r.Git.New}, r.Git.Old...) {
			names[e.Name] = e.others()
		}
		return names
	}
	for _, e := range []End{r.Releases.Old, r.Releases.New} {
		names[e.Name] = k.Ref(bisect.Subject{Commit: e.Commit})
	}
	return names
}

// forOthers is a command as others can give it: without this user's folders
// for results, with a file's name for its path, with a clone of theirs, and
// with names of the ends that mean the same there.
func forOthers(args []string, names map[string]string) []string {
	named := func(v string) string { return cmp.Or(names[v], v) }
	var out []string
	for i := 0; i < len(args); i++ {
		name, value, joined := strings.Cut(args[i], "=")
		if args[i] == "--" {
			return append(out, args[i:]...)
		}
		if !strings.HasPrefix(name, "-") {
			if i > 0 && filepath.IsAbs(args[i]) {
				name = filepath.Base(args[i])
			} else {
				name = args[i]
			}
			out = append(out, name)
			continue
		}
		rewrite, ok := map[string]func(string) string{
			"--results": nil, "--state": nil, "--output": nil, "-o": nil,
			"--repo": func(string) string { return othersRepo }, "--then-git": func(string) string { return othersRepo },
			"--apply": filepath.Base, "--config": filepath.Base, "--good": named, "--bad": named,
		}[name]
		if !ok {
			out = append(out, args[i])
			continue
		}
		if !joined && i+1 < len(args) {
			i++
			value = args[i]
		}
		if rewrite != nil {
			out = append(out, name, rewrite(value))
		}
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

// excerpt is the part of a console that begins with the first finding that
// is about the failure: one of these titles, or one that the other side does
// not show. What shows there, too, is left out, and what the host adds for
// blockrig classify.
func excerpt(base, name string, rec results.Record, about, others []string) (string, error) {
	lines, err := readConsole(base, name)
	if err != nil || len(lines) == 0 {
		return "", err
	}
	hide := make([]bool, len(lines))
	earliest := func(about func(title string) bool) int {
		for _, f := range rec.Findings {
			if f.Line > 0 && f.Line <= len(lines) && !slices.Contains(others, f.Title) && about(f.Title) {
				return f.Line - 1
			}
		}
		return -1
	}
	first := earliest(func(title string) bool { return slices.Contains(about, title) })
	if first < 0 {
		first = earliest(func(string) bool { return true })
	}
	if first < 0 {
		return "", nil
	}
	for _, f := range rec.Findings {
		if f.Line > 0 && f.Line <= len(lines) && slices.Contains(others, f.Title) {
			from, to := reportOf(lines, f.Line-1)
			for i := from; i < to; i++ {
				hide[i] = true
			}
		}
	}
	for i, line := range lines {
		hide[i] = hide[i] || protocol.IsHostLine(line)
	}
	var out []string
	for i := max(0, first-excerptBefore); i < len(lines) && len(out) < excerptBefore+excerptAfter; i++ {
		if hide[i] {
			continue
		}
		out = append(out, lines[i][:min(len(lines[i]), excerptLine)])
	}
	return strings.Join(out, "\n") + "\n", nil
}

// reportOf is the extent of the kernel's report that has a line: a warning is
// framed by "cut here" and "end trace".
func reportOf(lines []string, at int) (from, to int) {
	from, to = at, at+1
	if at > 0 && strings.Contains(lines[at-1], "[ cut here ]") {
		from = at - 1
	}
	for i := at; i < min(len(lines), at+maxReport); i++ {
		if i > at && strings.Contains(lines[i], "[ cut here ]") {
			break
		}
		if strings.Contains(lines[i], "---[ end trace") {
			return from, i + 1
		}
	}
	return from, to
}

// maxReport bounds the lines of one of the kernel's reports.
const maxReport = 200

// readConsole gives the lines of a console; none of one that is not there.
func readConsole(base, name string) ([]string, error) {
	root, err := os.OpenRoot(base)
	if err != nil {
		return nil, fmt.Errorf("read a failing console: %w", err)
	}
	defer root.Close() // only read from
	f, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read a failing console: %w", err)
	}
	defer f.Close() // only read from
	data, err := io.ReadAll(io.LimitReader(f, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("read a failing console: %w", err)
	}
	return strings.Split(strings.TrimRight(string(data), "\n"), "\n"), nil
}
