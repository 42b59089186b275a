package child

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
)

// Given a process of the same user that has a secret, when a child looks for it, then
// it finds it, but not if it is kept apart, where Linux can do that; what it
// started itself it may look into.
func TestAChildKeptApartLooksIntoNoOther(t *testing.T) {
	var attr syscall.SysProcAttr
	if os.Getuid() == 0 { // nothing is kept from root
		attr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	shell := func(script string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
		own := attr
		cmd.SysProcAttr = &own
		cmd.Dir = "/"
		return cmd
	}
	secret := shell("exec sleep 1000")
	secret.Env = append(os.Environ(), "SECRET=sesame")
	if err := secret.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = secret.Process.Kill()
		_ = secret.Wait() // it was killed
	}()
	of := "/proc/" + strconv.Itoa(secret.Process.Pid)
	for _, contain := range []bool{false, CanContain()} {
		for what, script := range map[string]string{
			"environment": "tr '\\0' '\\n' < " + of + "/environ | grep SECRET=sesame", "memory": ": < " + of + "/mem", "mounts of it": "ls " + of + "/root/",
			"descriptors": "readlink " + of + "/fd/0",
		} {
			out, err := Output(t.Context(), shell(script), Options{Contain: contain}, 1<<20)
			if ofUser := contain && os.Getuid() != 0; err != nil && !ofUser { // its user namespace may keep it apart already
				t.Errorf("%s, contained %t: %q, %v", what, contain, out, err)
			}
			if out, err := Output(t.Context(), shell(script), Options{Contain: contain, OnThread: Apart}, 1<<20); err == nil && CanPart() {
				t.Errorf("%s, contained %t: one that is kept apart sees %q", what, contain, out)
			}
		}
	}
	own := shell("SECRET=own sleep 1000 & tr '\\0' '\\n' < /proc/$!/environ > /dev/null && kill $!")
	if out, err := Output(t.Context(), own, Options{OnThread: Apart}, 1<<20); err != nil {
		t.Errorf("what it started itself: %q, %v", out, err)
	}
}
