package bisect

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blockrig/blockrig/scenarios"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", file, got)
	}
}

func exampleAnswer() *Answer {
	hash := func(c string) string { return strings.Repeat(c, 40) }
	return &Answer{
		Direction: Regression,
		First: &Commit{
			Hash: "7eac331869571234567890123456789012345678", Title: "iomap: simplify direct io validity check",
			Author: "An Author <author@example.org>", Date: time.Date(2025, 9, 5, 0, 0, 0, 0, time.UTC), Tags: []string{"v6.18-rc1", "v6.18"},
		},
		Grade: Proven, Confidence: .9995,
		Checks: []Check{
			{CheckParent, Pass, "0 of 6 trials failed, 2 boots"},
			{CheckCulprit, Pass, "6 of 6 trials failed, 2 boots"},
			{CheckBinary, Pass, ""},
			{CheckRevert, NotPossible, "does not apply: fs/iomap/direct-io.c"},
			{CheckCompiled, Pass, "fs/iomap/direct-io.c"},
		},
		Target:    Target{Signature: Signature{Verdict: "hang", Phase: "step", Step: "pread"}, Titles: []string{"WARNING in bio_add_page", "BUG: unable to handle page fault in bio_add_page"}},
		Marks:     []Record{{Commit: hash("a"), Mark: New, Fails: true, P: .99999, Hits: 3, Runs: 3, Drift: []string{"BUG in x\x1b[31m"}}, {Commit: hash("b"), Mark: Skip, Why: "drivers/md/dm.c:12: error: expected ;"}, {Commit: hash("c"), Mark: Old, P: .99999, Runs: 3}, {Commit: hash("d"), Mark: Skip, Why: "another failure: warn in boot in 4 of 4 trials", Other: &Signature{Verdict: "warn", Phase: "boot"}}},
		FailRate:  Rate{Hits: 27, Runs: 27, Boots: 9, Mean: .9998, Low: .99, High: 1},
		FalseRate: Rate{Hits: 0, Runs: 30, Boots: 10, Mean: .0004, Low: 0, High: .004},
		Steps:     4, PassesNeeded: 3, Trials: 57, Boots: 19, Seconds: 421,
		Log: "git bisect start '--no-checkout' 'bbb' 'aaa'\n# bad: [bbb] x\n",
	}
}

func exampleContext() Context {
	return Context{
		Case: scenarios.Case{
			Scenario: &scenarios.Scenario{Name: "lvm-mirror-dio-read"},
			Setup: scenarios.Setup{
				Disks: []scenarios.Disk{{ID: "a", Bus: "ahci"}, {ID: "b", Bus: "ahci"}},
				Stack: []scenarios.Layer{
					{Name: "lvm", LVM: &scenarios.LVM{Type: "mirror"}},
					{Name: "fs", FS: &scenarios.FS{Type: "ext4", BlockSize: 4096}},
					{Name: "file", File: &scenarios.File{Size: 1 << 20}},
				},
			},
			ID: "length=8192,memory_offset=32", Steps: []scenarios.Step{{IO: &scenarios.IO{Op: "pread", Direct: true, Length: 8192, MemoryOffset: 32}}},
		},
		Scenario: "lvm-mirror-dio-read length=8192,memory_offset=32",
		Old:      "v6.17", New: "v6.18",
		Failing: &Seen{
			Name: "the commit", Hits: 12, Runs: 12, Boots: 4, Said: "no answer", Trial: Outcome{Kind: KindVerdict, Verdict: "hang", Also: []scenarios.Verdict{"warn"}, Phase: "step"},
			Titles: []string{"Mirror read failed", "WARNING in bio_add_page"}, Legs: []string{"253:1 on disk a (D)"},
			First: "a (sda): EINVAL at sector 18824, then main (main-lvol0_mimage_0)",
		},
		Passing: &Seen{Name: "its parent", Runs: 15, Boots: 5, Said: "EINVAL", Others: []string{"WARNING in unrelated_thing"}},
		People: People{
			Maintainers: []string{"Mike Maintainer <mike@example.org>", "Alasdair Other <agk@example.org>"},
			Author:      "An Author <author@example.org>", Others: []string{"An Author <author@example.org>", "Jens Committer <jens@example.org>"},
			Lists: []string{"dm-devel@lists.linux.dev", "linux-block@vger.kernel.org"},
		},
		Origin:  Origin{In: "v6.18-rc1"},
		Command: "blockrig run lvm-mirror-dio-read \\\n    --case length=8192,memory_offset=32 \\\n    -k git:linux@6eac33186957123456789012345678901234567a \\\n    -k git:linux@7eac331869571234567890123456789012345678",
		Bisect:  "blockrig bisect git --repo linux --good v6.17 --bad v6.18 lvm-mirror-dio-read --case length=8192,memory_offset=32",
		Release: "6.17.0-rc1", Config: "blockrig's fragments base, storage and others", Machine: "QEMU 7.2.22, q35, TCG, 1 CPU",
		Folder: "/var/tmp/blockrig/runs/2026",
		Console: "[    3.1] WARNING: CPU: 0 PID: 77 at block/bio.c:1044 bio_add_page+0x2e0/0x310\r\n" +
			"#regzbot introduced: v1.0..v1.1\n" +
			"  #Regzbot ^fix: evil\n" +
			"-- >8 --\n" +
			"Signed-off-by: A Guest <guest@example.org>\n" +
			"\x1b]0;title\x07\x1b[2Jgone\n" +
			"From nobody Mon Sep 17 00:00:00 2001\n" +
			strings.Repeat("x", 400) + "\n",
	}
}

