// Command toolinit is the /init of the tests that start guest tools in a real
// guest. It reports on ttyS1, one JSON object a line, and powers off.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// modules are set by the linker: paths in the order to load them.
var modules string

// plan is set by the linker: which steps to do.
var plan string

type report struct {
	Step   string `json:"step"`
	Output string `json:"output"`
	Error  string `json:"error,omitempty"`
	MS     int64  `json:"ms"`
}

func main() {
	for _, m := range []struct{ kind, at string }{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/run"}} {
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			fmt.Println("mount", m.at, err)
		}
	}
	if err := os.Setenv("PATH", "/usr/sbin:/usr/bin:/bbin"); err != nil {
		fmt.Println(err)
	}
	out, err := os.OpenFile("/dev/ttyS1", os.O_WRONLY, 0)
	if err != nil {
		fmt.Println(err)
		return // the kernel panics, which the test sees
	}
	enc := json.NewEncoder(out)
	say := func(step string, start time.Time, output string, err error) bool {
		r := report{Step: step, Output: output, MS: time.Since(start).Milliseconds()}
		if err != nil {
			r.Error = err.Error()
		}
		if err := enc.Encode(r); err != nil {
			fmt.Println(err)
		}
		return err == nil
	}
	start := time.Now()
	say("modules", start, "", loadModules())
	for _, step := range steps[plan] {
		start := time.Now()
		output, err := step.run()
		if !say(step.name, start, output, err) {
			break
		}
	}
	unix.Sync()
	if err := unix.IoctlSetInt(int(out.Fd()), unix.TCSBRK, 1); err != nil { // until all is sent
		fmt.Println(err)
	}
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println(err)
	}
	select {}
}

type step struct {
	name string
	run  func() (string, error)
}

func command(argv ...string) step {
	return step{strings.Join(argv, " "), func() (string, error) {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.WaitDelay = time.Second // dmeventd, which lvcreate starts, keeps the pipe
		b, err := cmd.CombinedOutput()
		if errors.Is(err, exec.ErrWaitDelay) {
			err = nil
		}
		return string(b), err
	}}
}

const monitor = "activation{monitoring=1}"

var steps = map[string][]step{
	"versions": {
		command("lvm", "version"), command("dmsetup", "--version"), command("dmeventd", "-V"),
		command("mke2fs", "-V"), command("mdadm", "--version"),
	},
	"stack": {
		{"disks", waitForDisks},
		command("lvm", "pvcreate", "/dev/sda", "/dev/sdb"),
		command("lvm", "vgcreate", "main", "/dev/sda", "/dev/sdb"),
		command("lvm", "lvcreate", "--config", monitor, "--yes", "--type", "mirror", "--mirrors", "1", "-L", "32M", "-n", "m", "main"),
		command("lvm", "lvs", "--config", monitor, "--noheadings", "-o", "seg_monitor", "main/m"),
		command("dmsetup", "table", "main-m"),
		{"plugins", plugins},
		command("mke2fs", "-q", "-t", "ext4", "/dev/mapper/main-m"),
		{"mount mirror", func() (string, error) { return "", unix.Mount("/dev/mapper/main-m", "/mnt", "ext4", 0, "") }},
		command("lvm", "lvcreate", "--yes", "--type", "raid1", "--mirrors", "1", "--monitor", "n", "-L", "16M", "-n", "r", "main"),
		command("mdadm", "--create", "/dev/md0", "--run", "--metadata=1.2", "--bitmap=none", "--level=1", "--raid-devices=2", "/dev/sdc", "/dev/sdd"),
		{"mdstat", func() (string, error) { b, err := os.ReadFile("/proc/mdstat"); return string(b), err }},
	},
	"mke2fs": {command("mke2fs", "-V")},
	"shell": {
		command("/bin/sh", "-c", "ls /; echo said; lvs --version"),
		command("gosh", "-c", "echo a b | wc"),
	},
}

func loadModules() error {
	for _, path := range strings.FieldsFunc(modules, func(r rune) bool { return r == ',' }) {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		if err := errors.Join(ignore(err, unix.EEXIST, unix.ENODEV), f.Close()); err != nil {
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	return nil
}

func ignore(err error, what ...error) error {
	for _, w := range what {
		if errors.Is(err, w) {
			return nil
		}
	}
	return err
}

func waitForDisks() (string, error) {
	for range 200 {
		if disks, err := filepath.Glob("/dev/sd?"); err != nil || len(disks) == 4 {
			return strings.Join(disks, " "), err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return "", errors.New("there are no four disks")
}

// plugins are the libraries that dmeventd opened by name.
func plugins() (string, error) {
	pid, err := os.ReadFile("/run/dmeventd.pid")
	if err != nil {
		return "", err
	}
	maps, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/maps")
	if err != nil {
		return "", err
	}
	var found []string
	for line := range strings.Lines(string(maps)) {
		if f := strings.Fields(line); len(f) == 6 && strings.Contains(f[5], ".so") && (len(found) == 0 || found[len(found)-1] != f[5]) {
			found = append(found, f[5])
		}
	}
	return strings.Join(found, " "), nil
}
