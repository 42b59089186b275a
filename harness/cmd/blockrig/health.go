package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/initramfs"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/kernels/debian"
	"github.com/blockrig/blockrig/scenarios/language"
)

const (
	// fetchSpace is what a kernel's package takes while it is unpacked, in
	// bytes: up to 170 MB packed, and what is kept of it.
	fetchSpace = 400 << 20
	// qemuMemory is what QEMU needs beside the guest's memory, in bytes.
	qemuMemory = 128 << 20
)

// A doctor examines the machine.
type doctor struct {
	*app
	ctx    context.Context
	kernel kernels.Kernel // of the cache, to try QEMU with; Image is "" when there is none
}

// examine makes all checks, in the order in which one would fix things.
func (d *doctor) examine() []health {
	out := []health{d.own()}
	store, err := d.store()
	if err == nil {
		if d.kernel, err = store.Newest(d.ctx); errors.Is(err, fs.ErrNotExist) {
			err = nil // said where it matters
		}
	}
	out = append(out, d.qemu(err), d.kvm(), d.debian(store, err), d.memory())
	cache, err := cacheDir()
	out = append(out, d.folder("cache", cache, err, fetchSpace, "a kernel's package to be unpacked"))
	largest := largestScenario()
	root, err := d.resultsRoot()
	out = append(out, d.folder("results", root, err, largest.disks, "the disks of "+largest.name))
	return append(out, d.git(), d.builds(), d.shell())
}

func ok(name, detail string) health { return health{Check: name, Status: statusOK, Detail: detail} }

func limited(name, detail, fix string) health {
	return health{Check: name, Status: statusLimited, Detail: detail, Fix: fix}
}

func missing(name, detail, fix string) health {
	return health{Check: name, Status: statusMissing, Detail: detail, Fix: fix}
}

func (d *doctor) store() (*kernels.Store, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	return kernels.Open(d.ctx, cache, d.log)
}

// own checks blockrig itself, which is the guest's /init too.
func (d *doctor) own() health {
	exe, err := os.Executable()
	if err == nil {
		err = initramfs.CheckExecutable(exe)
	}
	switch {
	case errors.Is(err, initramfs.ErrDynamic):
		return missing("blockrig", err.Error(), "./justw build, in a checkout of blockrig")
	case err != nil:
		return missing("blockrig", err.Error(), "")
	}
	return ok("blockrig", exe+", static, as the guest needs it")
}

// installers are the commands that install packages, and the names of those
// that differ from Debian's.
var installers = []struct {
	tool, install string
	names         map[string]string
}{
	{"apt-get", "apt install", nil},
	{"dnf", "dnf install", map[string]string{"libelf-dev": "elfutils-libelf-devel"}},
	{"zypper", "zypper install", map[string]string{"libelf-dev": "libelf-devel", "qemu-system-x86": "qemu-x86"}},
	{"pacman", "pacman -S", map[string]string{"libelf-dev": "libelf"}},
}

// install is the command that installs packages, by Debian's names.
func install(packages ...string) string {
	for _, with := range installers {
		if _, err := exec.LookPath(with.tool); err != nil {
			continue
		}
		command := with.install
		if os.Geteuid() != 0 {
			command = "sudo " + command
		}
		for _, name := range packages {
			command += " " + cmp.Or(with.names[name], name)
		}
		return command
	}
	return "install " + strings.Join(packages, " ") + " (Debian's names)"
}

// qemu checks QEMU and, where there is a kernel, that its machine starts.
func (d *doctor) qemu(noKernel error) health {
	const name = "qemu"
	installQEMU := install("qemu-system-x86")
	if err := needQEMU(); err != nil {
		return missing(name, qemu.DefaultBinary+" is not on PATH", installQEMU)
	}
	path, err := exec.LookPath(qemu.DefaultBinary)
	if err != nil {
		return missing(name, err.Error(), installQEMU)
	}
	out, err := exec.CommandContext(d.ctx, path, "--version").Output()
	if err != nil {
		return missing(name, fmt.Sprintf("%s --version: %v", path, err), installQEMU)
	}
	version, err := qemuVersion(string(out))
	if err != nil {
		return missing(name, path+": "+err.Error(), installQEMU)
	}
	if version[0] < oldestQEMU {
		return missing(name, fmt.Sprintf("%s is QEMU %d.%d; %d.0 is the oldest that can do it", path, version[0], version[1], oldestQEMU), installQEMU)
	}
	text := fmt.Sprintf("QEMU %d.%d.%d, %s", version[0], version[1], version[2], path)
	switch {
	case noKernel != nil:
		return ok(name, text+" (not tried: "+noKernel.Error()+")")
	case d.kernel.Image == "":
		return ok(name, text+" (not tried: there is no kernel in the cache yet)")
	}
	if err := d.startMachine(); err != nil {
		return missing(name, text+": a machine does not start: "+err.Error(), installQEMU)
	}
	return ok(name, text+"; a machine starts")
}

