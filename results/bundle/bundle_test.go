package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/initramfs"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// content is that of a trial that hung.
func content(t *testing.T) Content {
	t.Helper()
	sc, err := language.Load("lvm-mirror-dio-read")
	if err != nil {
		t.Fatal(err)
	}
	c, err := language.OneCase(sc, "length=512,memory_offset=32")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	j := trial.Job{
		Kernel: trial.Kernel{Ref: "debian:6.18", Exact: "debian:6.18.15-1", Release: "6.18.15", Digest: "d"}, Initramfs: "i",
		Scenario: sc.Name, Source: string(sc.Source), Case: c.ID, Setup: c.Setup, Steps: c.Steps, Accel: "tcg", CPUs: 1, Seed: []byte("seed"),
	}
	events := `{"ms":1,"from":"guest","what":{"trial":0,"ms":1,"hello":{"release":"6.18.15","cpus":1,"boot_id":"b"}}}
{"ms":2,"from":"host","what":{"setup":{"modules":[],"disks":[],"require":{},"stack":[]}}}
{"ms":3,"from":"host","what":{"step":{"io":{"op":"pread","length":512},"index":0,"trial":7,"trace":true,"limit_ms":30000}}}
`
	script, err := j.Script(strings.NewReader(events))
	if err != nil {
		t.Fatal(err)
	}
	return Content{
		Record: results.Record{
			Scenario: sc.Name, Case: c.ID, Kernel: results.Kernel{Ref: "debian:6.18", Release: "6.18.15"}, Verdict: scenarios.Hang, Reason: "it's stuck",
			Signature: verdict.Signature{Phase: "step", Step: "pread", Verdict: scenarios.Hang, Titles: []string{"task hung in `x`"}}, Accel: "tcg", CPUs: 1, RunDir: "/of/this/machine",
		},
		Job: j, Kernel: file("bzImage", "a kernel"), Initrd: file("initrd", "an initramfs"), Console: file("console", "[ 0.1] hello\n"),
		Programs: []initramfs.Program{{Name: "tool", Data: []byte("ELF")}}, Script: script,
	}
}

func written(t *testing.T, c Content) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, c); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// opened reads a bundle back.
func opened(t *testing.T, data []byte) (*Bundle, string, error) {
	t.Helper()
	path, dir := filepath.Join(t.TempDir(), "b.tar.zst"), t.TempDir()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Open(t.Context(), path, dir)
	return b, dir, err
}

func TestABundleIsReadAsItWasWritten(t *testing.T) {
	c := content(t)
	data := written(t, c)
	if !bytes.Equal(data, written(t, c)) {
		t.Error("the same trial gives other bytes")
	}
	if bytes.Contains(data, []byte("/of/this/machine")) {
		t.Error("it names a folder of this machine")
	}
	b, dir, err := opened(t, data)
	if err != nil {
		t.Fatal(err)
	}
	want := c.Record
	want.RunDir, want.Also, want.Legs, want.Findings, want.Attempts = "", []scenarios.Verdict{}, []scenarios.Leg{}, []results.Finding{}, []results.Attempt{}
	if diff := cmp.Diff(want, b.Record); diff != "" {
		t.Errorf("the record (-want +got):\n%s", diff)
	}
	if b.Job.Key() != c.Job.Key() || b.Case.ID != c.Job.Case || b.Verdict.Seen != scenarios.Hang || b.Verdict.Titles[0] != "task hung in `x`" {
		t.Errorf("the job is %+v, the verdict %+v", b.Job, b.Verdict)
	}
	for path, text := range map[string]string{b.Files().Image: "a kernel", b.Files().Initrd: "an initramfs", filepath.Join(dir, "programs", "tool"): "ELF"} {
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%s: %q, %v", path, got, err)
		}
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			t.Errorf("%s can be executed", path)
		}
	}
}

