package initramfs

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/blockrig/blockrig/harness/child"
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
	d, err := b.dir("shell", keepShells)
	if err != nil {
		return member{}, err
	}
	key := keyOf(append([]string{recipe, "shell", string(shellGoMod), string(shellGoSum)}, shellLeftOut...)...)
	return b.ensure(ctx, d, key, func(ctx context.Context, w archiveWriter) error {
		b.log().Info("building u-root's shell and core commands")
		if err := buildShell(ctx, w); err != nil {
			return fmt.Errorf("build u-root's shell: %w", err)
		}
		return nil
	})
}

// buildShell has u-root's builder make the commands, and writes the member.
func buildShell(ctx context.Context, w archiveWriter) (err error) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return ErrNoGo
	}
	tmp, err := os.MkdirTemp(w.dir, "build-")
	if err != nil {
		return fmt.Errorf("make temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	// Go passes over a module that is TMPDIR itself, so each has its folder.
	module, work := filepath.Join(tmp, "module"), filepath.Join(tmp, "work")
	for _, d := range []string{module, work} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return fmt.Errorf("make temporary folder: %w", err)
		}
	}
	for name, data := range map[string][]byte{"go.mod": shellGoMod, "go.sum": shellGoSum} {
		if err := os.WriteFile(filepath.Join(module, name), data, 0o644); err != nil {
			return fmt.Errorf("write module: %w", err)
		}
	}
	builder := filepath.Join(tmp, "mkuimage")
	if _, err := runGo(ctx, module, work, goTool, "build", "-o", builder, mkuimage); err != nil {
		return err
	}
	out := filepath.Join(tmp, "shell.cpio")
	args := []string{"-o", out, "-tmp-dir", work, "-initcmd=", "-uinitcmd=", "-defaultsh=gosh", "--", core + "*"}
	for _, c := range shellLeftOut {
		args = append(args, "-"+core+c)
	}
	if _, err := runGo(ctx, module, work, builder, args...); err != nil {
		return err
	}
	version, err := runGo(ctx, module, work, goTool, "list", "-m", "github.com/u-root/u-root")
	if err != nil {
		return err
	}
	w.m.Sources = []string{strings.TrimSpace(version)}
	archive, err := os.Open(out)
	if err != nil {
		return fmt.Errorf("read u-root's archive: %w", err)
	}
	defer archive.Close()
	t, err := shellTree(archive)
	if err != nil {
		return err
	}
	return t.write(w)
}

// shellTree takes the commands from u-root's archive; the skeleton has its
// own folders.
func shellTree(archive io.ReaderAt) (*tree, error) {
	recs, err := cpio.ReadAllRecords(cpio.Newc.Reader(archive))
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
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"PWD="+dir, "GO111MODULE=on", "GOWORK=off", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1",
		// Not the user's flags: they may forbid modules, or change the output.
		"GOFLAGS=-mod=readonly", "GBB_PATH=", "UROOT_SOURCE=", "TMPDIR="+tmp)
	out, err := child.Output(ctx, cmd, child.Options{Signal: syscall.SIGKILL, Contain: true}, 1<<20)
	return string(out), err
}
