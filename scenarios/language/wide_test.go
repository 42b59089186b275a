package language

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/scenarios"
)

func parse(t *testing.T, src string) *scenarios.Scenario {
	t.Helper()
	s, err := Parse("test.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func casesOf(t *testing.T, s *scenarios.Scenario, set map[string]string) []scenarios.Case {
	t.Helper()
	cases, err := Cases(s, set)
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

func wide(t *testing.T) *scenarios.Scenario {
	t.Helper()
	src, err := os.ReadFile("testdata/wide.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(src))
}

// small is a scenario with a body of its own.
func small(body string) string { return "name: small\nabout: A test.\n" + body }

func TestOldFormIsReadAsTheNewOne(t *testing.T) {
	read := func(file string) string {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(src)
	}
	const (
		disks = "disks: [{id: a, bus: ahci, size: 64MiB}, {id: b, bus: ahci, size: 64MiB}]\n"
		step  = "step: {op: pread, direct: true, offset: 0, length: 512, memory_offset: 0}\n"
		steps = "steps: [io: {op: pread, direct: true, length: 512}]\n"
	)
	// What the guest made had these names.
	named := strings.NewReplacer("lvm: {", "lvm: {name: main, ", "fs: {", "fs: {name: tmp, ", "file: {", "file: {name: testfile, ")
	for _, tc := range []struct{ name, old, now string }{
		{"lvm", read("testdata/old/good.yaml"), named.Replace(read("testdata/good.yaml"))},
		{"md", small(disks + "stack: {file: {size: 1MiB}, ext4: {block_size: 4096}, md: {level: raid1}}\n" + step), small(disks + "stack: [md: raid1, fs: {name: tmp, type: ext4, block_size: 4096}, file: {name: testfile, size: 1MiB}]\n" + steps)},
		{"plain", small("disks: [{id: a}]\nstack: {ext4: {block_size: 1024}, file: {size: 1MiB}}\n" + step), small("disks: [{id: a}]\nstack: [fs: {name: tmp, type: ext4, block_size: 1024}, file: {name: testfile, size: 1MiB}]\n" + steps)},
	} {
		of := func(src string) (out []scenarios.Case) {
			for _, c := range casesOf(t, parse(t, src), nil) {
				c.Scenario = nil
				out = append(out, c)
			}
			return out
		}
		if diff := cmp.Diff(of(tc.now), of(tc.old)); diff != "" {
			t.Errorf("%s: -new +old:\n%s", tc.name, diff)
		}
	}
}

func TestOldFormSaysWhatIsWrong(t *testing.T) {
	src, err := os.ReadFile("testdata/old/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, old, new, want string }{
		{"lvm and md", "  ext4:\n", "  md: {level: raid1}\n  ext4:\n", "old.yaml:11: stack: lvm and md exclude each other in a mapping; write a list, in which each layer lies on the one before it"},
		{"a layer twice", "  ext4:\n", "  ext4: {block_size: 1024}\n  ext4:\n", "old.yaml:17: stack: the key ext4 is here twice"},
		{"a layer of today", "  ext4:\n", "  crypt: plain\n  ext4:\n", "old.yaml:16: stack: a list is wanted here, not a mapping: each layer is an item with a dash before it, such as - md: {level: raid1}"},
		{"a wrong value", "block_size: 4096", "block_size: 8192", "old.yaml:17: stack[1].fs.block_size: 8192 is not allowed; allowed: 512, 1024, 2048, 4096"},
		{"steps and a step", "step:\n", "steps: []\nstep:\n", "old.yaml:21: the key steps is here twice"},
	} {
		_, err := Parse("old.yaml", []byte(strings.Replace(string(src), tc.old, tc.new, 1)))
		if errText(err) != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, errText(err), tc.want)
		}
	}
}

func TestLayersAreNamedAndPlaced(t *testing.T) {
	c := casesOf(t, parse(t, small(`
disks: [{id: a}, {id: b}, {id: md3}]
stack:
  - md: {level: raid1, on: [a, b]}
  - brd: 16MiB
  - dm: ["0 {brd.sectors} linear {brd} 0", "{brd.sectors} 8 error"]
  - md: {level: raid1, on: [md3, dm]}
  - fs: {type: ext4, on: [md]}
  - file: 1MiB
steps:
  - io: {op: fsync}
`)), nil)[0]
	var got []string
	for _, l := range c.Setup.Stack {
		got = append(got, l.Name+" on "+strings.Join(l.On, " "))
	}
	want := []string{"md on a b", "brd on ", "dm on brd", "md2 on md3 dm", "fs on md", "file on fs"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if on := c.Steps[0].IO.On; on != "file" {
		t.Errorf("I/O that does not say where goes to %q, want the top of the stack", on)
	}
	if got, want := c.Setup.Machine.Memory, 384*mib; got != want {
		t.Errorf("memory %s, want %s", got, want)
	}
	if got := c.Setup.Disks[0]; got.Bus != "ahci" || got.Size != 128*mib || got.LogicalBlock != 512 {
		t.Errorf("a disk is %+v", got)
	}
}

func TestOutcomesComeFromTheStepOrTheScenarioOrAreData(t *testing.T) {
	body := "disks: [{id: a}]\nsteps:\n  - io: {op: pread, memory_offset: 1}\n  - io: {op: pread, expect: [EIO]}\n"
	for _, tc := range []struct{ more, want string }{
		{"", "data / EIO"},
		{"expect: [data, short]\n", "data short / EIO"},
		{"expect: {misaligned: [EINVAL]}\n", "EINVAL / EIO"},
	} {
		c := casesOf(t, parse(t, small(body+tc.more)), nil)[0]
		var got []string
		for _, st := range c.Steps {
			got = append(got, strings.Join(st.IO.Outcomes(512), " "))
		}
		if got := strings.Join(got, " / "); got != tc.want {
			t.Errorf("with %q: %s, want %s", tc.more, got, tc.want)
		}
	}
}

func TestShortFormsAreTheSameAsLongOnes(t *testing.T) {
	const disks = "disks: [{id: a}, {id: b}]\n"
	short := small(disks + `
stack: [md: raid1, fs: ext4, file: 1MiB]
steps:
  - wait: 500ms
  - exec: [ls]
  - run: ls
  - heal: a
  - power_cut: now
  - parallel: [[run: a], [run: b]]
  - io: {op: pread, length: 4KiB}
`)
	long := small(disks + `
stack:
  - md: {level: raid1}
  - fs: {type: ext4}
  - file: {size: 1MiB}
steps:
  - wait: {time: 500ms}
  - exec: {args: [ls]}
  - run: {lines: ls}
  - heal: {disk: a}
  - power_cut: {at: now}
  - parallel: {groups: [[run: {lines: a}], [run: {lines: b}]]}
  - io: {op: pread, length: 4096}
`)
	a, b := casesOf(t, parse(t, short), nil)[0], casesOf(t, parse(t, long), nil)[0]
	a.Scenario, b.Scenario = nil, nil
	if diff := cmp.Diff(b, a); diff != "" {
		t.Errorf("-long +short:\n%s", diff)
	}
}

func TestParametersStandForAnyValue(t *testing.T) {
	s := wide(t)
	var got []string
	for _, c := range casesOf(t, s, nil) {
		var layers []string
		for _, l := range c.Setup.Stack {
			layers = append(layers, l.Name)
		}
		got = append(got, c.ID+": "+strings.Join(layers, " "))
	}
	want := []string{
		"mode=fast,below=none: r crypt f ram fs file",
		"mode=fast,below=ram: r crypt f ram zram fs file",
		"mode=fast,below=two: r crypt f ram brd null_blk fs file",
		"mode=slow,below=none: r crypt f ram fs file",
		"mode=slow,below=two: r crypt f ram brd null_blk fs file",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cases (-want +got):\n%s", diff)
	}
	c := casesOf(t, s, map[string]string{"mode": "slow", "below": "none"})[0]
	if got, want := c.Steps[6].Run.Lines, "echo check > {r.sys}/md/sync_action\necho 1MiB ${x} | awk '{print $1}' '{{print}'\n"; got != want {
		t.Errorf("lines %q, want %q", got, want)
	}
	if got := c.Steps[10].Exec.Args[1]; got != "mode-slow" {
		t.Errorf("inside of a text: %q", got)
	}
	if got := c.Steps[0].IO.Length; got != int64(mib) {
		t.Errorf("length %d", got)
	}
	if diff := cmp.Diff([]scenarios.Setting{{Name: "size", Value: "1MiB"}, {Name: "extra"}, {Name: "pause", Value: "1s"}}, s.Parameters); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
}

func TestSettingsHaveTheTypeOfTheDefault(t *testing.T) {
	s := wide(t)
	for _, tc := range []struct {
		set  map[string]string
		want string // the cases' first ID, or the error
	}{
		{map[string]string{"size": "64KiB"}, "mode=fast,below=none,size=64KiB"},
		{map[string]string{"size": "1MiB"}, "mode=fast,below=none"},
		{map[string]string{"mode": "lazy"}, "mode=lazy,below=none"},
		{map[string]string{"below": "two", "pause": "2s"}, "mode=fast,below=two,pause=2s"},
		{map[string]string{"size": "big"}, `scenario wide can't have "big" for the parameter size: it is a decimal integer or a size, such as 1MiB`},
		{map[string]string{"pause": "2"}, `scenario wide, case mode=fast,below=none,pause=2: pause, for steps[18].parallel.groups[0][1].wait.time: a time such as 500ms or 2s is wanted here, not "2"`},
		{map[string]string{"below": "rma"}, `scenario wide has no value "rma" for the parameter below (did you mean ram?); it has: none, ram, two`},
		{map[string]string{"extra": "x"}, "scenario wide has a list for the parameter extra, which can't be set to a word"},
		{map[string]string{"mode": "a,b"}, `scenario wide can't have "a,b" for the parameter mode: a value is made of letters, digits and . _ + -, at most 64`},
		{map[string]string{"mode": "slow", "below": "ram"}, "scenario wide: its exclude leaves out every such case"},
	} {
		cases, err := Cases(s, tc.set)
		got := errText(err)
		if err == nil {
			got = cases[0].ID
			again, err := OneCase(s, got)
			again.Scenario, cases[0].Scenario = nil, nil
			if diff := cmp.Diff(cases[0], again); err != nil || diff != "" {
				t.Errorf("case %s is not found again: %v\n%s", got, err, diff)
			}
		}
		if got != tc.want {
			t.Errorf("%v:\n got %s\nwant %s", tc.set, got, tc.want)
		}
	}
}

func TestWholeStackMayVary(t *testing.T) {
	s := parse(t, small(`
disks: [{id: a}, {id: b}]
stack: ${stack}
steps:
  - io: {op: pread, length: ${length}}
matrix:
  stack:
    plain: [fs: {type: ext4, on: [a]}, file: ${size}]
    mirror: [md: raid1, fs: ext4, file: ${size}]
  length: [512, 4096]
parameters: {size: 1MiB}
exclude: [{stack: plain, length: 512}]
`))
	var got []string
	for _, c := range casesOf(t, s, nil) {
		got = append(got, c.ID+" "+c.Setup.Stack[0].Kind()+" "+c.Setup.Top().File.Size.String())
	}
	want := []string{"stack=plain,length=4096 fs 1MiB", "stack=mirror,length=512 md 1MiB", "stack=mirror,length=4096 md 1MiB"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestValuesInValuesEndSomewhere(t *testing.T) {
	var b strings.Builder
	b.WriteString(small("disks: [{id: a}]\nsteps: ${p0}\nparameters:\n"))
	for i := range 20 {
		fmt.Fprintf(&b, "  p%d: [${p%d}, ${p%d}]\n", i, i+1, i+1)
	}
	b.WriteString("  p20: [run: ls]\n")
	_, err := Parse("deep.yaml", []byte(b.String()))
	if err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v", err)
	}
}

func TestStepsBringTheirToolsAndModules(t *testing.T) {
	for _, tc := range []struct {
		name, steps    string
		tools, modules string
		shell          bool
	}{
		{"a tool", `exec: [mdadm, --detail, "{md}"]`, "mdadm mke2fs", "", false},
		{"one of LVM's commands", `exec: [lvs]`, "mdadm mke2fs lvm", "", false},
		{"a command of u-root's", `exec: [ls]`, "mdadm mke2fs", "", true},
		{"tools in a snippet", `run: "dmsetup status | e2fsck -n $x"`, "mdadm mke2fs dmsetup e2fsck", "", true},
		{"a target in a snippet", `run: echo 0 8 zero | dmsetup create z`, "mdadm mke2fs dmsetup", "dm-mod dm-zero", true},
		{"a raid made by hand", `exec: [dmsetup, create, r, --table, "0 8 raid raid10 3 0 2 - {md} - {md}"]`, "mdadm mke2fs dmsetup", "dm-mod dm-raid raid10", false},
		{"a tool that makes a device", `exec: [veritysetup, format, "{md}", "{md}"]`, "mdadm mke2fs veritysetup", "dm-mod dm-verity sha256_generic", false},
		{"a word that is no target here", `run: echo zero`, "mdadm mke2fs", "", true},
		{"a new level", `write: {to: "{md.sys}/md/level", text: raid5}`, "mdadm mke2fs", "raid456", false},
		{"a reshape", `act: {do: reshape, to: md, level: raid5}`, "mdadm mke2fs", "raid456", false},
		{"a scheduler", `queue: {of: a, scheduler: bfq}`, "mdadm mke2fs", "bfq", false},
		{"a check of the file system", `check: {fsck: fs}`, "mdadm mke2fs e2fsck", "", false},
		{"a check of metadata", `check: {metadata: md}`, "mdadm mke2fs", "", false},
		{"in parallel", `parallel: [[run: ls], [exec: [xfs_io]]]`, "mdadm mke2fs xfs_io", "", true},
	} {
		c := casesOf(t, parse(t, small("disks: [{id: a}, {id: b}]\nstack: [md: raid1, fs: ext4, file: 1MiB]\nsteps:\n  - "+tc.steps+"\n")), nil)[0]
		if got := strings.Join(c.Tools(), " "); got != tc.tools {
			t.Errorf("%s: tools %s, want %s", tc.name, got, tc.tools)
		}
		var modules []string
		for _, n := range c.Needs()[6:] {
			modules = append(modules, n.Module)
		}
		if got, want := strings.Join(modules, " "), strings.TrimSpace("ahci sd_mod md-mod raid1 ext4 "+tc.modules); got != want {
			t.Errorf("%s: modules %s, want %s", tc.name, got, want)
		}
		if got := c.Shell(); got != tc.shell {
			t.Errorf("%s: shell %v", tc.name, got)
		}
	}
}

// What a layer or an act needs of the kernel besides, whatever the stack is.
func TestNeedsOfASnapshotAndOfABitmap(t *testing.T) {
	for src, want := range map[string]scenarios.Need{
		"disks: [{id: a}, {id: b}]\nstack: [md: {level: raid1, bitmap: lockless}]\nsteps:\n  - io: {op: pread}\n":              {Option: "CONFIG_MD_LLBITMAP"},
		"disks: [{id: a}]\nstack: [lvm: {type: linear, size: 32MiB}]\nsteps:\n  - act: {do: snapshot, to: lvm, snapshot: s}\n": {Option: "CONFIG_DM_SNAPSHOT", Module: "dm-snapshot"},
	} {
		if c := casesOf(t, parse(t, small(src)), nil)[0]; !slices.Contains(c.Needs(), want) {
			t.Errorf("%s needs %v, not %v", src, c.Needs(), want)
		}
	}
}

func TestWhatAStepHasGrownMayBeUsed(t *testing.T) {
	for name, steps := range map[string]string{
		"reload":    "  - act: {do: reload, to: top, args: [\"0 65536 linear {a} 0\"]}\n",
		"a tool":    "  - exec: [dmsetup, reload, top, --table, \"0 65536 linear {a} 0\"]\n",
		"the shell": "  - run: dmsetup resume top\n",
		"below it":  "  - act: {do: reload, to: under, args: [\"0 65536 linear {a} 0\"]}\n",
	} {
		const head = "name: grown\nabout: It is larger then.\ndisks: [a]\nstack:\n" +
			"  - dm: {name: under, table: [\"0 32768 linear {a} 0\"]}\n  - dm: {name: top, table: [\"0 32768 linear {under} 0\"]}\nsteps:\n"
		const behind = "  - io: {op: pread, offset: 20MiB}\n"
		if _, err := Parse("grown.yaml", []byte(head+steps+behind)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Parse("grown.yaml", []byte(head+behind+steps)); err == nil {
			t.Errorf("%s: I/O behind the end was taken before the device grew", name)
		}
	}
}

func TestRepeatedStepsStandInTheirPlace(t *testing.T) {
	sc, err := Parse("repeat.yaml", []byte(`name: repeat
about: Twice in order, and three times beside another.
disks: [a]
steps:
  - repeat: {times: 2, steps: [{io: {op: pwrite}}, {io: {op: fsync}}]}
  - parallel:
      - - io: {op: pread}
      - - repeat: {times: 3, steps: [{wait: 1ms}]}
  - check: {file: "{a.sys}/size", is: ""}
`))
	if err != nil {
		t.Fatal(err)
	}
	cases, err := Cases(sc, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range cases[0].Steps {
		got = append(got, s.Op())
	}
	if want := "pwrite fsync pwrite fsync parallel check"; strings.Join(got, " ") != want {
		t.Errorf("got the steps %v, want %s", got, want)
	}
	if groups := cases[0].Steps[4].Parallel.Groups; len(groups) != 2 || len(groups[1]) != 3 || groups[1][2].Wait == nil {
		t.Errorf("got the groups %+v, want three waits in the second", groups)
	}
	if c := cases[0].Steps[5].Check; c.Is == nil || *c.Is != "" || c.Not != nil {
		t.Errorf("got %+v, want a file that says nothing", c)
	}
}