// The kernel unpacks both archives from one file.
func TestTheScriptFollowsTheInitramfs(t *testing.T) {
	c := content(t)
	data := written(t, c)
	_, dir, err := opened(t, data)
	if err != nil {
		t.Fatal(err)
	}
	member, err := os.ReadFile(filepath.Join(dir, fileMember))
	if err != nil {
		t.Fatal(err)
	}
	pad := len(member) - len(bytes.TrimLeft(member, "\x00"))
	if (len("an initramfs")+pad)%4 != 0 || pad > 3 {
		t.Errorf("%d bytes of padding after %d", pad, len("an initramfs"))
	}
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(member[pad:])))
	if err != nil || "/"+records[0].Name != protocol.ScriptFile {
		t.Fatalf("%v, %v", records, err)
	}
	lines := strings.Split(strings.TrimSpace(string(c.Script.Boots[0])), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `"serial":"blockrig-a"`) || !strings.Contains(lines[1], `"step":{`) || strings.Contains(lines[1], "trace") {
		t.Errorf("the script is\n%s", c.Script.Boots)
	}
}

// emptySum is the SHA-256 of nothing.
const emptySum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestReproduceIsSoundShell(t *testing.T) {
	c := content(t)
	c.Record.Reason = "it's $(touch hurt) `touch hurt` \\0033[31m\\c\n\x1b[31m"
	c.Record.Signature.Titles = []string{`BUG: \0033[31m\c`}
	c.Record.Accel = "tcg}; touch hurt; : ${X:-x"
	c.Record.Case = "x\ntouch hurt"
	c.Why = "it takes blockrig: $(touch hurt)"
	for name, script := range map[string]*trial.Script{"with a script": c.Script, "with faults that take blockrig": nil} {
		c.Script = script
		text := c.shell()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileScript), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-n", fileScript)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s\n%s", name, err, out, text)
		}
		if strings.Contains(text, "\x1b") || strings.Contains(text, "\ntouch") {
			t.Errorf("%s: what a kernel said is in it as it is:\n%s", name, text)
		}
		// A QEMU that does nothing.
		for file, text := range map[string]string{"qemu": "#!/bin/sh\nprintf '%s\\n' \"$@\" > args\n", fileInitramfs: "", fileMember: "", fileSums: emptySum + "  " + fileMember + "\n"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		cmd = exec.CommandContext(t.Context(), "sh", fileScript)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "QEMU=./qemu", "LIMIT=100")
		out, err := cmd.CombinedOutput()
		if script == nil {
			if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "again: it takes blockrig: $(touch hurt)\n  blockrig replay BUNDLE") {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
			continue
		}
		if err != nil || !strings.Contains(string(out), "hang: it's $(touch hurt) `touch hurt` \\0033[31m\\c \\u001b[31m\n  BUG: \\0033[31m\\c\n") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		args, err := os.ReadFile(filepath.Join(dir, "args"))
		if err != nil || !strings.Contains(string(args), "work/initrd\n") || !strings.Contains(string(args), `"filename":"work/a.raw"`) || !strings.Contains(string(args), "-sandbox\n") {
			t.Errorf("%s: %v\n%s", name, err, args)
		}
		for _, left := range []string{"hurt", "work"} {
			if _, err := os.Stat(filepath.Join(dir, left)); err == nil {
				t.Errorf("%s: it left %s", name, left)
			}
		}
	}
}

// speaker is a QEMU whose guest asks for two things: faults, and the power's end. It
// says more than a FIFO holds.
const speaker = `#!/bin/sh
exec 3<>work/ports/qmp.in 4<>work/ports/qmp.out 5<>work/ports/ttyS1.in 6<>work/ports/ttyS1.out
cat work/initrd >> said
# Whole lines, and then a part of one, until the FIFO takes no more. Who reads it
# meanwhile may be as fast.
chatter() { yes '{"event": "BLOCK_IO_ERROR"}' | head -c 100000 | dd of=work/ports/qmp.out bs=1 oflag=nonblock 2>/dev/null || :; }
answer() {
	read -r line <&3
	echo "$line" >> said
	case $line in *quit*) chatter; exit 0 ;; esac
	echo '{"timestamp": {"seconds": 1}, "event": "JOB_STATUS_CHANGE", "data": {"status": "error"}}' >&4
	echo "${REPLY-{\"return\": {}\}}" >&4
}
echo '{"QMP": {"version": {}, "capabilities": []}}' >&4
answer
if [ -e second ]; then chatter; exit 0; fi
: > second
printf 'noise\n%s\n' 'blockrig asks for 1' >&6
answer
answer
read -r line <&5
echo "$line" >> said
echo 'blockrig asks for 2' >&6
answer
`

