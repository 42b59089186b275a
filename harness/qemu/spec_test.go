package qemu

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// plainSpec is a machine with nothing wrong, of files that exist.
func plainSpec(t *testing.T) Spec {
	t.Helper()
	dir := t.TempDir()
	s := Spec{Binary: "true", Accel: TCG, CPUs: 1, MemoryMiB: 384, Dir: dir, Append: "console=ttyS0 panic=0"}
	for name, path := range map[string]*string{"kernel": &s.Kernel, "initrd,comma": &s.Initrd} {
		*path = filepath.Join(dir, name)
		if err := os.WriteFile(*path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"a", "b"} {
		d, err := CreateDisk(t.Context(), dir, id, 1<<20, Raw)
		if err != nil {
			t.Fatal(err)
		}
		s.Disks = append(s.Disks, d)
	}
	return s
}

func TestCommandLine(t *testing.T) {
	common := []string{
		"-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "q35,usb=off,smbus=off,vmport=off,dump-guest-core=off,suppress-vmdesc=on,memory-backend=ram",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-no-reboot",
	}
	ports := []string{
		"-chardev", "socket,id=qmp,fd=4", "-mon", "chardev=qmp,mode=control",
		"-chardev", "stdio,id=ttyS0,signal=off", "-serial", "chardev:ttyS0",
		"-chardev", "socket,id=ttyS1,fd=3", "-serial", "chardev:ttyS1",
	}
	ram := func(share string) []string {
		return []string{"-m", "384M", "-object", "memory-backend-file,id=ram,size=384M,mem-path=/proc/self/fd/5,share=" + share + ",dump=off,merge=off"}
	}
	linux := []string{"-kernel", "DIR/kernel", "-initrd", "DIR/initrd,comma", "-append", "console=ttyS0 panic=0"}
	disks := []string{
		"-blockdev", `{"cache":{"no-flush":true},"driver":"raw","file":{"driver":"file","filename":"DIR/a.raw","node-name":"disk-a-file"},"node-name":"disk-a"}`,
		"-device", "ide-hd,id=ahci-a,bus=ide.0,drive=disk-a,serial=blockrig-a,rerror=stop,werror=stop",
		"-blockdev", `{"cache":{"no-flush":true},"driver":"raw","file":{"driver":"file","filename":"DIR/b.raw","node-name":"disk-b-file"},"node-name":"disk-b"}`,
		"-device", "ide-hd,id=ahci-b,bus=ide.1,drive=disk-b,serial=blockrig-b,rerror=stop,werror=stop",
	}
	tcg := []string{"-accel", "tcg,thread=single", "-cpu", "max,la57=off,erms=off,fsrm=off", "-smp", "1"}

	for _, tt := range []struct {
		name   string
		change func(s *Spec)
		want   [][]string
	}{
		{"tcg", func(*Spec) {}, [][]string{common, tcg, ram("on"), ports, linux, disks}},
		{
			"tcg with two CPUs",
			func(s *Spec) { s.CPUs = 2 },
			[][]string{common, {"-accel", "tcg,thread=multi", "-cpu", "max,la57=off,erms=off,fsrm=off", "-smp", "2"}, ram("on"), ports, linux, disks},
		},
		{
			"kvm",
			func(s *Spec) { s.Accel = KVM },
			[][]string{common, {"-accel", "kvm", "-cpu", "host", "-smp", "1"}, ram("on"), ports, linux, disks},
		},
		{
			"bare kernel, paused",
			func(s *Spec) { s.Initrd, s.Append, s.Disks, s.Paused = "", "", nil, true },
			[][]string{common, tcg, ram("on"), ports, {"-kernel", "DIR/kernel"}, {"-S"}},
		},
		{
			"from a saved machine",
			func(s *Spec) { s.From = "/saved" },
			[][]string{common, tcg, ram("off"), ports, {"-incoming", "defer"}, disks, {"-S"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := plainSpec(t)
			if err := s.check(); err != nil {
				t.Fatal(err)
			}
			tt.change(&s)
			got := s.args()
			for i := range got {
				got[i] = strings.ReplaceAll(got[i], s.Dir, "DIR")
			}
			if diff := cmp.Diff(slices.Concat(tt.want...), got); diff != "" {
				t.Errorf("command line (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSpecThatCanNotBe(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(s *Spec)
		want   string
	}{
		{"no QEMU", func(s *Spec) { s.Binary = "no-such-qemu" }, "apt install qemu-system-x86"},
		{"no accelerator", func(s *Spec) { s.Accel = "" }, "want kvm or tcg"},
		{"auto", func(s *Spec) { s.Accel = Auto }, "want kvm or tcg"},
		{"no CPU", func(s *Spec) { s.CPUs = 0 }, "0 CPUs"},
		{"no memory", func(s *Spec) { s.MemoryMiB = 0 }, "0 MiB"},
		{"no folder", func(s *Spec) { s.Dir = "" }, "no folder"},
		{"no kernel", func(s *Spec) { s.Kernel = "" }, "no kernel"},
		{"kernel that is not there", func(s *Spec) { s.Kernel += "x" }, "kernel: "},
		{"kernel that is a folder", func(s *Spec) { s.Kernel = s.Dir }, "not a regular file"},
		{"initrd that is a device", func(s *Spec) { s.Initrd = "/dev/null" }, "not a regular file"},
		{"disk that is a device", func(s *Spec) { s.Disks[0].Path = "/dev/null" }, "disk a: /dev/null: not a regular file"},
		{"disk without format", func(s *Spec) { s.Disks[0].Format = "" }, "want raw or qcow2"},
		{"disk with an option as ID", func(s *Spec) { s.Disks[0].ID = "a,bus=x" }, "ID"},
		{"disk with an option as serial", func(s *Spec) { s.Disks[0].Serial = "a,rerror=report" }, "serial"},
		{"disk with a serial of 21 bytes", func(s *Spec) { s.Disks[0].Serial = strings.Repeat("s", 21) }, "serial"},
		{"two disks of one ID", func(s *Spec) { s.Disks[1].ID = "a" }, "two disks have the ID a"},
		{"two disks of one serial", func(s *Spec) { s.Disks[1].Serial = "blockrig-a" }, "two disks have the serial"},
		{"disk on another bus", func(s *Spec) { s.Disks[0].Bus = "floppy" }, "want one of [ahci virtio-blk virtio-scsi nvme]"},
		{"AHCI disk of 4096", func(s *Spec) { s.Disks[0].LogicalBlockSize = 4096 }, "QEMU's AHCI disks have 512"},
		{"block of 1000", func(s *Spec) { s.Disks[0].PhysicalBlockSize = 1000 }, "powers of two"},
		{"physical block below the logical", func(s *Spec) {
			s.Disks[0].Bus, s.Disks[0].LogicalBlockSize, s.Disks[0].PhysicalBlockSize = VirtioBlk, 4096, 512
		}, "smaller than a logical one"},
		{"size that is no multiple", func(s *Spec) {
			s.Disks[0].Bus, s.Disks[0].LogicalBlockSize = VirtioBlk, 4096
			s.Disks[0] = resized(t, s.Disks[0], 1<<20+512)
		}, "no multiple of its logical block of 4096"},
		{"discard perhaps", func(s *Spec) { s.Disks[0].Discard = "perhaps" }, "want on, off or nothing"},
		{"NVMe without write cache", func(s *Spec) { s.Disks[0].Bus, s.Disks[0].WriteCache = NVMe, Off }, "always have a volatile write cache"},
		{"FUA over AHCI", func(s *Spec) { s.Disks[0].FUA = true }, "only disks of virtio-scsi"},
		{"virtio-blk that rotates", func(s *Spec) { s.Disks[0].Bus, s.Disks[0].RotationRate = VirtioBlk, 7200 }, "rotation rate"},
		{"AHCI that can be removed", func(s *Spec) { s.Disks[0].Removable = true }, "can't unplug"},
		{"zones that can be removed", func(s *Spec) {
			s.Disks[0].Bus, s.Disks[0].Removable, s.Disks[0].Zones = NVMe, true, &Zones{Size: 1 << 20}
		}, "can't plug"},
		{"qcow2 with filter", func(s *Spec) { s.Disks[0].Filter, s.Disks[0].Format = true, Qcow2 }, "is raw"},
		{"zones over AHCI", func(s *Spec) { s.Disks[0].Zones = &Zones{Size: 1 << 20} }, "only disks of nvme"},
		{"zones of 100 bytes", func(s *Spec) { s.Disks[0].Bus, s.Disks[0].Zones = NVMe, &Zones{Size: 100} }, "multiples of 512"},
		{"protection without metadata", func(s *Spec) { s.Disks[0].Bus, s.Disks[0].Protection = NVMe, 1 }, "with metadata"},
		{"more disks than slots", func(s *Spec) {
			d := s.Disks[0]
			s.Disks = nil
			for i := range freeSlots + 1 {
				d.ID, d.Serial, d.Bus = fmt.Sprint("d", i), fmt.Sprint("d", i), VirtioBlk
				s.Disks = append(s.Disks, d)
			}
		}, "29 slots of the PCI bus, which has 28"},
		{"filter of a new machine", func(s *Spec) { s.Filter = []string{"a"} }, "say themselves"},
		{"half from a saved machine", func(s *Spec) { s.From = "/saved" }, "has everything from there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := plainSpec(t)
			tt.change(&s)
			m, err := Start(t.Context(), s)
			if err == nil {
				t.Fatal(m.Close(), "it was started")
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q, want one line with %q", err, tt.want)
			}
		})
	}
}

// resized gives the disk's file another size.
func resized(t *testing.T, d Disk, bytes int64) Disk {
	t.Helper()
	if err := os.Truncate(d.Path, bytes); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCommandLineOfDisks(t *testing.T) {
	file := func(id string) []string {
		return []string{"-blockdev", `{"cache":{"no-flush":true},"driver":"raw","file":{"driver":"file","filename":"/` + id + `","node-name":"disk-` + id + `-file"},"node-name":"disk-` + id + `"}`}
	}
	served := func(id, fd string) []string {
		return []string{"-blockdev", `{"discard":"unmap","driver":"raw","file":{"discard":"unmap","driver":"nbd","node-name":"disk-` + id + `-file","server":{"str":"` + fd + `","type":"fd"}},"node-name":"disk-` + id + `"}`}
	}
	device := func(all ...string) (args []string) {
		for _, d := range all {
			args = append(args, "-device", d)
		}
		return args
	}
	const stop, report = ",rerror=stop,werror=stop", ",rerror=report,werror=report"
	for _, tt := range []struct {
		name  string
		disks []Disk
		want  [][]string
	}{
		{"seven of AHCI", slices.Repeat([]Disk{{ID: "a"}}, 7), [][]string{
			file("a"), device("ide-hd,id=ahci-a,bus=ide.0,drive=disk-a,serial=s" + stop),
			file("a"), device("ide-hd,id=ahci-a,bus=ide.1,drive=disk-a,serial=s" + stop),
			file("a"), device("ide-hd,id=ahci-a,bus=ide.2,drive=disk-a,serial=s" + stop),
			file("a"), device("ide-hd,id=ahci-a,bus=ide.3,drive=disk-a,serial=s" + stop),
			file("a"), device("ide-hd,id=ahci-a,bus=ide.4,drive=disk-a,serial=s" + stop),
			file("a"), device("ide-hd,id=ahci-a,bus=ide.5,drive=disk-a,serial=s" + stop),
			file("a"), device("ich9-ahci,id=sata1", "ide-hd,id=ahci-a,bus=sata1.0,drive=disk-a,serial=s"+stop),
		}},
		{"virtio-scsi", []Disk{
			{ID: "a", Bus: VirtioSCSI, FUA: true},
			{ID: "b", Bus: VirtioSCSI, LogicalBlockSize: 4096, RotationRate: 1, WriteCache: Off, Discard: Off},
		}, [][]string{
			file("a"), device("virtio-scsi-pci,id=scsi", "scsi-hd,id=virtio-scsi-a,bus=scsi.0,scsi-id=0,drive=disk-a,serial=s"+stop+",dpofua=on"),
			file("b"), device("scsi-hd,id=virtio-scsi-b,bus=scsi.0,scsi-id=1,drive=disk-b,serial=s" + stop +
				",logical_block_size=4096,physical_block_size=4096,discard_granularity=0,write-cache=off,rotation_rate=1"),
		}},
		{"virtio-blk", []Disk{{ID: "a", Bus: VirtioBlk, Discard: Off}, {ID: "b", Bus: VirtioBlk, Removable: true, Filter: true}}, [][]string{
			file("a"), device("virtio-blk-pci,id=virtio-blk-a,drive=disk-a,serial=s" + stop + ",discard=off"),
			served("b", "6"), device("pcie-root-port,id=port-b,chassis=1", "virtio-blk-pci,id=virtio-blk-b,bus=port-b,drive=disk-b,serial=s"+report+",request-merging=off"),
		}},
		{"of a saved machine", []Disk{{ID: "a", Filter: true}}, [][]string{
			served("a", "7"), device("ide-hd,id=ahci-a,bus=ide.0,drive=disk-a,serial=s" + report), {"-S"},
		}},
		{"NVMe", []Disk{
			{ID: "a", Bus: NVMe, Zones: &Zones{Size: 1 << 20, MaxOpen: 2, MaxActive: 3}},
			{ID: "b", Bus: NVMe, Metadata: 8, Protection: 1},
			{ID: "c", Bus: NVMe, Removable: true},
		}, [][]string{
			served("a", "6"), device("nvme,id=nvme-a,serial=s", "nvme-ns,id=nvme-a-1,bus=nvme-a,drive=disk-a,"+
				"zoned=on,zoned.zone_size=1048576,zoned.zone_capacity=1048576,zoned.max_open=2,zoned.max_active=3"),
			served("b", "7"), device("nvme,id=nvme-b,serial=s", "nvme-ns,id=nvme-b-1,bus=nvme-b,drive=disk-b,ms=8,pi=1"),
			served("c", "8"), device("pcie-root-port,id=port-c,chassis=1", "nvme,id=nvme-c,bus=port-c,serial=s,drive=disk-c"),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s Spec
			if strings.Contains(tt.name, "saved") {
				s.From = "/saved"
			}
			for _, d := range tt.disks {
				d.Path, d.Serial, d.Format = "/"+d.ID, "s", Raw
				s.Disks = append(s.Disks, d)
			}
			got := s.args()
			got = got[slices.Index(got, "-blockdev"):]
			if diff := cmp.Diff(slices.Concat(tt.want...), got); diff != "" {
				t.Errorf("command line (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckLeavesTheCallersDisksAlone(t *testing.T) {
	s := plainSpec(t)
	t.Chdir(s.Dir)
	disks := slices.Clone(s.Disks)
	disks[0].Path = "a.raw"
	s.Disks = disks
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
	if disks[0].Path != "a.raw" || !filepath.IsAbs(s.Disks[0].Path) {
		t.Errorf("caller's path %q, machine's %q", disks[0].Path, s.Disks[0].Path)
	}
}

// Given a disk that can be plugged, then QMP is told its properties by their types,
// which QEMU insists on from 9.2 on.
func TestPropertiesKeepTheirTypes(t *testing.T) {
	disks := []Disk{
		{ID: "a", Bus: VirtioSCSI, Removable: true, FUA: true, LogicalBlockSize: 4096, RotationRate: 1, Serial: "7"},
		{ID: "b", Bus: VirtioBlk, Removable: true, Discard: Off, Serial: "8"},
	}
	for i, want := range []string{
		`{"bus":"scsi.0","dpofua":true,"drive":"disk-a","driver":"scsi-hd","id":"virtio-scsi-a","logical_block_size":4096,"physical_block_size":4096,"rerror":"stop","rotation_rate":1,"scsi-id":0,"serial":"7","werror":"stop"}`,
		`{"bus":"port-b","discard":false,"drive":"disk-b","driver":"virtio-blk-pci","id":"virtio-blk-b","rerror":"stop","serial":"8","werror":"stop"}`,
	} {
		if got := jsonArg(newSlots(disks).of[i].disk.plug()); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
