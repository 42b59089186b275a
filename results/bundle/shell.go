package bundle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/initramfs/protocol"
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

// echo prints a line as it is: some shells' echo takes a backslash for more.
func echo(line string) string { return "printf '%s\\n' " + quoted(line) }

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
		fmt.Fprintf(&b, `
%s >&2
echo '  blockrig replay BUNDLE' >&2
exit 2
`, echo("QEMU alone can't show this trial again: "+said(c.Why)))
		return b.String()
	}
	machine := c.Job.Alone(fileKernel, workDir+"/initrd", workDir, c.ports())
	b.WriteString(`#
# The kernel's console is printed, and kept in ` + qemu.ScriptConsole + `.
# QEMU=PROGRAM, ACCEL=tcg or kvm and LIMIT=SECONDS may be set in the environment.
set -eu
cd "$(dirname "$0")"
QEMU=${QEMU:-` + qemu.DefaultBinary + `}
ACCEL=${ACCEL:-` + string(accelOf(r.Accel)) + `}
LIMIT=${LIMIT:-900}
command -v "$QEMU" >/dev/null || { echo "QEMU is missing: no $QEMU" >&2; exit 2; }
if command -v sha256sum >/dev/null; then sha256sum -c ` + fileSums + ` >/dev/null; fi
case $ACCEL in
`)
	for _, a := range []qemu.Accel{qemu.TCG, qemu.KVM} {
		fmt.Fprintf(&b, "%s) set -- %s ;;\n", a, quotedAll(machine.Accels[a]))
	}
	b.WriteString(`*) echo "ACCEL=$ACCEL: want tcg or kvm" >&2; exit 2 ;;
esac

# Whoever ends this ends all that it has started: while something is started, its
# signals are held until its process is known.
pid= watch= held=
hold() { trap 'held=yes' INT TERM HUP; }
free() {
	trap 'trap "" INT TERM HUP; exit 130' INT TERM HUP
	if [ -n "$held" ]; then exit 130; fi
}
# finish PROCESS: ends one. A shell that was just started may miss a signal.
finish() { while [ -n "$1" ] && kill "$1" 2>/dev/null; do sleep 0.1; done; }
end() { { read -r qemu < ` + workDir + `/pid && kill "$qemu"; } 2>/dev/null || :; }
hold
mkdir ` + workDir + ` || { if [ -n "$held" ]; then rmdir ` + workDir + ` || :; exit 130; fi; exit 2; }
trap 'trap "" INT TERM HUP; finish "$pid"; finish "$watch"; rm -rf ` + workDir + `' EXIT
free
: > ` + qemu.ScriptConsole + `

`)
	for _, i := range c.Job.Images() {
		file := quoted(workDir + "/" + i.Disk + "." + string(qemu.Raw))
		fmt.Fprintf(&b, "dd if=/dev/null of=%s bs=1 seek=%d 2>/dev/null\n", file, i.Size)
		if i.Ones < i.Size {
			fmt.Fprintf(&b, "head -c %d /dev/zero | tr '\\0' '\\377' | dd of=%s bs=%d seek=%d conv=notrunc 2>/dev/null\n",
				i.Size-i.Ones, file, qemu.SectorSize, i.Ones/qemu.SectorSize)
		}
	}
	fmt.Fprintf(&b, `
# boot SCRIPT ARGUMENT...: starts a machine whose guest does what SCRIPT says.
boot() {
	cat %s "$1" > %s/initrd
	shift
`, fileInitramfs, workDir)
	if len(c.Script.Acts) > 0 {
		b.WriteString(c.openPorts())
	}
	fmt.Fprintf(&b, `	hold
	(
		over= status=0
		trap 'over=yes' TERM HUP
		"$QEMU" "$@" \
	%[1]s </dev/null &
		qemu=$!
		echo "$qemu" > %[2]s/pid
		wait "$qemu" || status=$?
		if [ -n "$over" ]; then finish "$qemu"; exit; fi
		trap - TERM HUP
		if [ "$status" != 0 ]; then echo "QEMU ended with status $status" >&2; fi
		rm -f %[2]s/pid
%[3]s	) &
	pid=$!
	free
}

`, quotedAll(machine.Common), workDir, c.whenEnded())
	b.WriteString(c.host())
	fmt.Fprintf(&b, `
boot %s "$@"
hold
(
	over=
	trap 'over=yes' TERM HUP
	sleep "$LIMIT" &
	s=$!
	wait "$s" || over=yes
	if [ -n "$over" ]; then finish "$s"; exit; fi
	echo "it has not ended after $LIMIT seconds" >&2
	end
) >/dev/null </dev/null &
watch=$!
free
`, fileMember)
	if len(c.Script.Acts) > 0 {
		b.WriteString("serve \"$@\"\n")
	} else {
		b.WriteString("wait \"$pid\"\npid=\n")
	}
	b.WriteString("\necho\n" + echo("When it was recorded, it showed: "+said(string(r.Verdict)+": "+r.Reason)) + "\n")
	for _, title := range r.Signature.Titles {
		b.WriteString(echo("  "+said(title)) + "\n")
	}
	fmt.Fprintf(&b, `echo 'What the guest says now of the last step:'
tr -d '\r' < %s | grep 'blockrig: guest: ' | sed 's/.*guest: /  /' | sed -n -e '/^  phase step$/{h;d;}' -e H -e '${x;p;}'
`, qemu.ScriptConsole)
	b.WriteString(echo("What the kernel says: blockrig classify "+qemu.ScriptConsole) + "\n")
	if c.hasFaults() {
		b.WriteString(echo("I/O errors that the faults brought about are in there, too: that they are no failure only blockrig replay knows.") + "\n")
	}
	return b.String()
}