// faulty is a trial in which a disk fails and the power is cut.
func faulty(t *testing.T) Content {
	t.Helper()
	c := content(t)
	c.Job.Steps = append([]scenarios.Step{{Fault: &scenarios.Fault{Disk: "a", Do: "error"}}}, c.Job.Steps...)
	c.Job.Steps = append(c.Job.Steps, scenarios.Step{PowerCut: &scenarios.PowerCut{At: "now", Lose: "nothing"}}, c.Job.Steps[1])
	var err error
	c.Script, err = c.Job.Script(strings.NewReader(`{"from":"host","what":{"step":{"io":{"op":"pread","length":512},"index":1,"trial":7}}}
{"from":"host","what":{"setup":{"assemble":true}}}
{"from":"host","what":{"step":{"io":{"op":"pread","length":512},"index":3,"trial":8}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Given a trial in which the host makes a disk fail and cuts the power, then
// reproduce.sh has QEMU do it when the guest asks for it, and goes on with the next
// boot; it ends when QEMU refuses, or dies.
func TestReproduceDoesWhatTheHostDid(t *testing.T) {
	c := faulty(t)
	for name, tt := range map[string]struct {
		qemu, reply string
		status      int
		out         []string
		said        string
	}{
		"as recorded": {speaker, "", 0, []string{"[the host: error of disk a]\n[the host: power_cut]\n", "showed: hang: it's stuck", "I/O errors that the faults brought about"}, strings.Join([]string{
			`first{"execute":"qmp_capabilities"}`,
			`{"arguments":{"align":512,"discard":"unmap","driver":"blkdebug","image":"disk-a-file","inject-error":[{"errno":5,"event":"none"},{"errno":5,"event":"pwritev_rmw_head","iotype":"read","sector":0}],"node-name":"disk-a-fault1"},"execute":"blockdev-add"}`,
			`{"arguments":{"options":[{"cache":{"no-flush":true},"discard":"unmap","driver":"raw","file":"disk-a-fault1","node-name":"disk-a"}]},"execute":"blockdev-reopen"}`,
			`blockrig did 1`, `{"execute":"quit"}`, `second{"execute":"qmp_capabilities"}`, ``,
		}, "\n")},
		"refused":      {speaker, `{"error": {"desc": "no such node"}}`, 2, []string{"QEMU says: ", "no such node"}, ""},
		"no such QEMU": {"#!/bin/sh\nexit 1\n", "", 2, []string{"QEMU ended with status 1"}, ""},
	} {
		dir := t.TempDir()
		for file, text := range map[string]string{
			fileScript: c.shell(), "qemu": tt.qemu, fileInitramfs: "", fileMember: "first", memberOf(1): "second", fileSums: emptySum + "  " + fileInitramfs + "\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", fileScript)
		cmd.WaitDelay = time.Second
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "QEMU=./qemu", "LIMIT=100")
		if tt.reply != "" {
			cmd.Env = append(cmd.Env, "REPLY="+tt.reply)
		}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != tt.status {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		for _, want := range tt.out {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: it does not say %q:\n%s", name, want, out)
			}
		}
		said, err := os.ReadFile(filepath.Join(dir, "said"))
		if tt.said != "" {
			if diff := cmp.Diff(tt.said, string(said)); diff != "" {
				t.Errorf("%s: what QEMU was told (-want +got), %v:\n%s", name, err, diff)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, workDir)); err == nil {
			t.Errorf("%s: it left %s", name, workDir)
		}
	}
}

// Given a reproduce.sh that is interrupted, as by Ctrl-C, the moment that it has done
// or begun something, then it ends, and leaves no process and no folder.
func TestReproduceThatIsInterruptedLeavesNothing(t *testing.T) {
	for _, shell := range []string{"dash", "bash"} {
		if _, err := exec.LookPath(shell); err != nil {
			t.Logf("there is no %s here", shell)
			continue
		}
		for of, c := range map[string]Content{"plain": content(t), "faulty": faulty(t)} {
			for _, at := range []string{"mkdir", "dd", "cat", "mkfifo", "sleep", "qemu"} {
				for _, to := range []string{"$MAIN", "-$MAIN"} {
					if of == "plain" && at == "mkfifo" {
						continue
					}
					name := fmt.Sprintf("%s, %s, at %s, kill -INT %s", shell, of, at, to)
					dir := t.TempDir()
					files := map[string]string{fileScript: c.shell(), fileInitramfs: "", fileMember: "", memberOf(1): "", fileSums: emptySum + "  " + fileInitramfs + "\n", "qemu": "#!/bin/sh\nexec sleep 1000\n"}
					for _, tool := range []string{"mkdir", "dd", "cat", "mkfifo", "sleep"} {
						path, err := exec.LookPath(tool)
						if err != nil {
							t.Fatal(err)
						}
						files[tool] = "#!/bin/sh\n" + path + " \"$@\"\n"
						if tool == "sleep" {
							files[tool] = "#!/bin/sh\nexec " + path + " \"$@\"\n"
						}
					}
					kill := "kill -INT " + to + "\n"
					if before, last, ok := strings.Cut(files[at], "exec "); ok {
						files[at] = before + kill + "exec " + last
					} else {
						files[at] += kill
					}
					for file, text := range files {
						if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o700); err != nil {
							t.Fatal(err)
						}
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					cmd := exec.CommandContext(ctx, shell, "-c", `MAIN=$$; export MAIN; exec "$0" "$1"`, shell, fileScript)
					cmd.WaitDelay = time.Second
					cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
					cmd.Dir, cmd.Env = dir, append(os.Environ(), "QEMU=./qemu", "LIMIT=900", "PATH="+dir+":"+os.Getenv("PATH"))
					out, err := cmd.CombinedOutput()
					cancel()
					if cmd.ProcessState.ExitCode() != 130 {
						t.Errorf("%s: %v\n%s", name, err, out)
					}
					for _, pid := range session(t, cmd.Process.Pid) {
						t.Errorf("%s: it left process %d", name, pid)
						_ = syscall.Kill(pid, syscall.SIGKILL)
					}
					if _, err := os.Stat(filepath.Join(dir, workDir)); err == nil {
						t.Errorf("%s: it left %s", name, workDir)
					}
				}
			}
		}
	}
}

// session are the processes of one that run.
func session(t *testing.T, id int) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil && fields[0] != "Z" && fields[3] == strconv.Itoa(id) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Given a trial with a power cut, then its bundle has a script for each boot.
func TestEachBootHasAScript(t *testing.T) {
	members, err := faulty(t).members()
	if err != nil {
		t.Fatal(err)
	}
	var scripts []string
	for _, m := range members {
		if strings.HasSuffix(m.name, ".cpio") && m.name != fileInitramfs {
			scripts = append(scripts, m.name)
		}
		if _, ok := limitOf(m.name); !ok {
			t.Errorf("it is written, and %s would be refused", m.name)
		}
	}
	if diff := cmp.Diff([]string{"script.cpio", "script-2.cpio"}, scripts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, name := range []string{"script-1.cpio", "script-10.cpio", "script-.cpio"} {
		if _, ok := limitOf(name); ok {
			t.Errorf("%s is taken", name)
		}
	}
}

// entry is a file of a bundle as somebody else may make it.
type entry struct {
	name string
	kind byte
	text string
	size int64 // 0: that of the text
}

func packed(t *testing.T, entries []entry) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(z)
	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: 0o777, Size: max(e.size, int64(len(e.text)))}
		if e.kind == tar.TypeSymlink || e.kind == tar.TypeLink {
			h.Linkname, h.Size = "/etc/passwd", 0
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if e.size > 0 {
			break // what follows does not count
		}
		if h.Size > 0 {
			if _, err := tw.Write([]byte(e.text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = tw.Close() // one that was cut short says so
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sound are the files of a bundle, with right sums.
func sound(t *testing.T, change func(map[string]string)) []entry {
	t.Helper()
	members, err := content(t).members()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	var order []string
	for _, m := range members {
		in, _, err := m.open()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(in); err != nil {
			t.Fatal(err)
		}
		_ = in.Close()
		files[m.name] = b.String()
		order = append(order, m.name)
	}
	change(files)
	sums := ""
	for _, name := range order {
		if text, ok := files[name]; ok && name != fileSums {
			sums += fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(text)), name)
		}
	}
	if _, ok := files[fileSums]; ok && !strings.HasPrefix(files[fileSums], "keep") {
		files[fileSums] = sums
	}
	var out []entry
	for _, name := range order {
		if text, ok := files[name]; ok {
			out = append(out, entry{name: Folder + "/" + name, text: text})
		}
	}
	return out
}

// flipped is a bundle with a wrong bit in what is packed.
func flipped(data []byte) []byte {
	out := bytes.Clone(data)
	out[len(out)/2] ^= 1
	return out
}

// cut is one that ends in the middle of a file.
func cut(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	plain, err := z.DecodeAll(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(plain[:1024+100], nil)
}

func TestABundleFromAStrangerIsData(t *testing.T) {
	nothing := func(map[string]string) {}
	with := func(e entry) []byte { return packed(t, append(sound(t, nothing), e)) }
	changed := func(f func(map[string]string)) []byte { return packed(t, sound(t, f)) }
	if _, _, err := opened(t, packed(t, sound(t, nothing))); err != nil {
		t.Fatalf("a sound one: %v", err)
	}
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"text":                   {[]byte("hello"), "magic number"},
		"nothing":                {nil, "it has no reproduce.sh"},
		"cut":                    {packed(t, sound(t, nothing))[:200], ""},
		"a path out of it":       {with(entry{name: Folder + "/../../evil", text: "x"}), "no bundle has a "},
		"an absolute path":       {with(entry{name: "/etc/evil", text: "x"}), "no bundle has a /etc/evil"},
		"another file":           {with(entry{name: Folder + "/.bashrc", text: "x"}), "no bundle has a "},
		"a program out of it":    {with(entry{name: Folder + "/programs/../../evil", text: "x"}), "no bundle has a "},
		"a hidden program":       {with(entry{name: Folder + "/programs/.x", text: "x"}), "no bundle has a "},
		"a link":                 {with(entry{name: Folder + "/programs/x", kind: tar.TypeSymlink}), "programs/x is no regular file"},
		"a hard link":            {with(entry{name: Folder + "/programs/x", kind: tar.TypeLink}), "programs/x is no regular file"},
		"a device":               {with(entry{name: Folder + "/programs/x", kind: tar.TypeBlock}), "programs/x is no regular file"},
		"a FIFO":                 {with(entry{name: Folder + "/programs/x", kind: tar.TypeFifo}), "programs/x is no regular file"},
		"a flipped byte":         {flipped(packed(t, sound(t, nothing))), "CRC check failed"},
		"cut in a file":          {cut(t, packed(t, sound(t, nothing))), "it was damaged or cut short"},
		"a file twice":           {with(entry{name: Folder + "/kernel", text: "x"}), "it has kernel twice"},
		"an unlisted program":    {with(entry{name: Folder + "/programs/x", text: "x"}), "does not list programs/x"},
		"control codes":          {with(entry{name: Folder + "/\x1b[31m", text: "x"}), `\u001b[31m`},
		"a job that is too long": {packed(t, []entry{{name: Folder + "/job.json", size: 5 << 20}}), "job.json has 5242880 bytes, more than the 4194304"},
		"a huge kernel":          {packed(t, []entry{{name: Folder + "/kernel", size: 1 << 40}}), "kernel has "},
		"another kernel": {changed(func(f map[string]string) {
			f[fileSums] = "keep" + strings.Repeat("0", 60) + "  kernel\n"
		}), "kernel is not what SHA256SUMS says"},
		"no job":                  {changed(func(f map[string]string) { delete(f, fileJob) }), "it has no job.json"},
		"no sums":                 {changed(func(f map[string]string) { delete(f, fileSums) }), "it has no SHA256SUMS"},
		"a job that is none":      {changed(func(f map[string]string) { f[fileJob] = "[]" }), "job.json"},
		"a record of nothing":     {changed(func(f map[string]string) { f[fileTrial] = `{"scenario":"x","verdict":"hang"}` }), "the trial is one of x"},
		"a scenario that is none": {changed(func(f map[string]string) { f[fileScenario] = "name: x\nnosuch: y\n" }), "scenario.yaml"},
		"another case":            {changed(func(f map[string]string) { f[fileJob] = strings.Replace(f[fileJob], `"length=512,`, `"length=513,`, 1) }), "scenario.yaml"},
	} {
		_, _, err := opened(t, tt.data)
		if !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), tt.want) || strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%s: %v, want one line that says %q", name, err, tt.want)
		}
	}
}

func TestWhatIsNoFileIsNoBundle(t *testing.T) {
	if _, err := Open(t.Context(), t.TempDir(), t.TempDir()); !errors.Is(err, ErrBundle) {
		t.Errorf("a folder: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := filepath.Join(t.TempDir(), "b")
	if err := os.WriteFile(path, written(t, content(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, path, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
