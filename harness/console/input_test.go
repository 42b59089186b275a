package console

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"
)

// A container is a way in which people hand over a whole kernel log.
type container struct {
	name string
	pack func(t testing.TB, lines []string) []byte // lines of printk's time and text
}

// parted is the time and the text of a line of a raw console.
func parted(line string) (usec, text string) {
	m := printk.FindStringSubmatch(line)
	return strings.TrimLeft(m[1]+m[2], "0"), m[4]
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func eachLine(f func(usec, text string) string) func(testing.TB, []string) []byte {
	return func(_ testing.TB, lines []string) []byte {
		var b strings.Builder
		for _, l := range lines {
			usec, text := parted(l)
			b.WriteString(f(usec, text))
		}
		return []byte(b.String())
	}
}

func mail(encoded, contentType string) []byte {
	var b strings.Builder
	b.WriteString("From: a@example.org\nMessage-ID: <1@example.org>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"XX\"\n\n--XX\nContent-Type: text/plain\n\nHello,\nthe log is attached.\n\n--XX\n")
	fmt.Fprintf(&b, "Content-Type: %s; name=\"dmesg\"\nContent-Transfer-Encoding: base64\n\n", contentType)
	for len(encoded) > 0 {
		n := min(76, len(encoded))
		b.WriteString(encoded[:n] + "\n")
		encoded = encoded[n:]
	}
	b.WriteString("\n--XX--\n")
	return []byte(b.String())
}

var containers = []container{
	{"dmesg --json", func(_ testing.TB, lines []string) []byte {
		var all []string
		for _, l := range lines {
			m := printk.FindStringSubmatch(l)
			all = append(all, fmt.Sprintf("      {\n         \"pri\": 4,\n         \"time\": %12s.%s,\n         \"msg\": %s\n      }", m[1], m[2], jsonOf(m[4])))
		}
		return []byte("{\n   \"dmesg\": [\n" + strings.Join(all, ",") + "\n   ]\n}\n")
	}},
	{"journalctl -o json", eachLine(func(usec, text string) string {
		return jsonOf(map[string]any{"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "_SOURCE_MONOTONIC_TIMESTAMP": usec, "MESSAGE": text, "__CURSOR": "s=1"}) + "\n"
	})},
	{"journalctl -o json, bytes", eachLine(func(usec, text string) string {
		var bytes []int
		for _, c := range []byte(text) {
			bytes = append(bytes, int(c))
		}
		return jsonOf(map[string]any{"_TRANSPORT": "kernel", "_SOURCE_MONOTONIC_TIMESTAMP": usec, "MESSAGE": bytes}) + "\n"
	})},
	{"journalctl -o json-pretty", eachLine(func(usec, text string) string {
		return "{\n\t\"_SOURCE_MONOTONIC_TIMESTAMP\" : \"" + usec + "\",\n\t\"SYSLOG_IDENTIFIER\" : \"kernel\",\n\t\"MESSAGE\" : " + jsonOf(text) + "\n}\n"
	})},
	{"journalctl -o export", eachLine(func(usec, text string) string {
		size := make([]byte, 8)
		binary.LittleEndian.PutUint64(size, uint64(len(text)))
		return "__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1\n_SOURCE_MONOTONIC_TIMESTAMP=" + usec + "\n_TRANSPORT=kernel\nMESSAGE\n" + string(size) + text + "\n\n"
	})},
	{"journalctl -o verbose", eachLine(func(usec, text string) string {
		return "Sun 2026-06-14 18:08:32.123456 UTC [s=1;i=2;b=3]\n    _TRANSPORT=kernel\n    SYSLOG_IDENTIFIER=kernel\n    MESSAGE=" + text + "\n    _SOURCE_MONOTONIC_TIMESTAMP=" + usec + "\n"
	})},
	{"/dev/kmsg", eachLine(func(usec, text string) string { return "4,416," + usec + ",-;" + text + "\n" })},
	{"a cloud's entries", eachLine(func(usec, text string) string {
		return jsonOf(map[string]any{"insertId": "x", "resource": map[string]any{"labels": map[string]any{"zone": "a"}}, "textPayload": fmt.Sprintf("[%12s] %s", usec[:max(0, len(usec)-6)]+"."+("000000" + usec)[len(usec):], text)}) + "\n"
	})},
	{"a cloud's console", func(_ testing.TB, lines []string) []byte {
		return []byte(jsonOf(map[string]any{"InstanceId": "i-1", "Output": strings.Join(lines, "\r\n")}))
	}},
	{"UTF-16", func(_ testing.TB, lines []string) []byte {
		var b bytes.Buffer
		for _, u := range utf16.Encode([]rune("\ufeff" + strings.Join(lines, "\r\n") + "\r\n")) {
			binary.Write(&b, binary.LittleEndian, u)
		}
		return b.Bytes()
	}},
	{"mail in base64", func(_ testing.TB, lines []string) []byte {
		return mail(base64.StdEncoding.EncodeToString([]byte(strings.Join(lines, "\n")+"\n")), "text/plain")
	}},
	{"mail with dmesg.gz", func(t testing.TB, lines []string) []byte {
		return mail(base64.StdEncoding.EncodeToString(packers[1].pack(t, []byte(strings.Join(lines, "\n")+"\n"))), "application/gzip")
	}},
	{"bzip2", func(testing.TB, []string) []byte {
		raw, err := base64.StdEncoding.DecodeString(bzipped)
		if err != nil {
			panic(err)
		}
		return raw
	}},
	{"a prefix of nobody's", eachLine(func(usec, text string) string { return "tty0<" + usec + ">|k|" + text + "\n" })},
	{"stamps that no form knows", eachLine(func(usec, text string) string { return "node-7 {" + usec + "} (4.2): " + text + "\n" })},
}

// rawLog is a log with one report and one I/O error in it, 30 lines.
func rawLog() []string {
	lines := []string{"[    0.000000] Linux version 6.18.15 (builder@host) (gcc 14) #1 SMP"}
	for i := range 18 {
		lines = append(lines, fmt.Sprintf("[    1.%06d] device %d is there", i+1, i))
	}
	return append(lines,
		"[    5.000001] BUG: kernel NULL pointer dereference, address: 0000000000000008",
		"[    5.000002] Oops: Oops: 0000 [#1] SMP NOPTI",
		"[    5.000003] CPU: 0 UID: 0 PID: 51 Comm: kworker/0:2 Not tainted 6.18.15 #1 PREEMPT",
		"[    5.000004] RIP: 0010:bio_add_page+0x1a/0x100",
		"[    5.000005] Call Trace:",
		"[    5.000006]  <TASK>",
		"[    5.000007]  dispatch_io+0x301/0x3b0 [dm_mod]",
		"[    5.000008]  </TASK>",
		"[    5.000009] ---[ end trace 0000000000000000 ]---",
		"[    6.000001] I/O error, dev sdb, sector 2048 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
	)
}

// Given a log in any of the forms in which it is handed over, when it is read,
// then it says what the plain one says.
func TestContainers(t *testing.T) {
	for _, c := range containers {
		log, err := ReadAll(iotest.HalfReader(bytes.NewReader(c.pack(t, rawLog()))))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var titles []string
		for _, f := range log.Findings {
			titles = append(titles, f.Title+" "+f.Place)
		}
		want := "BUG: unable to handle kernel NULL pointer dereference in bio_add_page |I/O error, READ sdb"
		if got := strings.Join(titles, "|"); got != want || log.Release != "6.18.15" {
			t.Errorf("%s: %s, release %q", c.name, got, log.Release)
		}
	}
}

// Given JSON of programs other than the kernel, when it is read, then what
// they say is theirs.
func TestForeignRecords(t *testing.T) {
	text := jsonOf(map[string]any{"SYSLOG_IDENTIFIER": "kernel", "_TRANSPORT": "kernel", "MESSAGE": "Linux version 6.18.15 (a@b) #1 SMP"}) + "\nthis line is no JSON\n" +
		jsonOf(map[string]any{"SYSLOG_IDENTIFIER": "fio", "MESSAGE": "BUG: kernel NULL pointer dereference, address: 0"}) + "\n"
	log, err := ReadAll(strings.NewReader(text))
	if err != nil || len(log.Findings) != 0 || log.Release != "6.18.15" {
		t.Errorf("%v, %+v", err, log)
	}
}

// bzipped is the report of rawLog, packed by bzip2: no Go library packs so.
const bzipped = "" +
	"QlpoOTFBWSZTWVjVg+sAAIpfgHAcSG//8H6n3gq/799gMAEalginokPU9ED1PUNA2kADahoB6TT1HqBE0g9U8JpqYmgAABoAANBo" +
	"EqaaIRqaaYA0mIwAyAmjGggU4QEAqZbeF12WspEAyUB1WRGwm9O/b5+F79ogqdaBQkEty1gjbARKZk1oj8LDjz/YYTkDW6bEgUUK" +
	"CKqQFSi8CbC9bGF4Mo1rqsB6MGR6gEZMuSGB5NMJKsMCNoGge9wrSKBWxjGo9ssj1tZjKnGiScYzhynncudyziFmdp5DGvs+8gZ6" +
	"ncADS+C/DMOwWaFFNK10ElOMGmoY0SGX1v0et849VzOyKiIGEbs8pQgUQpOSyD39dnfehdFsIL+SURzKrd42MZLEyhpJgpAt8wWm" +
	"nXnCV+4hLSM4ZQiW04QLOkQsIdEfyQUTGogQ5ZiRUcJyrxA0f8XckU4UJBY1YPrA"
