package console

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A record is a log's line in a format of fields: the journal's export and
// verbose formats, and JSON of any program.
type record struct {
	text   []byte
	said   bool // there is a text
	usec   int64
	timed  bool // usec is since boot
	kernel bool
	ident  string
}

// maxRecord bounds what is kept of one field, in bytes.
const maxRecord = 1 << 20

// field takes one field, in any of the names that programs give it.
func (r *record) field(key, value string) {
	switch key {
	case "MESSAGE", "msg", "message", "Message", "log", "textPayload", "text", "line", "short_message", "@message", "body", "Output":
		if key == "Output" { // a cloud's console, its bytes as they were
			if raw, err := base64.StdEncoding.DecodeString(value); err == nil {
				value = string(raw)
			}
		}
		if !r.said || key == "MESSAGE" {
			r.text, r.said = []byte(value), true
		}
	case "_SOURCE_MONOTONIC_TIMESTAMP", "__MONOTONIC_TIMESTAMP":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && (!r.timed || key[1] == 'S') {
			r.usec, r.timed = n, true
		}
	case "time": // dmesg --json: seconds
		if sec, frac, ok := strings.Cut(value, "."); ok && !r.timed {
			n, err := strconv.ParseInt(sec, 10, 64)
			f, err2 := strconv.ParseInt((frac + "000000")[:6], 10, 64)
			if err == nil && err2 == nil {
				r.usec, r.timed = n*1_000_000+f, true
			}
		}
	case "_TRANSPORT", "facility", "fac", "SYSLOG_FACILITY_NAME":
		r.kernel = r.kernel || value == "kernel" || value == "kern"
	case "SYSLOG_IDENTIFIER", "ident", "program", "appname", "app_name", "identifier", "syslog_identifier", "process", "tag":
		r.ident = value
		r.kernel = r.kernel || value == "kernel"
	}
}

// lines writes the record as lines that a Scanner reads.
func (r *record) lines(out []byte) []byte {
	if !r.said {
		return out
	}
	for line := range bytes.SplitSeq(bytes.TrimRight(r.text, "\r\n"), []byte("\n")) {
		switch {
		case r.ident != "" && !r.kernel:
			out = fmt.Appendf(out, "0000000000.0 host %s: ", strings.ReplaceAll(r.ident, " ", "-"))
		case split(line).origin != originUnknown:
			// It has a time of its own.
		case r.timed:
			out = fmt.Appendf(out, "[%5d.%06d] ", r.usec/1_000_000, r.usec%1_000_000)
		case r.kernel:
			out = append(out, "kernel: "...)
		}
		out = append(append(out, line...), '\n')
	}
	return out
}

// isExport: journalctl -o export
func isExport(sample []byte) bool {
	return bytes.HasPrefix(sample, []byte("__CURSOR=")) || bytes.HasPrefix(sample, []byte("__REALTIME_TIMESTAMP="))
}

// isVerbose: journalctl -o verbose
func isVerbose(sample []byte) bool {
	_, rest, ok := bytes.Cut(sample, []byte("\n"))
	return ok && bytes.HasPrefix(rest, []byte("    ")) && bytes.Contains(sample, []byte("\n    MESSAGE=")) && bytes.Contains(sample, []byte("\n    _TRANSPORT="))
}

// A fieldLog reads the journal's export and verbose formats
// (https://systemd.io/JOURNAL_EXPORT_FORMATS).
type fieldLog struct {
	b   *bufio.Reader
	rec record
	out []byte
	end error
}

func (f *fieldLog) Read(p []byte) (int, error) {
	for len(f.out) == 0 {
		if f.end != nil {
			return 0, f.end
		}
		f.out = f.out[:0]
		line, err := readLine(f.b)
		if err != nil {
			f.end = err
		}
		if text := bytes.TrimLeft(line, " "); len(text) == 0 || len(text) == len(line) && bytes.Contains(line, []byte(" [s=")) {
			f.out = f.rec.lines(f.out)
			f.rec = record{}
		} else if key, value, ok := bytes.Cut(text, []byte("=")); ok {
			f.rec.field(string(key), string(value))
		} else if isFieldName(text) {
			f.binary(string(text))
		}
		if f.end != nil {
			f.out = f.rec.lines(f.out)
			f.rec = record{}
		}
	}
	n := copy(p, f.out)
	f.out = f.out[n:]
	return n, nil
}

// binary reads a field whose value has bytes that are no text: its length, as
// 64 bits, and the bytes.
func (f *fieldLog) binary(key string) {
	var size [8]byte
	if _, f.end = io.ReadFull(f.b, size[:]); f.end != nil {
		return
	}
	n := binary.LittleEndian.Uint64(size[:])
	value, err := io.ReadAll(io.LimitReader(f.b, int64(min(n, maxRecord))))
	f.rec.field(key, string(value))
	if err == nil && n > maxRecord {
		_, err = io.CopyN(io.Discard, f.b, int64(min(n-maxRecord, 1<<40)))
	}
	f.end = err
}

