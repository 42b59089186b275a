package console

import (
	"strings"
	"testing"
)

// Given a first line that a mail program, a terminal, a pager or a task's name
// broke, when it is read, then the report is the one of the whole line.
func TestBrokenFirstLines(t *testing.T) {
	for _, c := range []struct{ name, log, title string }{
		{"a quoted mail", "> [  363.123456] INFO: task kworker/u64:12:4711 blocked for more than 120\n> seconds.\n> [  363.123457] Call Trace:\n> [  363.123458]  __schedule+0x2d2/0x8d0\n> [  363.123459]  jbd2_log_wait_commit+0xa8/0x110\n> [  363.123460]  ext4_sync_file+0x1b2/0x3a0\n", "INFO: task hung in ext4_sync_file"},
		{"a mail", "[  363.123456] INFO: task kworker/u64:12:4711 blocked for more than 120\nseconds.\n", "INFO: task hung"},
		{"a mail without times", "INFO: task kworker/u64:12:4711 blocked for more than 120\nseconds.\n", "INFO: task hung"},
		{"within the words of a row", "> [  363.123456] BUG: unable to handle kernel NULL pointer\n> dereference at 0000000000000008\n> [  363.123457] IP: [<ffffffff81234567>] bio_put+0x12/0x40\n", "BUG: unable to handle kernel NULL pointer dereference in bio_put"},
		{"before the function", "[   12.345678] WARNING: CPU: 6 PID: 4711 at drivers/nvme/host/pci.c:1234\nnvme_queue_rqs+0x10/0x20 [nvme]\n", "WARNING in nvme_queue_rqs"},
		{"within the function", "[   12.345678] WARNING: CPU: 6 PID: 4711 at drivers/nvme/host/pci.c:1234 nvme_qu\neue_rqs+0x10/0x20 [nvme]\n", "WARNING in nvme_queue_rqs"},
		{"a panic", "> [   12.345678] Kernel panic - not syncing: Attempted to kill the idle\n> task!\n", "kernel panic: Attempted to kill the idle task!"},
		{"a pager", "Jun 14 18:08:32 dalek kernel: INFO: task txg_sync:8100 blocked for more than 12>\n", "INFO: task hung"},
		{"a pager, earlier", "Jun 14 18:08:32 dalek kernel: BUG: unable to handle page fault for add>\nJun 14 18:08:32 dalek kernel: RIP: 0010:bio_put+0x12/0x40\n", "BUG: unable to handle kernel paging request in bio_put"},
		{"a task's name", "[  143.000001] INFO: task \xff\xfe\n[  143.000001] a\x01b:18088 blocked for more than 143 seconds.\n", "INFO: task hung"},
		{"a task's name, escaped", "[  143.000001] INFO: task \\xff\\xfe\\x0a:18088 blocked for more than 143 seconds.\n", "INFO: task hung"},
		{"a task's name on three lines", "INFO: task a\nb\nc:18088 blocked for more than 143 seconds.\n", "INFO: task hung"},
	} {
		f := scan([]byte(c.log)).Findings()
		if len(f) != 1 || f[0].Title != c.title || f[0].Line != 1 {
			t.Errorf("%s: %s", c.name, describe("", f))
		}
	}
}

// Given lines that stand below one another by chance, when they are read, then
// they stay two.
func TestNoBrokenFirstLines(t *testing.T) {
	for _, log := range []string{
		"Jun 14 18:08:32 dalek kernel: INFO: task a blocked\nJun 14 18:08:32 dalek fio[1]: for more than 120 seconds.\n",
		"the log said WARNING: CPU: 6 PID: 4711 at drivers/nvme/host/pci.c:1234 and then\nnvme_queue_rqs+0x10/0x20 [nvme]\n",
		"BUG: <b>text>\n",
	} {
		if f := scan([]byte(log)).Findings(); len(f) != 0 && !strings.HasPrefix(f[0].Title, "BUG: <b>") {
			t.Errorf("%q: %s", log, describe("", f))
		}
	}
}