// accelOf is what a record says, where that can be.
func accelOf(said string) qemu.Accel {
	if said == string(qemu.KVM) {
		return qemu.KVM
	}
	return qemu.TCG
}

// ports is the folder of the FIFOs, "" where the host does nothing.
func (c Content) ports() string {
	if len(c.Script.Acts) == 0 {
		return ""
	}
	return workDir + "/ports"
}

func (c Content) hasFaults() bool {
	return slices.ContainsFunc(c.Script.Acts, func(a trial.Act) bool { return !a.Cut })
}

// Descriptors of the FIFOs in the shell.
const (
	toGuest = 3 + iota
	fromGuest
	toQEMU
	fromQEMU
)

// openPorts makes the FIFOs of a machine. Opened for both ways, none waits for
// the other side.
func (c Content) openPorts() string {
	dir, n := c.ports(), qemu.PortFIFOs
	names := []string{n.ToGuest, n.FromGuest, n.ToQEMU, n.FromQEMU}
	var b strings.Builder
	fmt.Fprintf(&b, "\trm -rf %s\n\tmkdir %s\n\t(cd %s && mkfifo %s)\n\texec", dir, dir, dir, strings.Join(names, " "))
	for i, name := range names {
		fmt.Fprintf(&b, " %d<>%s/%s", toGuest+i, dir, name)
	}
	b.WriteString("\n")
	return b.String()
}

// whenEnded tells whoever listens to a machine that it has ended. What QEMU said
// last may be no whole line, and fill its FIFO.
func (c Content) whenEnded() string {
	if len(c.Script.Acts) == 0 {
		return ""
	}
	return fmt.Sprintf("\t\techo ended >&%d\n\t\tprintf '\\n%%s\\n' '%s' >&%d\n", fromGuest, lastWords, fromQEMU)
}

// lastWords follow all that a QEMU says.
const lastWords = `{"error": "it has ended"}`

// host are the functions that do what the host does.
func (c Content) host() string {
	if len(c.Script.Acts) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# qemu COMMAND [DEVICE]: has QEMU do something, and waits until it is done, and
# the guest has let go of DEVICE.
qemu() {
	printf '%%s\n' "$1" >&%[1]d
	answered= gone=${2:-yes}
	while [ -z "$answered" ] || [ "$gone" != yes ]; do
		IFS= read -r line <&%[2]d
		case $line in
		'{"return"'*) answered=yes ;;
		'{"error"'*) printf 'QEMU says: %%s\n' "$line" >&2; exit 2 ;;
		*'"event": "DEVICE_DELETED"'*) case $line in *"\"device\": \"$gone\""*) gone=yes ;; esac ;;
		esac
	done
}

# over: waits for the end of the machine, which QEMU tells of as the last thing.
over() {
	while [ "$line" != '%[5]s' ]; do IFS= read -r line <&%[2]d; done
	wait "$pid"
	pid=
}

# serve ARGUMENT...: does what the guest asks for, until its machine has ended.
serve() {
	qemu '%[3]s'
	while read -r line <&%[4]d; do
		case $line in
`, toQEMU, fromQEMU, qemu.ScriptGreet, fromGuest, lastWords)
	cuts := 0
	for i, a := range c.Script.Acts {
		fmt.Fprintf(&b, "\t\t%s)\n\t\t\t%s\n", quoted(protocol.AskLine(i+1)), echo("[the host: "+said(a.What)+"]"))
		if a.Cut {
			cuts++
			fmt.Fprintf(&b, "\t\t\tprintf '%%s\\n' '%s' >&%d\n\t\t\tover\n\t\t\tboot %s \"$@\"\n\t\t\tqemu '%s' ;;\n",
				qemu.ScriptQuit, toQEMU, memberOf(cuts), qemu.ScriptGreet)
			continue
		}
		for _, q := range a.QEMU {
			fmt.Fprintf(&b, "\t\t\tqemu %s", quoted(q.Line))
			if q.Gone != "" {
				b.WriteString(" " + quoted(q.Gone))
			}
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "\t\t\techo %s >&%d ;;\n", quoted(protocol.DoneLine(i+1)), toGuest)
	}
	b.WriteString("\t\tended) over; return ;;\n\t\tesac\n\tdone\n}\n")
	return b.String()
}