func isFieldName(s []byte) bool {
	for _, c := range s {
		if !isDigit(c) && c != '_' && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 64
}

// readLine reads a line without its end; what is beyond maxRecord is lost.
func readLine(b *bufio.Reader) ([]byte, error) {
	var all []byte
	for {
		part, err := b.ReadSlice('\n')
		all = append(all, part[:min(len(part), max(0, maxRecord-len(all)))]...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return bytes.TrimRight(all, "\r\n"), err
	}
}

// isJSON reports whether a text begins as JSON does and no log does.
func isJSON(sample []byte) bool {
	s := bytes.TrimLeft(sample, " \t\r\n\ufeff")
	if len(s) < 2 || s[0] != '{' && s[0] != '[' {
		return false
	}
	rest := bytes.TrimLeft(s[1:], " \t\r\n")
	return len(rest) > 0 && (rest[0] == '"' && s[0] == '{' || rest[0] == '{' && s[0] == '[')
}

// A jsonLog reads records out of JSON of any shape: the lines of journalctl
// -o json, the array of dmesg --json, what clouds export. Each object that
// has a text is a record.
type jsonLog struct {
	src   *bufio.Reader
	dec   *json.Decoder
	stack []jsonLevel
	out   []byte
}

type jsonLevel struct {
	array bool
	key   string // the value that follows is of it
	keyed bool
	rec   record
	bytes []byte // an array of numbers: journald's text that is no UTF-8
}

// maxLevels bounds how deep JSON may be.
const maxLevels = 64

func newJSONLog(b *bufio.Reader) *jsonLog {
	j := &jsonLog{src: b}
	j.decode(b)
	return j
}

func (j *jsonLog) decode(r io.Reader) {
	j.dec = json.NewDecoder(&boundedTokens{r: r})
	j.dec.UseNumber()
	j.stack = j.stack[:0]
}

// boundedTokens leaves out what is beyond maxRecord bytes of one string or number,
// which a json.Decoder would hold in memory as a whole.
type boundedTokens struct {
	r        io.Reader
	inString bool
	escape   int  // bytes of an escape that are still to come
	dropped  bool // they are beyond the bound
	n        int  // of the token
}

func (b *boundedTokens) Read(p []byte) (int, error) {
	for {
		n, err := b.r.Read(p)
		kept := p[:0]
		for _, c := range p[:n] {
			if b.keeps(c) {
				b.n++
				kept = append(kept, c)
			}
		}
		if len(kept) > 0 || err != nil || n == 0 {
			return len(kept), err
		}
	}
}

func (b *boundedTokens) keeps(c byte) bool {
	switch {
	case b.escape > 0:
		if b.escape--; b.escape == 0 && c == 'u' {
			b.escape = 4
		}
		return !b.dropped
	case b.inString && c == '\\':
		b.escape, b.dropped = 1, b.n >= maxRecord
		return !b.dropped
	case c == '"':
		b.inString, b.n = !b.inString, 0
		return true
	case !b.inString && (c <= ' ' || c == ',' || c == ':' || c == '{' || c == '}' || c == '[' || c == ']'):
		b.n = 0
		return true
	}
	return b.n < maxRecord
}

func (j *jsonLog) Read(p []byte) (int, error) {
	for len(j.out) == 0 {
		t, err := j.dec.Token()
		var syntax *json.SyntaxError
		switch {
		case errors.As(err, &syntax) || err == nil && len(j.stack) > maxLevels:
			// A line that is no JSON among those that are: it may be text.
			rest := bufio.NewReaderSize(io.MultiReader(j.dec.Buffered(), j.src), firstLook)
			line, err := readLine(rest)
			if err != nil && len(line) == 0 {
				return 0, err
			}
			j.src = rest
			j.out = append(append(j.out[:0], line...), '\n')
			j.decode(rest)
		case err != nil:
			return 0, err
		default:
			j.token(t)
		}
	}
	n := copy(p, j.out)
	j.out = j.out[n:]
	return n, nil
}

func (j *jsonLog) token(t json.Token) {
	var top *jsonLevel
	if n := len(j.stack); n > 0 {
		top = &j.stack[n-1]
	}
	switch v := t.(type) {
	case json.Delim:
		switch v {
		case '{', '[':
			j.stack = append(j.stack, jsonLevel{array: v == '['})
			return
		}
		if top == nil {
			return
		}
		done := *top
		j.stack = j.stack[:len(j.stack)-1]
		if n := len(j.stack); n > 0 {
			if top = &j.stack[n-1]; done.array && len(done.bytes) > 0 && !top.array {
				top.rec.field(top.key, string(done.bytes))
			}
			top.keyed = false
		}
		j.out = done.rec.lines(j.out[:0])
		return
	case string:
		switch {
		case top == nil || top.array:
		case !top.keyed:
			top.key, top.keyed = v, true
			return
		default:
			top.rec.field(top.key, v)
		}
	case json.Number:
		switch {
		case top == nil:
		case !top.array:
			top.rec.field(top.key, v.String())
		case len(top.bytes) < maxRecord:
			if n, err := v.Int64(); err == nil && n >= 0 && n < 256 {
				top.bytes = append(top.bytes, byte(n))
			}
		}
	}
	if top != nil {
		top.keyed = false
	}
}
