package qemu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A client is the other side of a filter: what QEMU is to it.
type client struct {
	t    testing.TB
	conn net.Conn
	f    *filter

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]*sent
	gone    chan struct{} // closed when the connection has ended
	trouble func()        // looks at what trouble left
}

// sent is a request under way.
type sent struct {
	read []byte
	done chan syscall.Errno
}

const testDiskSize = 64 << 10

// serveDisk has a filter serve a new disk of 64 KiB.
func serveDisk(t testing.TB, d Disk) *client {
	t.Helper()
	dir := t.TempDir()
	d.Path, d.Format = filepath.Join(dir, "image"), Raw
	if err := os.WriteFile(d.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.Path, testDiskSize); err != nil {
		t.Fatal(err)
	}
	content, err := openImage(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	return serveContent(t, d, content, func(err error) { t.Error(err) })
}

// serveContent has a filter serve content, and tell trouble.
func serveContent(t testing.TB, d Disk, content layers, trouble func(error)) *client {
	t.Helper()
	ours, theirs, err := socketPair("test")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.FileConn(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
	f := newFilter(d, ours, t.TempDir(), content)
	f.fault = trouble
	f.run()
	c := &client{t: t, conn: conn, f: f, waiting: map[uint64]*sent{}, gone: make(chan struct{})}
	t.Cleanup(func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
		<-c.gone
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	c.negotiate()
	go c.listen()
	return c
}

// negotiate does what QEMU 7.2 does: an option that we don't know, then GO.
func (c *client) negotiate() {
	c.t.Helper()
	be := binary.BigEndian
	head := make([]byte, 18)
	if _, err := io.ReadFull(c.conn, head); err != nil || be.Uint64(head) != nbdMagic {
		c.t.Fatalf("greeting %x, %v", head, err)
	}
	option := func(n uint32, data []byte) []byte {
		return append(be.AppendUint32(be.AppendUint32(be.AppendUint64(nil, nbdOption), n), uint32(len(data))), data...)
	}
	hello := append(be.AppendUint32(nil, nbdFixedNoZeros), option(8, nil)...)
	if _, err := c.conn.Write(append(hello, option(nbdOptGo, make([]byte, 6))...)); err != nil {
		c.t.Fatal(err)
	}
	for _, want := range []uint32{nbdRepUnknown, nbdRepInfo, nbdRepInfo, nbdRepAck} {
		head := make([]byte, 20)
		if _, err := io.ReadFull(c.conn, head); err != nil || be.Uint32(head[12:]) != want {
			c.t.Fatalf("reply %x, %v; want type %x", head, err, want)
		}
		data := make([]byte, be.Uint32(head[16:]))
		if _, err := io.ReadFull(c.conn, data); err != nil {
			c.t.Fatal(err)
		}
		if want == nbdRepInfo && be.Uint16(data) == nbdInfoExport && be.Uint64(data[2:]) != testDiskSize {
			c.t.Errorf("size %d", be.Uint64(data[2:]))
		}
	}
}

func (c *client) listen() {
	defer close(c.gone)
	for {
		head := make([]byte, 16)
		if _, err := io.ReadFull(c.conn, head); err != nil {
			return
		}
		c.mu.Lock()
		s := c.waiting[binary.BigEndian.Uint64(head[8:])]
		c.mu.Unlock()
		errno := syscall.Errno(binary.BigEndian.Uint32(head[4:]))
		if errno == 0 {
			if _, err := io.ReadFull(c.conn, s.read); err != nil {
				return
			}
		}
		s.done <- errno
	}
}

// begin sends a request; its answer comes on the channel done.
func (c *client) begin(kind uint16, flags uint16, offset, length int64, data []byte) *sent {
	c.t.Helper()
	be := binary.BigEndian
	s := &sent{done: make(chan syscall.Errno, 1)}
	if kind == nbdRead {
		s.read = make([]byte, length)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	c.waiting[c.next] = s
	head := be.AppendUint16(be.AppendUint16(be.AppendUint32(nil, nbdRequest), flags), kind)
	head = be.AppendUint64(be.AppendUint64(head, c.next), uint64(offset))
	head = be.AppendUint32(head, uint32(length))
	if _, err := c.conn.Write(append(head, data...)); err != nil {
		c.t.Fatal(err)
	}
	return s
}

func (c *client) write(offset, length int64, b byte) syscall.Errno {
	c.t.Helper()
	return <-c.begin(nbdWrite, 0, offset, length, bytes.Repeat([]byte{b}, int(length))).done
}

func (c *client) writeFUA(offset, length int64, b byte) syscall.Errno {
	c.t.Helper()
	return <-c.begin(nbdWrite, nbdFlagFUA, offset, length, bytes.Repeat([]byte{b}, int(length))).done
}

func (c *client) flush() syscall.Errno {
	c.t.Helper()
	return <-c.begin(nbdFlush, 0, 0, 0, nil).done
}

func (c *client) discard(offset, length int64) syscall.Errno {
	c.t.Helper()
	return <-c.begin(nbdTrim, 0, offset, length, nil).done
}

func (c *client) read(offset, length int64) ([]byte, syscall.Errno) {
	c.t.Helper()
	s := c.begin(nbdRead, 0, offset, length, nil)
	errno := <-s.done
	return s.read, errno
}

// idle waits until no request waits for the filter.
func (c *client) idle() {
	c.t.Helper()
	for ctx := c.t.Context(); ; {
		if _, ok := c.f.pending(); !ok {
			return
		}
		select {
		case <-ctx.Done():
			c.t.Fatal("a request is pending")
		default:
			runtime.Gosched()
		}
	}
}

// sectors is the first byte of each sector, '.' for 0.
func sectors(p []byte) string {
	var out []byte
	for at := 0; at < len(p); at += SectorSize {
		b := p[at]
		if b == 0 {
			b = '.'
		}
		out = append(out, b)
	}
	return string(out)
}

// at0 is what the first n sectors hold, or an errno.
func (c *client) at0(n int64) string {
	c.t.Helper()
	p, errno := c.read(0, n*SectorSize)
	if errno != 0 {
		return errno.Error()
	}
	return sectors(p)
}

func inForce(t testing.TB, c *client, faults ...Fault) {
	t.Helper()
	for i := range faults {
		if err := faults[i].check(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.f.inject(faults); err != nil {
		t.Fatal(err)
	}
}

func TestFilterServesItsImage(t *testing.T) {
	c := serveDisk(t, Disk{ID: "a"})
	if e := c.write(512, 1024, 'x'); e != 0 {
		t.Error(e)
	}
	if e := <-c.begin(nbdWriteZeroes, 0, 1024, 512, nil).done; e != 0 {
		t.Error(e)
	}
	if e := c.write(2048, 512, 'y') | c.discard(2048, 512) | c.flush(); e != 0 {
		t.Error(e)
	}
	if got := c.at0(5); got != ".x..." {
		t.Errorf("content %s", got)
	}
	for name, s := range map[string]*sent{
		"past the end":     c.begin(nbdRead, 0, testDiskSize-512, 1024, nil),
		"far past the end": c.begin(nbdRead, 0, 1<<62, 512, nil),
		"negative offset":  c.begin(nbdRead, 0, -512, 512, nil),
		"nothing":          c.begin(nbdRead, 0, 0, 0, nil),
		"half a sector":    c.begin(nbdRead, 0, 256, 256, nil),
		"unknown command":  c.begin(77, 0, 0, 0, nil),
	} {
		if e := <-s.done; e != syscall.EINVAL {
			t.Errorf("%s: %v, want EINVAL", name, e)
		}
	}
	c.idle()
}

func TestOneImageIsServedOnce(t *testing.T) {
	c := serveDisk(t, Disk{ID: "a"})
	if all, err := openImage(c.f.disk.Path); err == nil {
		t.Error("it was opened twice", all.release())
	}
}

func TestOverlayOfServedImage(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base")
	before := bytes.Repeat([]byte{'b'}, testDiskSize)
	if err := os.WriteFile(base, before, 0o400); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, mine := range []byte{'x', 'y'} {
		content, err := openOverlay(base, dir)
		if err != nil {
			t.Fatal(err)
		}
		c := serveContent(t, Disk{ID: "a"}, content, func(err error) { t.Error(err) })
		if e := c.write(512, 512, mine) | c.discard(1536, 512); e != 0 {
			t.Error(e)
		}
		if got, want := c.at0(5), "b"+string(mine)+"b.b"; got != want {
			t.Errorf("content %s, want %s", got, want)
		}
	}
	if after, err := os.ReadFile(base); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the base changed (%v)", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestTroubleOfTheHostIsNoAnswer(t *testing.T) {
	for name, do := range map[string]func(c *client){
		"another protocol": func(c *client) {
			if _, err := c.conn.Write(make([]byte, 28)); err != nil {
				t.Error(err)
			}
		},
		"a file that can't be written": func(c *client) {
			s := c.begin(nbdWrite, 0, 0, 512, make([]byte, 512))
			c.trouble = func() {
				select {
				case e := <-s.done:
					t.Errorf("the guest was told: %v", e)
				default:
				}
				if _, ok := c.f.pending(); !ok {
					t.Error("the request does not count as pending")
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			if err := os.WriteFile(image, make([]byte, testDiskSize), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(image) // for reading only
			if err != nil {
				t.Fatal(err)
			}
			told := make(chan error, 1)
			c := serveContent(t, Disk{ID: "a"}, single(f), func(err error) { told <- err })
			do(c)
			if err := <-told; !errors.Is(err, ErrHost) || !strings.Contains(err.Error(), "disk a") {
				t.Errorf("told %v, want host trouble of disk a", err)
			}
			if c.trouble != nil {
				c.trouble()
			}
		})
	}
}
