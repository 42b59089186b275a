//go:build vm

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// plain is the smallest stack, with as much memory as a test wants.
func plain(memory string) string {
	return `name: plain
about: A read from ext4 on one disk.
machine: {memory: ` + memory + `}
disks:
  - {id: a, bus: ahci, size: 64MiB}
stack:
  ext4: {block_size: 4096}
  file: {size: 1MiB}
step: {op: pread, direct: true, offset: 0, length: 4096, memory_offset: 0}
expect: {aligned: [data], misaligned: [EINVAL]}
`
}

func TestKernelThatIsNone(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	k := h.kernel("debian:newest")
	image, err := os.ReadFile(k.Image)
	if err != nil {
		t.Fatal(err)
	}
	scenario := h.write("plain.yaml", plain("384MiB"))

	truncated := h.write("truncated", string(image[:len(image)/2]))
	h.wantOneLine(h.run("run", scenario, "-k", "file:"+truncated), 2, "truncated")

	empty := filepath.Join(h.root, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	h.wantOneLine(h.run("run", scenario, "-k", "file:"+k.Image+",modules="+empty), 2, "modules unusable", empty)
	h.wantOneLine(h.run("run", scenario, "-k", "file:"+k.Image+",config="+k.Config), 2,
		"the kernel lacks what is needed", "no modules folder", "CONFIG_EXT4_FS")

	h.wantRuns(0)
	h.wantNothingLeft()
}

// panicAtOnce replaces the first code of a kernel's real-mode setup by one
// that says that the kernel panics, and damages what is packed, so that there
// is no other way to start it.
func panicAtOnce(image []byte) []byte {
	const (
		setup = 0x200 // a jump, and the header that it jumps over (Documentation/arch/x86/boot.rst)
		said  = 0x40  // where the message is, from the code
	)
	out := bytes.Clone(image)
	for i := len(out) / 2; i < len(out)/2+4096; i++ {
		out[i] ^= 0x5a
	}
	start := setup + 2 + int(out[setup+1])
	at := start + said
	code := []byte{
		0xfc,                          // cld
		0xbe, byte(at), byte(at >> 8), // mov si, message
		0xac,       // next: lodsb
		0x88, 0xc4, // mov ah, al
		0x84, 0xc0, // test al, al
		0x74, 0x10, // jz halt
		0xba, 0xfd, 0x03, // mov dx, 0x3fd: line status
		0xec,       // wait: in al, dx
		0xa8, 0x20, // test al, 0x20: nothing to be sent
		0x74, 0xfb, // jz wait
		0xba, 0xf8, 0x03, // mov dx, 0x3f8
		0x88, 0xe0, // mov al, ah
		0xee,       // out dx, al
		0xeb, 0xe9, // jmp next
		0xf4,       // halt: hlt
		0xeb, 0xfd, // jmp halt
	}
	copy(out[start:], code)
	copy(out[at:], "[    0.000000] Kernel panic - not syncing: at once\r\n\x00")
	return out
}

func TestKernelThatPanics(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	k := h.kernel("debian:newest")
	image, err := os.ReadFile(k.Image)
	if err != nil {
		t.Fatal(err)
	}
	ref := "file:" + h.write("panics", string(panicAtOnce(image))) + ",modules=" + k.Modules
	o := h.run("--format", "json", "run", "--accel", "tcg", h.write("plain.yaml", plain("384MiB")), "-k", ref)
	rec := h.one(o, scenarios.Error, "boot")
	if len(rec.Attempts) != 3 || !strings.Contains(rec.Reason, "panic") {
		t.Errorf("%d attempts, reason %q", len(rec.Attempts), rec.Reason)
	}
	h.wantClassifyAgrees(rec)
	h.wantNothingLeft()
}

// withTool has blockrig find a static program of the test's own as mke2fs.
func (h *host) withTool(source string) {
	h.t.Helper()
	dir := filepath.Join(h.root, "tools")
	if err := os.Mkdir(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "mke2fs"), h.write("tool.go", source))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
	h.inside = "mount --bind " + dir + " /usr/local/sbin"
}

func TestToolThatIsMissing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	// This host may have lvm: nothing of it is looked at in a test.
	h.inside = "for dir in /usr/sbin /usr/local/sbin; do mount -t tmpfs none $dir; done"
	o := h.run("--format", "json", "run", "--guest-tools", "host", "lvm-mirror-dio-read", "--case", "length=512,memory_offset=0", "-k", "debian:newest")
	rec := h.one(o, scenarios.Error, "infra")
	if !strings.Contains(rec.Reason, " is not on this host (looked in ") {
		t.Errorf("reason %q", rec.Reason)
	}
	h.wantNothingLeft()
}

func TestShell(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	cmd := h.command("shell", h.write("plain.yaml", plain("384MiB")), "-k", "debian:newest")
	cmd.Stdin = strings.NewReader("ls /bbin/gosh\ncat /proc/mounts\necho -n the end\nexit 3\n")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "exit status 3") {
		t.Errorf("error %v, stderr %s", err, stderr.String())
	}
	for _, want := range []string{"gosh\n", "/dev/sda /mnt/tmp ext4 ", "\nthe end\n"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("stdout has no %q: %s", want, stdout.String())
		}
	}
	if strings.Contains(stdout.String(), "blockrig: guest:") {
		t.Errorf("stdout has lines of blockrig's own: %s", stdout.String())
	}
	h.wantRuns(0)
	h.wantNothingLeft()
}
