package qemu

import (
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
		"-chardev", "socket,id=qmp,fd=5", "-mon", "chardev=qmp,mode=control",
		"-chardev", "socket,id=ttyS0,fd=3", "-serial", "chardev:ttyS0",
		"-chardev", "socket,id=ttyS1,fd=4", "-serial", "chardev:ttyS1",
	}
	ram := func(share string) []string {
		return []string{"-m", "384M", "-object", "memory-backend-file,id=ram,size=384M,mem-path=/proc/self/fd/6,share=" + share + ",dump=off,merge=off"}
	}
	linux := []string{"-kernel", "DIR/kernel", "-initrd", "DIR/initrd,comma", "-append", "console=ttyS0 panic=0"}
	disks := []string{
		"-blockdev", `{"cache":{"no-flush":true},"driver":"raw","file":{"driver":"file","filename":"DIR/a.raw","node-name":"disk-a-file"},"node-name":"disk-a"}`,
		"-device", "ide-hd,id=ahci-a,bus=ide.0,drive=disk-a,serial=blockrig-a,rerror=stop,werror=stop",
		"-blockdev", `{"cache":{"no-flush":true},"driver":"raw","file":{"driver":"file","filename":"DIR/b.raw","node-name":"disk-b-file"},"node-name":"disk-b"}`,
		"-device", "ide-hd,id=ahci-b,bus=ide.1,drive=disk-b,serial=blockrig-b,rerror=stop,werror=stop",
	}
	tcg := []string{"-accel", "tcg,thread=single", "-cpu", "max,la57=off", "-smp", "1"}

	for _, tt := range []struct {
		name   string
		change func(s *Spec)
		want   [][]string
	}{
		{"tcg", func(*Spec) {}, [][]string{common, tcg, ram("on"), ports, linux, disks}},
		{
			"tcg with two CPUs",
			func(s *Spec) { s.CPUs = 2 },
			[][]string{common, {"-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", "2"}, ram("on"), ports, linux, disks},
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
		{"seven disks", func(s *Spec) { s.Disks = make([]Disk, 7) }, "6 ports"},
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
