package initramfs

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/u-root/u-root/pkg/cpio"
)

// ShellPath is u-root's shell in an image with Request.Shell.
const ShellPath = "/bbin/gosh"

// The module in which u-root's commands are built: which versions, and the
// checksums of all that goes into them. It is a module of its own, so that
// an installed blockrig can build it as well as a checkout, and that neither
// the builder nor the commands' dependencies weigh on blockrig's executable,
// which every guest unpacks.
var (
	//go:embed shell/gomod
	shellGoMod []byte
	//go:embed shell/gosum
	shellGoSum []byte
)

const (
	mkuimage = "github.com/u-root/mkuimage/cmd/mkuimage"
	core     = "github.com/u-root/u-root/cmds/core/"
)

// shellLeftOut are core commands that a guest without a network, whose PID 1
// is blockrig, has no use for. Each costs time to build, to unpack, or both.
var shellLeftOut = []string{
	"bind", "brctl", "dhclient", "fusermount", "gpgv", "hwclock", "init", "ip", "kexec", "lockmsrs", "msr",
	"netcat", "netstat", "ntpdate", "ping", "rsdp", "scp", "service", "shutdown", "sluinit", "sshd",
	"switch_root", "update-rc.d", "watchdog", "watchdogd", "wget",
}

// ErrNoGo says that the shell can't be built.
var ErrNoGo = errors.New("the Go toolchain is not installed, which builds u-root's shell: install Go 1.24 or newer (https://go.dev/doc/install) so that \"go\" is in PATH")

// shell makes the member with u-root's shell and core commands.
func (b *Builder) shell(ctx context.Context) (member, error) {
	s, err := b.store("shell")
	if err != nil {
		return member{}, err
	}
	key := keyOf(append([]string{recipe, "shell", string(shellGoMod), string(shellGoSum)}, shellLeftOut...)...)
	return b.ensure(ctx, s, key, keepShells, func(w io.Writer) ([]string, error) {
		b.log().Info("building u-root's shell and core commands")
		version, err := buildShell(ctx, w, s.dir)
		if err != nil {
			return nil, fmt.Errorf("build u-root's shell: %w", err)
		}
		return []string{version}, nil
	})
}

// buildShell has u-root's builder make the commands, and writes the member.
// It works in a temporary folder in dir, whose store is locked.
func buildShell(ctx context.Context, w io.Writer, dir string) (version string, err error) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return "", ErrNoGo
	}
	tmp, err := os.MkdirTemp(dir, tempPrefix)
	if err != nil {
		return "", fmt.Errorf("make temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	// Go passes over a module that is TMPDIR itself, so each has its folder.
	module, work := filepath.Join(tmp, "module"), filepath.Join(tmp, "work")
	for _, d := range []string{module, work} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return "", fmt.Errorf("make temporary folder: %w", err)
		}
	}
	for name, data := range map[string][]byte{"go.mod": shellGoMod, "go.sum": shellGoSum} {
		if err := os.WriteFile(filepath.Join(module, name), data, 0o644); err != nil {
			return "", fmt.Errorf("write module: %w", err)
		}
	}
	builder := filepath.Join(tmp, "mkuimage")
	if _, err := runGo(ctx, module, work, goTool, "build", "-o", builder, mkuimage); err != nil {
		return "", err
	}
	out := filepath.Join(tmp, "shell.cpio")
	args := []string{"-o", out, "-tmp-dir", work, "-initcmd=", "-uinitcmd=", "-defaultsh=gosh", "--", core + "*"}
	for _, c := range shellLeftOut {
		args = append(args, "-"+core+c)
	}
	if _, err := runGo(ctx, module, work, builder, args...); err != nil {
		return "", err
	}
	version, err = runGo(ctx, module, work, goTool, "list", "-m", "github.com/u-root/u-root")
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return "", fmt.Errorf("read u-root's archive: %w", err)
	}
	t, err := shellTree(data)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(version), t.write(w)
}

// shellTree takes the commands from u-root's archive; the skeleton has its
// own folders.
func shellTree(data []byte) (*tree, error) {
	recs, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(data)))
	if err != nil {
		return nil, fmt.Errorf("read u-root's archive: %w", err)
	}
	var t tree
	for _, r := range recs {
		name := cpio.Normalize(r.Name)
		if !strings.HasPrefix(name, "bbin/") {
			continue
		}
		content, err := io.ReadAll(io.NewSectionReader(r, 0, int64(r.FileSize)))
		if err != nil {
			return nil, fmt.Errorf("read u-root's archive: %s: %w", name, err)
		}
		switch r.Mode & cpio.S_IFMT {
		case cpio.S_IFREG:
			err = t.file(name, 0o755, strip(content))
		case cpio.S_IFLNK:
			err = t.link(name, string(content))
		}
		if err != nil {
			return nil, err
		}
	}
	shell := strings.TrimPrefix(ShellPath, "/")
	if _, ok := t.records[shell]; !ok {
		return nil, fmt.Errorf("u-root's archive has no %s", shell)
	}
	return &t, t.link("usr/bin/sh", ShellPath)
}

// runGo runs a command that may start compilers, and ends all of them with
// the context or with blockrig.
func runGo(ctx context.Context, dir, tmp, name string, args ...string) (stdout string, err error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"PWD="+dir, "GO111MODULE=on", "GOWORK=off", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1",
		// Not the user's flags: they may forbid modules, or change the output.
		"GOFLAGS=-mod=readonly", "GBB_PATH=", "UROOT_SOURCE=", "TMPDIR="+tmp)
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	// The signal comes when the thread that started the child ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(name), err, lastLines(msg.String(), 5))
	}
	return out.String(), nil
}

// lastLines gives the end of a command's messages as one line.
func lastLines(text string, n int) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "; ")
}
