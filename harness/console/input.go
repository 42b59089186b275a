package console

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// firstLook is how much of a log is looked at to tell its form, in bytes.
const firstLook = 64 << 10

// maxNested bounds packings within packings.
const maxNested = 4

// openLog makes lines of text of what r holds: it unpacks gzip, xz, zstd and
// bzip2, decodes UTF-16, the attachments of mails, JSON and the journal's own
// formats.
func openLog(r io.Reader) (text io.Reader, done func(), err error) {
	b, done, err := Unpack(r)
	if err != nil {
		return nil, done, fmt.Errorf("read kernel log: %w", err)
	}
	sample, _ := b.Peek(firstLook) // an error comes again when it is read
	switch {
	case isJSON(sample):
		return newJSONLog(b), done, nil
	case isExport(sample), isVerbose(sample):
		return &fieldLog{b: b}, done, nil
	case isMail(sample):
		return &mailLog{b: b}, done, nil
	}
	return onlyReader{b}, done, nil
}

// Unpack takes off compression (gzip, xz, zstd, bzip2) and UTF-16, however
// nested, as a log, a mailbox or a kernel's config may come. done is to be
// called after the last read, and after an error, too.
func Unpack(r io.Reader) (text *bufio.Reader, done func(), err error) {
	var closers []func()
	done = func() {
		for _, c := range closers {
			c()
		}
	}
	b := bufio.NewReaderSize(r, firstLook)
	for range maxNested {
		inner, closer, err := unpack(b)
		if err != nil {
			return nil, done, err
		}
		if closer != nil {
			closers = append(closers, closer)
		}
		if inner == nil {
			break
		}
		b = bufio.NewReaderSize(inner, firstLook)
	}
	return b, done, nil
}

// unpack detects compression by its magic number, and UTF-16; the reader is
// nil where there is nothing to take off.
func unpack(b *bufio.Reader) (io.Reader, func(), error) {
	magic, err := b.Peek(64)
	if err != nil && !errors.Is(err, io.EOF) && len(magic) == 0 {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nil, fmt.Errorf("unpack gzip: %w", err)
		}
		return z, nil, nil
	case bytes.HasPrefix(magic, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		z, err := xz.NewReader(b)
		if err != nil {
			return nil, nil, fmt.Errorf("unpack xz: %w", err)
		}
		return z, nil, nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, fmt.Errorf("unpack zstd: %w", err)
		}
		return z, z.Close, nil
	case len(magic) > 10 && bytes.HasPrefix(magic, []byte("BZh")) && string(magic[4:10]) == "1AY&SY":
		return bzip2.NewReader(b), nil, nil
	case bytes.HasPrefix(magic, []byte{0xff, 0xfe}), zeros(magic, 1):
		return &utf16Reader{b: b, order: binary.LittleEndian}, nil, nil
	case bytes.HasPrefix(magic, []byte{0xfe, 0xff}), zeros(magic, 0):
		return &utf16Reader{b: b, order: binary.BigEndian}, nil, nil
	}
	return nil, nil, nil
}

// zeros reports whether each second byte, from first on, is 0 and no other.
func zeros(s []byte, first int) bool {
	for i, c := range s {
		if (c == 0) != (i%2 == first) {
			return false
		}
	}
	return len(s) >= 8
}

// onlyReader hides bufio.Reader's WriteTo, which would bypass the buffer.
type onlyReader struct{ io.Reader }

// A utf16Reader makes UTF-8 of UTF-16, as PowerShell's > writes it.
type utf16Reader struct {
	b     *bufio.Reader
	order binary.ByteOrder
	text  []byte // decoded and not read
}

func (u *utf16Reader) Read(p []byte) (int, error) {
	if len(u.text) == 0 {
		var raw [4096]byte
		n, err := io.ReadFull(u.b, raw[:])
		for i := 0; i+1 < n; i += 2 {
			r := rune(u.order.Uint16(raw[i:]))
			if utf16.IsSurrogate(r) && i+3 < n {
				i += 2
				r = utf16.DecodeRune(r, rune(u.order.Uint16(raw[i:])))
			}
			if r != 0xfeff {
				u.text = utf8.AppendRune(u.text, r)
			}
		}
		if len(u.text) == 0 {
			if errors.Is(err, io.ErrUnexpectedEOF) || err == nil {
				err = io.EOF
			}
			return 0, err
		}
	}
	n := copy(p, u.text)
	u.text = append(u.text[:0], u.text[n:]...)
	return n, nil
}

