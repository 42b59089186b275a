package bundle

import (
	"fmt"
	"strings"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/text"
)

// workDir is the folder in which reproduce.sh has disks and initramfs.
const workDir = "work"

// quoted writes an argument for a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// quotedAll writes arguments, some to a line.
func quotedAll(args []string) string {
	var b strings.Builder
	for i, a := range args {
		switch {
		case i == 0:
		case strings.HasPrefix(a, "-"):
			b.WriteString(" \\\n\t")
		default:
			b.WriteByte(' ')
		}
		b.WriteString(quoted(a))
	}
	return b.String()
}

// said is a text in a comment or a message.
func said(s string) string { return text.OneLine(s) }

// shell is reproduce.sh.
func (c Content) shell() string {
	r := c.Record
	var b strings.Builder
	fmt.Fprintf(&b, `#!/bin/sh
# Makes a trial of blockrig again, with QEMU and a shell alone.
# scenario: %s
# case:     %s
# kernel:   %s
# seen:     %s
`, said(r.Scenario), said(r.Case), said(r.Kernel.Release), said(string(r.Verdict)+": "+r.Reason))
	if c.Script == nil {
		b.WriteString(`
echo 'In this trial the host makes disks fail, which takes blockrig:' >&2
echo '  blockrig replay BUNDLE' >&2
exit 2
`)
		return b.String()
	}
	b.WriteString(`#
# The kernel's console is printed, and kept in ` + qemu.ScriptConsole + `.
# QEMU=PROGRAM, ACCEL=tcg or kvm and LIMIT=SECONDS may be set in the environment.
set -eu
cd "$(dirname "$0")"
QEMU=${QEMU:-` + qemu.DefaultBinary + `}
ACCEL=${ACCEL:-` + r.Accel + `}
LIMIT=${LIMIT:-900}
command -v "$QEMU" >/dev/null || { echo "QEMU is missing: no $QEMU" >&2; exit 2; }
if command -v sha256sum >/dev/null; then sha256sum -c ` + fileSums + ` >/dev/null; fi
mkdir ` + workDir + ` || exit 2
pid= watch=
trap 'kill $pid $watch 2>/dev/null || :; rm -rf ` + workDir + `' EXIT
trap 'exit 130' INT TERM HUP

cat ` + fileInitramfs + " " + fileMember + ` > ` + workDir + `/initrd
`)
	for _, d := range c.Job.Disks {
		fmt.Fprintf(&b, "dd if=/dev/null of=%s bs=1 seek=%d 2>/dev/null\n", quoted(workDir+"/"+d.ID+"."+string(qemu.Raw)), int64(d.Size))
	}
	machine := c.Job.Alone(fileKernel, workDir+"/initrd", workDir)
	fmt.Fprintf(&b, `
case $ACCEL in
tcg) set -- %s ;;
kvm) set -- %s ;;
*) echo "ACCEL=$ACCEL: want tcg or kvm" >&2; exit 2 ;;
esac
"$QEMU" "$@" \
	%s </dev/null &
pid=$!
( sleep "$LIMIT" & s=$!; trap 'kill $s' TERM; wait $s && kill "$pid" ) >/dev/null 2>&1 </dev/null &
watch=$!
wait "$pid" || echo "QEMU ended with status $?" >&2
pid=
`, quotedAll(machine.Accels[qemu.TCG]), quotedAll(machine.Accels[qemu.KVM]), quotedAll(machine.Common))
	b.WriteString("\necho\necho " + quoted("When it was recorded, it showed: "+said(string(r.Verdict)+": "+r.Reason)) + "\n")
	for _, title := range r.Signature.Titles {
		b.WriteString("echo " + quoted("  "+said(title)) + "\n")
	}
	b.WriteString("echo " + quoted("What it shows now: blockrig classify "+qemu.ScriptConsole) + "\n")
	return b.String()
}
