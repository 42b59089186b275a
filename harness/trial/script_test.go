package trial

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

func scripted() Job {
	return Job{
		Scenario: "s", CPUs: 1, Accel: qemu.TCG, Modules: []protocol.Module{{Path: "/m.ko"}},
		Setup: scenarios.Setup{Machine: scenarios.Machine{Memory: 256 << 20}, Disks: []scenarios.Disk{{ID: "a", Bus: "ahci", Size: 1 << 20}, {ID: "n", Bus: "nvme", Size: 1 << 20, Discard: true}}},
		Steps: []scenarios.Step{{IO: &scenarios.IO{Op: "pread"}}},
	}
}

// Given what was said in a trial, warm or cold, then the script is the setup,
// and every step as the guest was told it.
func TestTheScriptIsWhatTheHostSaid(t *testing.T) {
	events := `{"ms":1,"from":"guest","what":{"hello":{}}}
{"ms":1,"from":"noise","what":"\u001b"}
{"ms":2,"from":"host","what":{"setup":{"shell":true}}}
{"ms":3,"from":"host","what":{"step":{"io":{"op":"pread"},"trial":7,"entropy":"AQI=","trace":true,"limit_ms":5}}}
{"ms":4,"from":"host","what":{"step":{"check":{"data":"f"},"index":1,"trial":8}}}
`
	script, err := scripted().Script(strings.NewReader(events))
	if err != nil {
		t.Fatal(err)
	}
	var all []protocol.ToGuest
	for line := range strings.Lines(string(script.Boots[0])) {
		var m protocol.ToGuest
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	if len(script.Boots) != 1 || len(script.Acts) != 0 || len(all) != 3 || all[0].Setup == nil || all[1].Step == nil || all[2].Step == nil {
		t.Fatalf("the script is\n%s", script.Boots)
	}
	if s := all[0].Setup; s.Shell || len(s.Modules) != 1 || len(s.Disks) != 2 || s.Disks[1].Serial != "blockrig-n" {
		t.Errorf("the setup is %+v", s)
	}
	if s := all[1].Step; s.Trial != 7 || s.Trace || string(s.Entropy) != "\x01\x02" || s.LimitMS != 5 || all[2].Step.Index != 1 {
		t.Errorf("the steps are %+v, %+v", s, all[2].Step)
	}
	for _, bad := range []string{"{", `{"from":"host","what":7}`, strings.Repeat("x", maxEvent+1)} {
		if _, err := scripted().Script(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), EventsFile) {
			t.Errorf("of %.20q: %v", bad, err)
		}
	}
}

// lines are those of a boot: of each the key that says what it is.
func lines(t *testing.T, boot []byte) string {
	t.Helper()
	var out []string
	for line := range strings.Lines(string(boot)) {
		var m protocol.ToGuest
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		switch {
		case m.Step != nil:
			out = append(out, "step "+strconv.Itoa(m.Step.Index))
		case m.Setup != nil:
			out = append(out, fmt.Sprintf("setup %t", m.Setup.Assemble))
		default:
			out = append(out, "ask "+strconv.Itoa(m.Ask))
		}
	}
	return strings.Join(out, ", ")
}

// Given a trial whose disks fail, are taken away and put back, and whose power
// fails, then the guest asks the host for its part where it came in the trial, and
// what the trial did not come to is not in the script.
func TestTheScriptAsksForWhatTheHostDid(t *testing.T) {
	j := scripted()
	j.Disks[0].NoWriteCache = true
	read := j.Steps[0]
	fault := func(do, disk string) scenarios.Step {
		return scenarios.Step{Fault: &scenarios.Fault{Disk: disk, Do: do, Op: "read"}}
	}
	heal := func(disk string) scenarios.Step { return scenarios.Step{Heal: &scenarios.Heal{Disk: disk}} }
	cut := scenarios.Step{PowerCut: &scenarios.PowerCut{At: "now", Lose: "all"}}
	j.Steps = []scenarios.Step{heal("a"), fault("error", "a"), read, fault("remove", "n"), fault("error", "a"), read, heal("n"), heal("a"), fault("error", "a"), cut, read, fault("error", "a"), read, fault("error", "n")}
	step := func(i int) string {
		return fmt.Sprintf(`{"from":"host","what":{"step":{"io":{"op":"pread"},"index":%d}}}`+"\n", i)
	}
	s, err := j.Script(strings.NewReader(step(2) + step(5) + `{"from":"host","what":{"setup":{"assemble":true}}}` + "\n" + step(10) + step(12)))
	if err != nil {
		t.Fatal(err)
	}
	var boots, acts []string
	for _, b := range s.Boots {
		boots = append(boots, lines(t, b))
	}
	for _, a := range s.Acts {
		text := a.What + ":"
		for _, q := range a.QEMU {
			var c struct{ Execute string }
			if err := json.Unmarshal([]byte(q.Line), &c); err != nil {
				t.Fatal(err)
			}
			text += " " + c.Execute + q.Gone
		}
		acts = append(acts, text)
	}
	if diff := cmp.Diff([]string{"setup false, ask 1, step 2, ask 2, ask 3, step 5, ask 4, ask 5, ask 6, ask 7", "setup true, step 10, ask 8, step 12"}, boots); diff != "" {
		t.Errorf("the boots (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"error of disk a: blockdev-add blockdev-reopen", "remove of disk n: device_delnvme-n", "error of disk a: human-monitor-command blockdev-add blockdev-reopen blockdev-del",
		"heal of disk n: device_add", "heal of disk a: human-monitor-command blockdev-reopen blockdev-del", "error of disk a: blockdev-add blockdev-reopen", "power_cut:", "error of disk a: blockdev-add blockdev-reopen",
	}, acts); diff != "" {
		t.Errorf("what the host does (-want +got):\n%s", diff)
	}
}