// isMail reports whether a text begins as a mail, or a mailbox, does.
func isMail(sample []byte) bool {
	head := sample[:min(len(sample), 16<<10)]
	for _, h := range []string{"MIME-Version:", "Message-ID:", "Content-Transfer-Encoding:", "Content-Type:"} {
		for i := 0; i < len(head); {
			j := bytes.IndexByte(head[i:], '\n')
			if j < 0 {
				j = len(head) - i
			}
			if line := head[i : i+j]; len(line) >= len(h) && bytes.EqualFold(line[:len(h)], []byte(h)) {
				return true
			}
			i += j + 1
		}
	}
	return false
}

// A mailLog decodes what a mail holds in base64 (RFC 2045, 6.8), packed
// attachments included, and passes the rest on.
type mailLog struct {
	b      *bufio.Reader
	base64 bool // the part's body is
	binary bool // the part's body is no text
	body   bool // the part's headers are over
	inner  io.Reader
	done   func()
	out    []byte
}

func (m *mailLog) Read(p []byte) (int, error) {
	for len(m.out) == 0 {
		if m.inner != nil {
			n, err := m.inner.Read(p)
			if err != nil { // a broken attachment is not the mail's end
				m.done()
				m.inner, m.base64 = nil, false
				m.out = append(m.out, '\n')
			}
			if n > 0 {
				return n, nil
			}
			continue
		}
		line, err := m.b.ReadSlice('\n')
		if len(line) == 0 && err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return 0, err
		}
		m.line(line)
	}
	n := copy(p, m.out)
	m.out = m.out[n:]
	return n, nil
}

func (m *mailLog) line(line []byte) {
	text := bytes.TrimRight(line, "\r\n")
	switch name, value, ok := bytes.Cut(text, []byte(":")); {
	case len(text) == 0 && m.base64 && !m.body:
		m.body = true
		if m.binary {
			break
		}
		decoded := base64.NewDecoder(base64.StdEncoding, &base64Lines{b: m.b})
		inner, done, err := Unpack(decoded)
		if err == nil {
			m.inner, m.done = inner, done
		}
	case bytes.HasPrefix(text, []byte("--")):
		m.base64, m.binary, m.body = false, false, false
	case ok && bytes.EqualFold(name, []byte("Content-Transfer-Encoding")):
		m.base64, m.body = bytes.EqualFold(bytes.TrimSpace(value), []byte("base64")), false
	case ok && bytes.EqualFold(name, []byte("Content-Type")):
		value = bytes.ToLower(bytes.TrimSpace(value))
		m.binary = bytes.HasPrefix(value, []byte("image/")) || bytes.HasPrefix(value, []byte("application/pdf")) || bytes.HasPrefix(value, []byte("application/pgp"))
	}
	m.out = append(m.out[:0], line...)
}

// base64Lines reads lines of base64 up to one that is none.
type base64Lines struct {
	b    *bufio.Reader
	line []byte
	over bool
}

func (l *base64Lines) Read(p []byte) (int, error) {
	for len(l.line) == 0 {
		if l.over {
			return 0, io.EOF
		}
		next, _ := l.b.Peek(1)
		if len(next) == 0 || !isBase64(next[0]) && next[0] != '\r' && next[0] != '\n' {
			l.over = true
			continue
		}
		line, err := l.b.ReadSlice('\n')
		l.line = bytes.TrimRight(line, "\r\n")
		l.over = err != nil && !errors.Is(err, bufio.ErrBufferFull)
	}
	n := copy(p, l.line)
	l.line = l.line[n:]
	return n, nil
}

func isBase64(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '+' || c == '/' || c == '='
}