// signature has the failure looked for be another, with nothing on the console.
func looksFor(a *Answer, c *Context, s Signature) {
	a.Target = Target{Signature: s}
	c.Failing.Titles, c.Failing.Legs, c.Failing.First, c.Console = nil, nil, "", ""
	c.Failing.Trial = Outcome{Kind: KindVerdict, Verdict: s.Verdict, Phase: s.Phase, Step: s.Step, Errno: s.Errno, Bytes: s.Bytes, Wrong: s.Wrong}
}

func TestTexts(t *testing.T) {
	eio, err := ParseExpr("errno == EIO")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Answer, *Context){
		"hang": func(*Answer, *Context) {},
		"warn": func(a *Answer, c *Context) {
			a.Target.Signature.Verdict = "warn"
			c.Failing.Titles, c.Failing.Legs = []string{"WARNING in bio_add_page", "WARNING in unrelated_thing", "#regzbot introduced: v1.0..v1.1"}, nil
			c.Failing.Hits, c.Failing.Said, c.Repeats = 2, "4096 bytes", 26
			a.FailRate = Rate{Hits: 5, Runs: 30, Boots: 10}
			c.Command = strings.Replace(c.Command, "    -k", "    --repeat 26 \\\n    -k", 1)
			c.Origin.Story = []Chapter{
				{Commit{Hash: strings.Repeat("1", 40), Title: "iomap: simplify direct io validity check"}, false},
				{Commit{Hash: strings.Repeat("2", 40), Title: `Revert "iomap: simplify direct io validity check"`}, true},
				{*a.First, false},
			}
		},
		"eio": func(a *Answer, c *Context) {
			// What was looked for is less than all that the trial shows.
			a.Target = Target{Signature: Signature{Verdict: "warn", Phase: "step", Step: "pread"}, Titles: []string{"WARNING in unrelated_thing"}}
			c.Failing.Trial = Outcome{Kind: KindVerdict, Verdict: "warn", Also: []scenarios.Verdict{"eio", "degraded"}, Phase: "step", Errno: "EIO", Titles: []string{"WARNING in unrelated_thing", "Mirror read failed"}}
			c.Failing.Said, c.Failing.Titles, c.BadWhen = "EIO", []string{"WARNING in unrelated_thing", "Mirror read failed"}, eio
			c.Console = "[    3.1] device-mapper: raid1: Mirror read failed.\n\n\n"
			c.Also = []string{Target{Signature: Signature{Verdict: "degraded"}}.Does(c.Failing), Target{Signature: Signature{Verdict: "bug", Title: "BUG in x"}}.Does(c.Failing)}
			c.Origin = Origin{Upstream: strings.Repeat("9", 40), In: "v6.17.4"}
			c.Stable = true
		},
		"short": func(a *Answer, c *Context) {
			looksFor(a, c, Signature{Verdict: "errno", Phase: "step", Step: "pread", Short: true, Bytes: 4096})
			c.Case.Steps[0].IO.MemoryOffset, c.Case.ID = 0, "length=8192,memory_offset=0"
			c.Failing.Said, c.Passing.Said = "4096 bytes", "8192 bytes"
			c.Origin = Origin{Upstream: strings.Repeat("9", 40), Same: true, Near: "v6.17-rc4-3-g7eac33186957"}
			c.People = People{Author: "An Author <author@example.org>"}
		},
		"doubtful": func(a *Answer, c *Context) {
			a.Among = []Commit{{Hash: strings.Repeat("a", 40), Title: "dm: one"}, {Hash: strings.Repeat("b", 40), Title: "dm: two \x1b[1m#regzbot"}}
			a.First, a.Checks, a.Grade = nil, nil, Doubtful
			a.Between = &Between{Old: []string{strings.Repeat("c", 40)}, New: strings.Repeat("a", 40), Commits: 2}
			a.Why = []string{"only commits that can't be tried are left: it is one of 2"}
			c.Failing.Name, c.Passing.Name, c.Origin, c.People = "v6.18", "v6.17", Origin{}, People{}
		},
		"contradicted": func(a *Answer, c *Context) {
			a.Grade = Doubtful
			a.Checks[0].Result = Fail
			a.Why = []string{"no: " + CheckParent}
			c.Origin = Origin{Near: "v6.17-rc4-3-g7eac33186957"}
		},
		"stopped": func(a *Answer, c *Context) {
			a.First, a.Checks, a.Grade, a.Stopped = nil, nil, Doubtful, StopSkips
			a.Between = &Between{Old: []string{strings.Repeat("c", 40)}, New: strings.Repeat("a", 40), Commits: 37}
			a.Why = []string{"21 commits could not be tried (last bbbbbbbbbbbb: drivers/md/dm.c:12: error: expected ;); name paths, other ends or --max-skips"}
			c.Failing, c.Passing, c.Origin, c.People = nil, nil, Origin{}, People{}
		},
		"inconclusive": func(a *Answer, c *Context) {
			a.First, a.Checks, a.Grade, a.Stopped = nil, nil, Doubtful, StopInconclusive
			a.Why = []string{"both ends fail now and then"}
			c.Failing.Name, c.Failing.Hits, c.Passing.Name, c.Passing.Hits, c.Origin = "v6.18", 3, "v6.17", 2, Origin{}
		},
		"grown": func(a *Answer, c *Context) {
			a.Became = &Commit{Hash: strings.Repeat("e", 40), Title: "dm-io: count EINVAL as an error"}
			a.Began = &Signature{Verdict: "degraded", Phase: "step", Step: "pread"}
			a.BecameChecks = []Check{{CheckParent, Pass, "eeee"}}
		},
		"release": func(a *Answer, c *Context) {
			a.First = &Commit{Hash: "6.18.5", Title: "Linux 6.18.5", Tags: []string{"v6.18.5"}}
			c.Range = &Range{From: "v6.17", To: "v6.18", Mainline: true, Note: "v6.18.5 is the first available v6.18: a stable release from v6.18.1 to it may have brought the change as well"}
			c.Stable, c.Old, c.New = true, "debian:6.17.13-1", "debian:6.18.5-1"
			c.Failing.Name, c.Passing.Name, c.Origin, c.People = "debian:6.18.5-1", "debian:6.17.13-1", Origin{}, People{}
			a.Checks = a.Checks[:3]
			c.Config, c.Release = "Debian's of that release, amd64", "6.18.5+deb14-amd64"
			c.Command = "blockrig run lvm-mirror-dio-read \\\n    --case length=8192,memory_offset=32 \\\n    -k debian:6.17.13-1 \\\n    -k debian:6.18.5-1"
			c.Bisect = "blockrig bisect versions --good debian:6.17 --bad debian:6.18 lvm-mirror-dio-read --case length=8192,memory_offset=32"
		},
		"fix": func(a *Answer, c *Context) {
			a.Direction = Fix
			a.Checks = []Check{{CheckParentFix, Pass, ""}, {CheckFix, Pass, ""}}
			c.Failing.Name, c.Passing.Name = "its parent", "the commit"
		},
	} {
		a, c := exampleAnswer(), exampleContext()
		change(a, &c)
		report := Report(a, c)
		text := Summary(a, c) + "\n=====\n\n" + report
		golden(t, name+".txt", text)
		for i, line := range strings.Split(text, "\n") {
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("%s:%d: control codes in %q", name, i+1, line)
			}
		}
		for line := range strings.Lines(report) {
			// But for what is quoted or copied as it is.
			if line = strings.TrimSuffix(line, "\n"); len(line) > MailWidth && !strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "  ") && !strings.HasPrefix(line, "#regzbot") {
				t.Errorf("%s: a line of %d columns: %s", name, len(line), line)
			}
		}
		if n := strings.Count(strings.ToLower(text), "#regzbot i"); n > 1 || (n == 0) != (a.Direction == Fix || a.Stopped == StopInconclusive) {
			t.Errorf("%s: %d commands to regzbot", name, n)
		}
	}
}