// oldestQEMU is the first major version with all that blockrig asks of it:
// snapshot-save over QMP came with 6.0.
const oldestQEMU = 6

// qemuVersion reads "QEMU emulator version 7.2.22 (Debian …)".
func qemuVersion(text string) (v [3]int, err error) {
	_, rest, found := strings.Cut(text, "version ")
	number, _, _ := strings.Cut(rest, " ")
	parts := strings.Split(strings.TrimSpace(number), ".")
	if !found || len(parts) < 2 {
		return v, fmt.Errorf("no version is found in %.60q", text)
	}
	for i := range min(3, len(parts)) {
		if v[i], err = strconv.Atoi(parts[i]); err != nil {
			return v, fmt.Errorf("no version is found in %.60q", text)
		}
	}
	return v, nil
}

// startMachine starts a machine that does not run, and ends it.
func (d *doctor) startMachine() (err error) {
	dir, err := workDir(d.ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Remove()) }()
	m, err := qemu.Start(d.ctx, qemu.Spec{
		Accel: qemu.TCG, CPUs: 1, MemoryMiB: 64, Kernel: d.kernel.Image, Dir: dir.Path(), Paused: true, Log: d.log,
	})
	if err != nil {
		return err
	}
	return m.Close()
}

func (d *doctor) kvm() health {
	const name = "kvm"
	const slow = "; trials run under tcg, several times slower"
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return limited(name, "this host has no /dev/kvm"+slow, "modprobe kvm_intel or kvm_amd; where that fails, turn on virtualisation in the firmware, or nested virtualisation where this is a guest itself")
	case errors.Is(err, fs.ErrPermission):
		return limited(name, "no permission to open /dev/kvm"+slow, "sudo usermod -aG kvm \"$USER\", and log in again")
	case err != nil:
		return limited(name, err.Error()+slow, "")
	}
	_ = f.Close() // nothing was written
	if needQEMU() != nil || d.kernel.Image == "" {
		return limited(name, "/dev/kvm can be opened; whether a guest comes up under it is tried with the first kernel", "blockrig kernels fetch debian:newest && blockrig doctor")
	}
	accel, why, err := d.chooseAccel(d.ctx, qemu.Auto, d.kernel)
	if err != nil {
		return limited(name, err.Error()+slow, "")
	}
	if accel != qemu.KVM {
		return limited(name, why+slow, "")
	}
	return ok(name, why)
}

// debian checks where kernels and guest tools come from.
func (d *doctor) debian(s *kernels.Store, err error) health {
	const name = "debian"
	if s == nil {
		return missing(name, err.Error(), "")
	}
	mirror, keyring, err := s.CheckDebian(d.ctx)
	switch {
	case errors.Is(err, debian.ErrNoApt):
		return d.hostTools(name, "apt-get is not on PATH: kernels are your own (file:PATH, git:REPO@REV)", "")
	case errors.Is(err, debian.ErrNoMirror):
		return d.hostTools(name, err.Error(), "name a mirror and a keyring in the file debian.yaml named above")
	case err != nil:
		return missing(name, err.Error(), "")
	}
	keys := install("debian-archive-keyring")
	switch {
	case filepath.IsAbs(keyring):
		if _, err := os.Stat(keyring); err != nil {
			return missing(name, fmt.Sprintf("%s, but its keyring is not there: %v", mirror, err), keys)
		}
		return ok(name, mirror+", verified with "+keyring)
	case keyring != "":
		return ok(name, mirror+", verified with the key in apt's sources")
	}
	trusted, err := filepath.Glob("/etc/apt/trusted.gpg*/*")
	if err != nil || len(trusted) == 0 {
		if _, err := os.Stat("/etc/apt/trusted.gpg"); err != nil {
			return missing(name, mirror+", but apt trusts no keys to verify it with", keys)
		}
	}
	return ok(name, mirror+", verified with the keys that apt trusts")
}

