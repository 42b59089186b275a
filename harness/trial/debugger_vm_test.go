//go:build vm

package trial

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/qemu"
)

// timerVector is the local APIC's timer interrupt
// (arch/x86/include/asm/irq_vectors.h).
const timerVector = 0xec

// Code to put in the way of a kernel.
var (
	spinCode  = []byte{0xfa, 0xeb, 0xfe} // cli; 1: jmp 1b
	panicCode = []byte{0x31, 0xe4, 0x50} // xor %esp,%esp; push %rax: a double fault, which no kernel survives
)

// A debugger speaks the remote serial protocol of gdb to QEMU. The machine
// stands still while it is attached.
type debugger struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

// replaceTimerHandler has the guest's kernel run other code at its next timer
// interrupt, whatever it is doing then.
func replaceTimerHandler(t testing.TB, ctx context.Context, m *qemu.Machine, code []byte) {
	t.Helper()
	// A Unix socket's path must be short.
	dir, err := os.MkdirTemp("", "gdb-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "socket")
	if said := hmp(t, ctx, m, "gdbserver unix:"+path+",server=on,wait=off"); !strings.Contains(said, "Waiting for gdb connection") {
		t.Fatalf("QEMU: %s", said)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	d := &debugger{t: t, conn: conn, r: bufio.NewReader(conn)}

	// Interrupt gates of 16 bytes each; the handler's address is in bits 0-15,
	// 48-63 and 64-95 (Intel SDM, volume 3, 6.14.1).
	at := regexp.MustCompile(`IDT=\s+([0-9a-f]+)`).FindStringSubmatch(hmp(t, ctx, m, "info registers"))
	if at == nil {
		t.Fatal("QEMU does not say where the IDT is")
	}
	idt, err := strconv.ParseUint(at[1], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	gate := d.read(idt+timerVector*16, 16)
	handler := uint64(binary.LittleEndian.Uint16(gate)) |
		uint64(binary.LittleEndian.Uint16(gate[6:]))<<16 |
		uint64(binary.LittleEndian.Uint32(gate[8:]))<<32
	d.write(handler, code)
	if got := d.ask("D"); got != "OK" {
		t.Fatalf("detach: %q", got)
	}
	hmp(t, ctx, m, "gdbserver none")
}

// hmp runs a command of QEMU's monitor for people.
func hmp(t testing.TB, ctx context.Context, m *qemu.Machine, command string) string {
	t.Helper()
	var said string
	if err := m.Monitor().Execute(ctx, "human-monitor-command", map[string]string{"command-line": command}, &said); err != nil {
		t.Fatal(err)
	}
	return said
}

func (d *debugger) read(at uint64, n int) []byte {
	d.t.Helper()
	b, err := hex.DecodeString(d.ask(fmt.Sprintf("m%x,%x", at, n)))
	if err != nil || len(b) != n {
		d.t.Fatalf("read %d bytes at %#x: %x, %v", n, at, b, err)
	}
	return b
}

func (d *debugger) write(at uint64, b []byte) {
	d.t.Helper()
	if got := d.ask(fmt.Sprintf("M%x,%x:%x", at, len(b), b)); got != "OK" {
		d.t.Fatalf("write at %#x: %q", at, got)
	}
}

// ask sends a packet and gives the answer.
func (d *debugger) ask(packet string) string {
	d.t.Helper()
	sum := byte(0)
	for _, c := range []byte(packet) {
		sum += c
	}
	if _, err := fmt.Fprintf(d.conn, "$%s#%02x", packet, sum); err != nil {
		d.t.Fatal(err)
	}
	for {
		// An acknowledgement, and the answer with its sum.
		if _, err := d.r.ReadString('$'); err != nil {
			d.t.Fatal(err)
		}
		text, err := d.r.ReadString('#')
		if err == nil {
			_, err = d.r.Discard(2)
		}
		if err == nil {
			_, err = d.conn.Write([]byte("+"))
		}
		if err != nil {
			d.t.Fatal(err)
		}
		// QEMU also says by itself that the machine has stopped.
		if !strings.HasPrefix(text, "T") {
			return strings.TrimSuffix(text, "#")
		}
	}
}