// What QEMU can't play is refused, with what it is.
func TestSomeScriptsTakeBlockrig(t *testing.T) {
	for want, st := range map[string]scenarios.Step{
		"lost of disk a: ":                    {Fault: &scenarios.Fault{Disk: "a", Do: "lost"}},
		"medium of disk n: ":                  {Fault: &scenarios.Fault{Disk: "n", Do: "medium"}},
		"stall of disk a: ":                   {Fault: &scenarios.Fault{Disk: "a", Do: "stall"}},
		"after, chance or delay":              {Fault: &scenarios.Fault{Disk: "a", Do: "error", Chance: 0.5}},
		"more than 1024 sectors":              {Fault: &scenarios.Fault{Disk: "a", Do: "error", Offset: 512}},
		"loses what is in its write cache":    {PowerCut: &scenarios.PowerCut{At: "now", Lose: "some"}},
		"at a moment that has passed":         {PowerCut: &scenarios.PowerCut{At: "flush", Lose: "nothing"}},
		"power_cut: the power is cut at a mo": {PowerCut: &scenarios.PowerCut{Every: "flush", Lose: "nothing"}},
	} {
		j := scripted()
		j.Steps = []scenarios.Step{st, j.Steps[0]}
		_, err := j.Script(strings.NewReader(`{"from":"host","what":{"step":{"io":{"op":"pread"},"index":1}}}` + "\n"))
		if !errors.Is(err, ErrNeedsHost) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want ErrNeedsHost with %q", err, want)
		}
	}
}

// Given a disk that fails, when it is unplugged and another fault comes, then QEMU has
// the first one give way without the device, which is gone.
func TestAFaultOfADiskThatIsUnplugged(t *testing.T) {
	j := scripted()
	fault := func(do string) scenarios.Step { return scenarios.Step{Fault: &scenarios.Fault{Disk: "n", Do: do}} }
	j.Steps = []scenarios.Step{fault("error"), fault("remove"), fault("error"), {Heal: &scenarios.Heal{Disk: "n"}}, {Heal: &scenarios.Heal{Disk: "n"}}, j.Steps[0]}
	s, err := j.Script(strings.NewReader(`{"from":"host","what":{"step":{"io":{"op":"pread"},"index":5}}}` + "\n"))
	if err != nil || len(s.Acts) != 5 {
		t.Fatalf("%+v, %v", s, err)
	}
	for i, want := range map[int]string{2: `qemu-io disk-n \"write`, 4: `qemu-io -d nvme-n \"write`} {
		if got := s.Acts[i].QEMU[0].Line; !strings.Contains(got, want) {
			t.Errorf("act %d is %s, want %s", i, got, want)
		}
	}
}

// Given a record that somebody has changed, then it is refused with what is wrong.
func TestAChangedRecordHasNoScript(t *testing.T) {
	for want, st := range map[string]scenarios.Step{
		`error of disk x: the trial has no disk "x"`:  {Fault: &scenarios.Fault{Disk: "x", Do: "error"}},
		`remove of disk x: the trial has no disk "x"`: {Fault: &scenarios.Fault{Disk: "x", Do: "remove"}},
		`heal of disk x: the trial has no disk "x"`:   {Heal: &scenarios.Heal{Disk: "x"}},
	} {
		j := scripted()
		j.Steps = []scenarios.Step{st, j.Steps[0]}
		_, err := j.Script(strings.NewReader(`{"from":"host","what":{"step":{"io":{"op":"pread"},"index":1}}}` + "\n"))
		if err == nil || errors.Is(err, ErrNeedsHost) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	_, err := scripted().Script(strings.NewReader(`{"from":"host","what":{"step":{"index":-3}}}` + "\n" + `{"from":"host","what":{"step":{"index":1}}}`))
	if err == nil || !strings.Contains(err.Error(), "step -3") {
		t.Errorf("a step before the first: %v", err)
	}
}

// Given disks with metadata, then their images have room for them, and
// protection information that was never written is ones.
func TestImages(t *testing.T) {
	j := scripted()
	j.Disks[1].Metadata, j.Disks[1].Protection = 8, 1
	want := []Image{{"a", 1 << 20, 1 << 20}, {"n", 1<<20 + 8*2048, 1 << 20}}
	if diff := cmp.Diff(want, j.Images()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Given a machine without a host, then nothing on its command line is a
// descriptor, and its disks are files.
func TestAMachineAloneNeedsNoDescriptor(t *testing.T) {
	s := scripted().Alone("kernel", "work/initrd", "work", "")
	line := strings.Join(s.Common, " ")
	for _, not := range []string{"fd=", "nbd", "/proc/self", "qmp", "/dev/"} {
		if strings.Contains(line, not) {
			t.Errorf("it has %q: %s", not, line)
		}
	}
	for _, want := range []string{"-sandbox on", "-no-reboot", "-kernel kernel -initrd work/initrd", " panic=-1", `"filename":"work/a.raw"`, `"filename":"work/n.raw"`, `"discard":"unmap"`} {
		if !strings.Contains(line, want) {
			t.Errorf("it lacks %q: %s", want, line)
		}
	}
	ports := strings.Join(scripted().Alone("kernel", "work/initrd", "work", "work/ports").Common, " ")
	if !strings.Contains(ports, "pipe,id=qmp,path=work/ports/qmp") || !strings.Contains(ports, "pipe,id=ttyS1,path=work/ports/ttyS1 -serial chardev:ttyS1") {
		t.Errorf("it has no ports: %s", ports)
	}
	if !slices.Contains(s.Accels[qemu.TCG], "tcg,thread=single") || !slices.Contains(s.Accels[qemu.KVM], "kvm") {
		t.Errorf("accelerators: %v", s.Accels)
	}
}
