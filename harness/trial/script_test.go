package trial

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

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
	for line := range strings.Lines(string(script)) {
		var m protocol.ToGuest
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	if len(all) != 3 || all[0].Setup == nil || all[1].Step == nil || all[2].Step == nil {
		t.Fatalf("the script is\n%s", script)
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

func TestNoScriptCanMakeADiskFail(t *testing.T) {
	for name, st := range map[string]scenarios.Step{
		"a fault":     {Fault: &scenarios.Fault{Disk: "a", Do: "fail"}},
		"a removal":   {Fault: &scenarios.Fault{Disk: "n", Do: "remove"}},
		"a power cut": {PowerCut: &scenarios.PowerCut{}},
	} {
		j := scripted()
		j.Steps = append(j.Steps, st)
		if _, err := j.Script(strings.NewReader("")); !errors.Is(err, ErrNeedsHost) {
			t.Errorf("%s: %v, want ErrNeedsHost", name, err)
		}
	}
}

// Given a machine without a host, then nothing on its command line is a
// descriptor, and its disks are files.
func TestAMachineAloneNeedsNoDescriptor(t *testing.T) {
	s := scripted().Alone("kernel", "work/initrd", "work")
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
	if !slices.Contains(s.Accels[qemu.TCG], "tcg,thread=single") || !slices.Contains(s.Accels[qemu.KVM], "kvm") {
		t.Errorf("accelerators: %v", s.Accels)
	}
}