// hostTools checks a host that gets nothing from Debian.
func (d *doctor) hostTools(name, why, todo string) health {
	lack, packages, err := initramfs.NotOnHost()
	switch {
	case err != nil:
		return missing(name, err.Error(), "")
	case len(lack) > 0:
		return limited(name, why+"; guest tools are this host's, which lacks "+strings.Join(lack, ", "), install(slices.Compact(packages)...))
	}
	return limited(name, why+"; guest tools are this host's", todo)
}

// A size is what a scenario asks of the host, in bytes.
type size struct {
	name          string
	memory, disks int64
}

// largestScenario gives the largest needs of the shipped scenarios.
func largestScenario() size {
	var out size
	all, err := language.Embedded()
	if err != nil {
		return out // whoever uses one will say so
	}
	for _, sc := range all {
		cases, _ := language.Cases(sc, nil)
		for _, c := range cases {
			disks := int64(0)
			for _, disk := range c.Setup.Disks {
				disks += int64(disk.Size)
			}
			if disks > out.disks {
				out.name, out.disks = sc.Name, disks
			}
			out.memory = max(out.memory, int64(c.Setup.Machine.Memory))
		}
	}
	return out
}

func (d *doctor) memory() health {
	const name = "memory"
	have, err := trial.AvailableMemory()
	if err != nil {
		return limited(name, "not known: "+err.Error(), "")
	}
	need := largestScenario().memory + qemuMemory
	text := fmt.Sprintf("%d MiB available, %d CPUs; a guest takes up to %d MiB", have>>20, runtime.NumCPU(), need>>20)
	if have < need {
		return limited(name, text, "end something large, or give this machine more memory")
	}
	return ok(name, text)
}

// folder checks a folder, which need not exist yet, and its file system.
func (d *doctor) folder(name, dir string, err error, need int64, what string) health {
	if err != nil {
		return missing(name, err.Error(), "")
	}
	at := dir
	for {
		info, err := os.Stat(at)
		if err == nil && !info.IsDir() {
			return missing(name, at+" is not a folder", "")
		}
		if err == nil {
			break
		}
		absent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
		if !absent || at == filepath.Dir(at) {
			return missing(name, err.Error(), "")
		}
		at = filepath.Dir(at)
	}
	if err := unix.Access(at, unix.W_OK|unix.X_OK); err != nil {
		return missing(name, fmt.Sprintf("%s can't be written to: %v", at, err), "")
	}
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		return missing(name, fmt.Sprintf("%s: %v", at, err), "")
	}
	free := int64(st.Bavail) * st.Bsize
	text := fmt.Sprintf("%s, %d MiB free", dir, free>>20)
	if free < need {
		return limited(name, fmt.Sprintf("%s; %s can take %d MiB", text, what, need>>20), "free some space there, or choose another place (XDG_CACHE_HOME, --results DIR)")
	}
	return ok(name, text)
}

func (d *doctor) git() health {
	if path, err := exec.LookPath("git"); err == nil {
		return ok("git", path)
	}
	return limited("git", "git is not on PATH: no kernels from git, no bisection", install("git"))
}

// builds checks what builds a kernel.
func (d *doctor) builds() health {
	const name = "kernel builds"
	var lack, packages []string
	need := func(what, pkg string, there bool) {
		if !there {
			lack, packages = append(lack, what), append(packages, pkg)
		}
	}
	for _, tool := range []string{"gcc", "make", "flex", "bison", "bc"} {
		_, err := exec.LookPath(tool)
		need(tool, tool, err == nil)
	}
	header, err := filepath.Glob("/usr/include/libelf.h")
	need("libelf's headers", "libelf-dev", err == nil && len(header) > 0)
	if len(lack) > 0 {
		return limited(name, "missing: "+strings.Join(lack, ", ")+"; no kernels from git", install(packages...))
	}
	return ok(name, "gcc, make, flex, bison, bc and libelf are there")
}

// shell checks what builds u-root's commands.
func (d *doctor) shell() health {
	path, err := exec.LookPath("go")
	if err != nil {
		return limited("shell", initramfs.ErrNoGo.Error(), "https://go.dev/doc/install")
	}
	return ok("shell", path+" builds u-root's commands for it")
}
