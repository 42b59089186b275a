package child

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var nobody = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}

// Given folders of which one is to be written to, one to be read, and one is
// not in the view, when a child runs as another user, then it can do that and
// no more, wherever it is, and nothing of it is left.
func TestAChildSeesItsViewAlone(t *testing.T) {
	if !CanEnclose() {
		t.Skip("this user may not make mount namespaces here")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil { // the view's is open
		t.Fatal(err)
	}
	view := View{{filepath.Join(dir, "write"), true}, {filepath.Join(dir, "read"), false}, {filepath.Join(dir, "missing"), false}}
	for _, name := range []string{"write", "read", "hidden"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.Mkdir(path, 0o755), os.Chmod(path, 0o777), os.WriteFile(filepath.Join(path, "file"), []byte(name+"\n"), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	script := `cd "$1"; cat */file; ls; cd /
touch "$1/write/new" /tmp/new /var/tmp/new || echo no room
touch "$1/read/new" "$1/new" /new /etc/new /usr/new /dev/shm/new 2>/dev/null && echo too much
ls -d /root/* /home/* /run/* /var/lib 2>/dev/null
echo x >/dev/null || echo no device
test -e /proc/self/exe || echo no proc
id -u
grep NoNewPrivs /proc/self/status`
	cmd := shell(script, dir)
	cmd.Dir = filepath.Join(dir, "write")
	cmd.SysProcAttr = nobody
	out, err := Output(t.Context(), cmd, Options{Contain: true, OnThread: view.Enter}, 1000)
	if want := "read\nwrite\nread\nwrite\n65534\nNoNewPrivs:\t1\n"; string(out) != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "write", "new")); err != nil {
		t.Error(err)
	}
}

// Given a host whose mounts are shared between namespaces, as systemd makes
// them, when a child has entered its view, then the host sees nothing of it.
func TestAViewsMountsAreNotTheHosts(t *testing.T) {
	if !CanEnclose() {
		t.Skip("this user may not make mount namespaces here")
	}
	dir := t.TempDir()
	var before, after []byte
	err := Run(t.Context(), exec.Command("true"), Options{OnThread: func() error {
		err := errors.Join(View{{dir, true}}.Enter(), unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Propagation: unix.MS_SHARED}))
		if err != nil {
			return err
		}
		host, err := os.Open("/proc/thread-self/ns/mnt")
		if err != nil {
			return err
		}
		defer host.Close()
		if before, err = os.ReadFile("/proc/thread-self/mountinfo"); err != nil {
			return err
		}
		root, err := os.Open("/")
		if err != nil {
			return err
		}
		defer root.Close()
		if err := errors.Join(View{{dir, true}}.Enter(), unix.Setns(int(host.Fd()), unix.CLONE_NEWNS), root.Chdir(), unix.Chroot(".")); err != nil {
			return err
		}
		after, err = os.ReadFile("/proc/thread-self/mountinfo")
		return err
	}})
	if err != nil || !strings.Contains(string(before), " shared:") || string(before) != string(after) {
		t.Errorf("%v; before:\n%s\nafter:\n%s", err, before, after)
	}
}

// Given a root folder that none but root may enter, when root starts a child
// as another user, then with a view it runs, and without one it doesn't.
func TestAViewsRootIsOpenWhereTheHostsIsNot(t *testing.T) {
	if !CanEnclose() {
		t.Skip("this user may not make mount namespaces here")
	}
	closed := func(inner View) func() error {
		return func() error {
			if err := errors.Join(View{}.Enter(), os.Chmod("/", 0o700)); err != nil || inner == nil {
				return err
			}
			return inner.Enter()
		}
	}
	for what, test := range map[string]struct {
		view View
		ok   bool
	}{"without a view": {nil, false}, "with one": {View{}, true}} {
		cmd := exec.Command("true")
		cmd.SysProcAttr = nobody
		if err := Run(t.Context(), cmd, Options{OnThread: closed(test.view)}); (err == nil) != test.ok {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Given a folder that is named by way of one of the system's that is a link, as
// /lib is to usr/lib, when a child has entered its view, then it sees it by
// that name.
func TestAViewsFolderMayLieBehindALinkOfTheSystems(t *testing.T) {
	if !CanEnclose() {
		t.Skip("this user may not make mount namespaces here")
	}
	const link = "/lib"
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Skip(link, "is no link here")
	}
	inside, err := os.ReadDir(link)
	at := slices.IndexFunc(inside, fs.DirEntry.IsDir)
	if at < 0 {
		t.Fatal(inside, err)
	}
	dir := filepath.Join(link, inside[at].Name())
	view := View{{dir, false}}
	if out, err := Output(t.Context(), shell(`test -d "$1"`, dir), Options{OnThread: view.Enter}, 1000); err != nil {
		t.Errorf("%s: %v, %s", dir, err, out)
	}
}