func TestDefang(t *testing.T) {
	var long strings.Builder
	for range 1000 {
		long.WriteString("line\n")
	}
	if n := strings.Count(Defang(long.String()), "\n"); n != consoleLines+1 {
		t.Errorf("%d lines of 1000 are left", n)
	}
	for in, want := range map[string]string{
		"#regzbot introduced: x":     "| # regzbot introduced: x\n",
		"# regzbot dup: x":           "| #  regzbot dup: x\n",
		"-- >8 --":                   "| (a line of scissors)\n",
		"- - 8< - -":                 "| (a line of scissors)\n",
		"Reported-by: x":             "| Reported-by : x\n",
		"a\rb":                       "| a\\u000db\n",
		"\u001b[31mred\u001b[0m":     "| \\u001b[31mred\\u001b[0m\n",
		"--- a/file":                 "| --- a/file\n",
		"\xff\xfe":                   "| ��\n",
		"0x8<<3":                     "| 0x8<<3\n",
		"":                           "",
		"\u202egnp.exe":              "| \\u202egnp.exe\n",
		"sda: \twrite":               "| sda:     write\n",
		"WARNING in a\n\nnext":       "| WARNING in a\n|\n| next\n",
		strings.Repeat("-", 20) + "": "| --------------------\n",
	} {
		if got := Defang(in); got != want {
			t.Errorf("Defang(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestStep(t *testing.T) {
	stack := Outcome{Kind: KindVerdict, Verdict: "bug", Phase: "stack"}
	broken := Outcome{Kind: KindBuild, Reason: "no rule"}
	target := &Target{Signature: simTarget.Signature()}
	full := Outcome{Kind: KindError, Host: true, Reason: "no space left on device"}
	e, err := ParseExpr("verdict == bug")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		outcomes []Outcome
		rules    Rules
		target   *Target
		want     int
	}{
		{"passes", []Outcome{simPass, simPass}, Rules{}, nil, StepGood},
		{"one failure", []Outcome{simPass, simTarget}, Rules{}, nil, StepBad},
		{"a failure before the step", []Outcome{stack, simPass}, Rules{}, nil, StepSkip},
		{"any failure", []Outcome{stack}, Rules{AnyFailure: true}, nil, StepBad},
		{"not the target", []Outcome{simOther}, Rules{}, target, StepSkip},
		{"the target among others", []Outcome{simOther, simTarget}, Rules{}, target, StepBad},
		{"not what is bad", []Outcome{simTarget, simTarget}, Rules{BadWhen: e}, nil, StepGood},
		{"what is bad", []Outcome{stack}, Rules{BadWhen: e}, nil, StepBad},
		{"no build", []Outcome{broken}, Rules{}, nil, StepSkip},
		{"an error, and passes enough", []Outcome{{Kind: KindError}, simPass, simPass}, Rules{}, nil, StepGood},
		{"an error and a pass", []Outcome{{Kind: KindError}, simPass}, Rules{}, nil, StepMore},
		{"a pass and then errors", []Outcome{simPass, {Kind: KindError}, {Kind: KindError}, {Kind: KindBoot}}, Rules{}, nil, StepSkip},
		{"errors in one case of many", []Outcome{simPass, simPass, simPass, {Kind: KindError}, {Kind: KindError}, {Kind: KindError}}, Rules{}, nil, StepSkip},
		{"errors", []Outcome{{Kind: KindError}, {Kind: KindError}, {Kind: KindError}}, Rules{}, nil, StepSkip},
		{"the machine's errors", []Outcome{full}, Rules{}, nil, StepAbort},
		{"the machine's errors beside a pass", []Outcome{simPass, full, full, full}, Rules{}, nil, StepAbort},
		{"a boot that failed on a starved machine", []Outcome{{Kind: KindBoot, Host: true}}, Rules{}, nil, StepAbort},
		{"the machine's errors, and a failure", []Outcome{full, full, full, simTarget}, Rules{}, nil, StepBad},
		{"the machine's errors, and the kernel's", []Outcome{full, {Kind: KindBoot}}, Rules{}, nil, StepSkip},
		{"an error of the machine's, and passes enough", []Outcome{full, simPass, simPass}, Rules{}, nil, StepGood},
		{"too few passes", []Outcome{simPass}, Rules{}, nil, StepMore},
		{"nothing", nil, Rules{}, nil, StepMore},
	} {
		if got, why := Step(c.outcomes, c.rules, c.target, 2); got != c.want || why == "" {
			t.Errorf("%s: %d (%s), want %d", c.name, got, why, c.want)
		}
	}
}

func TestCompare(t *testing.T) {
	trials := func(boots, runs, fails int, o Outcome) []Outcome {
		var out []Outcome
		for i := range boots * runs {
			v := simPass
			if i%(boots*runs/max(fails, 1)) == 0 && fails > 0 && i/(boots*runs/max(fails, 1)) < fails {
				v = o
			}
			v.Boot = string(rune('a' + i/runs))
			out = append(out, v)
		}
		return out
	}
	wrongAt := func(place string) Signature { return Signature{Verdict: "corrupt", Wrong: WrongData, Place: place} }
	noBoot := func(n int) []Outcome { return slices.Repeat([]Outcome{{Kind: KindBoot, Reason: "no word from it"}}, n) }
	all := func(boots, runs int, o Outcome) []Outcome { return trials(boots, runs, boots*runs, o) }
	for _, c := range []struct {
		name          string
		base, patched []Outcome
		want          Effect
	}{
		{"mends it", all(4, 3, simTarget), trials(4, 3, 0, simTarget), Helps},
		{"breaks it", trials(4, 3, 0, simTarget), all(4, 3, simTarget), Harms},
		{"still fails", all(4, 3, simTarget), all(4, 3, simTarget), Nothing},
		{"still passes", trials(4, 3, 0, simTarget), trials(4, 3, 0, simTarget), Nothing},
		{"fails in another way", all(4, 3, simTarget), all(4, 3, simOther), Unclear},
		{"too few trials", all(1, 1, simTarget), trials(1, 1, 0, simTarget), Unclear},
		{"one boot is not enough", all(1, 3, simTarget), trials(1, 3, 0, simTarget), Unclear},
		{"nothing tried", nil, all(4, 3, simTarget), Unclear},
		{"mends it and breaks some boots", all(4, 3, simTarget), append(trials(4, 2, 0, simTarget), noBoot(1)...), Unclear},
		{"breaks some boots", trials(8, 2, 0, simTarget), append(trials(4, 2, 0, simTarget), noBoot(4)...), Unclear},
		{"breaks it and some boots", trials(8, 2, 0, simTarget), append(all(8, 2, simTarget), noBoot(1)...), Harms},
		{"breaks every boot", all(8, 2, simTarget), noBoot(8), Harms},
		{"mends the boot", noBoot(8), trials(8, 2, 0, simTarget), Helps},
		{"neither boots", noBoot(8), noBoot(8), Unclear},
		// A failure that stays hides nothing, whichever is worse.
		{"mends one of two", all(4, 3, showing(showsWarn, showsEIO)), all(4, 3, showing(showsWarn)), Helps},
		{"mends the worse of two", all(4, 3, showing(showsWarn, showsEIO)), all(4, 3, showing(showsEIO)), Helps},
		{"breaks one more", all(4, 3, showing(showsWarn)), all(4, 3, showing(showsWarn, showsEIO)), Harms},
		{"breaks one more, a worse one", all(4, 3, showing(showsLeg)), all(4, 3, showing(showsLeg, wrongAt("byte 512"))), Harms},
		{"the same wrong data", all(4, 3, showing(wrongAt("byte 0"))), all(4, 3, showing(wrongAt("byte 0"))), Nothing},
		{"wrong data at another place", all(4, 3, showing(wrongAt("byte 0"))), all(4, 3, showing(wrongAt("byte 512"))), Unclear},
		{"mends one, breaks another", all(4, 3, showing(showsWarn, showsEIO)), all(4, 3, showing(showsWarn, showsLeg)), Unclear},
		{"another errno", all(4, 3, showing(showsWarn, Signature{Verdict: "errno", Errno: "ENOMEM"})), all(4, 3, showing(showsWarn, Signature{Verdict: "errno", Errno: "errno 524"})), Unclear},
		{"other titles with a hang", all(4, 3, showing(showsHang, showsWarn)), all(4, 3, showing(showsHang)), Nothing},
		{"what the hang hid", all(4, 3, showing(showsHang)), all(4, 3, showing(showsEIO)), Helps},
		{"half as often, many trials", trials(20, 10, 100, simTarget), trials(20, 10, 10, simTarget), Helps},
	} {
		r := Compare(c.base, c.patched, .99)
		if r.Effect != c.want {
			t.Errorf("%s: %s, p %.4f, %s", c.name, r.Effect, r.P, r.Sentence())
		}
		if text := r.Sentence(); strings.Contains(text, "still fails") != (r.Base.Fails > 0 && r.Patched.Fails > 0 && (c.want == Helps || c.want == Nothing)) {
			t.Errorf("%s: %s", c.name, text)
		}
	}
}

// Given trials of a kernel, then those that show what is looked for are told
// from those that do not, and neither are trials with another failure or none.
func TestSee(t *testing.T) {
	eio := func(boot string) Outcome {
		return Outcome{Kind: KindVerdict, Verdict: "eio", Phase: "step", Step: "pread", Boot: boot, Titles: []string{"Mirror read failed", "I/O error"}}
	}
	pass := Outcome{Kind: KindVerdict, Verdict: "pass", Phase: "done", Step: "pread", Boot: "c", Titles: []string{"harmless"}}
	other := Outcome{Kind: KindVerdict, Verdict: "bug", Phase: "stack", Step: "pread", Boot: "d", NoAnswer: true, Titles: []string{"BUG in y"}}
	got := See(Rules{}, Target{Signature: eio("").Signature()}, []Outcome{pass, eio("a"), eio("a"), eio("b"), other, {Kind: KindError}})
	if got.Hits != 3 || got.Runs != 4 || got.Boots != 3 || got.Trial.Boot != "a" || strings.Join(got.Titles, ",") != "I/O error,Mirror read failed" || strings.Join(got.Others, ",") != "BUG in y,harmless" {
		t.Errorf("%+v", got)
	}
	if got := See(Rules{}, Target{Signature: eio("").Signature()}, []Outcome{pass}); got.Hits != 0 || got.Runs != 1 || got.Trial.Boot != "c" {
		t.Errorf("%+v", got)
	}
}

// Given a condition and a trial that shows several things, then the subject is
// about what the condition would hold for.
func TestWhatAConditionIsAbout(t *testing.T) {
	o := Outcome{Kind: KindVerdict, Verdict: "warn", Also: []scenarios.Verdict{"eio", "degraded"}, Phase: "step", Step: "pread", Errno: "EIO", Titles: []string{"WARNING in a", "Mirror read failed"}}
	for _, c := range []struct{ expr, want string }{
		{"errno == EIO", "returns EIO"},
		{"errno in (EIO, ENOSPC) && phase == step", "returns EIO"},
		{`title =~ "^Mirror"`, "causes errors (Mirror read failed)"},
		{"verdict == warn", "triggers WARNING in a"},
		{"also == eio", "returns EIO"},
		{"also == degraded", "causes errors (Mirror read failed)"},
		{"verdict == warn && errno == EIO", "triggers WARNING in a"}, // both together
		{"verdict != pass", "triggers WARNING in a"},
	} {
		e, err := ParseExpr(c.expr)
		if err != nil {
			t.Fatal(err)
		}
		s := symptomOf(Target{Signature: o.Signature(), Titles: o.Titles}, e, &Seen{Hits: 1, Runs: 1, Trial: o, Titles: o.Titles})
		if got := s.does(); got != c.want {
			t.Errorf("%s: %q, want %q", c.expr, got, c.want)
		}
	}
}
