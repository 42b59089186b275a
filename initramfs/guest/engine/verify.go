package engine

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/scenarios"
)

// chunk is how much is read at once of what is looked at whole.
const chunk = 256 << 10

// Verify reads all of a file or device of which it is known what may stand
// there, past the kernel's memory.
func Verify(r Request) (seen scenarios.Observation, release func(), err error) {
	f, errno, err := open(r.Path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_DIRECT)
	if err != nil || errno != "" {
		return scenarios.Observation{Returned: errno != "", Errno: errno}, nothing, err
	}
	release = func() { _ = unix.Close(f.fd) }
	buf, err := unix.Mmap(-1, 0, chunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return seen, release, fmt.Errorf("map a buffer: %w", err)
	}
	defer func() { _ = unix.Munmap(buf) }()
	o := oracle{r.Data, r.Generation, f.size}
	done := int64(0) // up to where it was read
	for _, e := range r.Data {
		at := max(done, e.Offset/page*page)
		for end := min(e.Offset+e.Length, f.size); at < end; at = done {
			n, err := unix.Pread(f.fd, buf, at)
			if err != nil {
				seen.Returned, seen.Errno = true, ErrnoName(err)
				return seen, release, nil
			}
			if n == 0 {
				break
			}
			if wrong, kind := o.check(buf[:n], at); wrong >= 0 {
				wrong += at
				seen.Returned, seen.Mismatch, seen.Wrong = true, &wrong, kind
				return seen, release, nil
			}
			done = at + int64(n)
			seen.Bytes += int64(n)
		}
	}
	seen.Returned, seen.Bytes = true, 0
	return seen, release, nil
}

// A Compare is several places that must hold the same.
type Compare struct {
	Paths   []string
	Offsets []int64 // where on each it begins, bytes
	Length  int64
}

// Do compares them.
func (c Compare) Do() (seen scenarios.Observation, release func(), err error) {
	var files []*file
	release = func() {
		for _, f := range files {
			_ = unix.Close(f.fd)
		}
	}
	var bufs [][]byte
	for _, p := range c.Paths {
		f, errno, err := open(p, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_DIRECT)
		if err != nil || errno != "" {
			return scenarios.Observation{Returned: errno != "", Errno: errno}, release, err
		}
		files = append(files, f)
		buf, err := unix.Mmap(-1, 0, chunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return seen, release, fmt.Errorf("map a buffer: %w", err)
		}
		defer func() { _ = unix.Munmap(buf) }()
		bufs = append(bufs, buf)
	}
	seen.Returned = true
	for at := int64(0); at < c.Length; at += chunk {
		n := min(chunk, c.Length-at)
		for i, f := range files {
			k, err := unix.Pread(f.fd, bufs[i][:n], c.Offsets[i]+at)
			if err != nil {
				seen.Errno = ErrnoName(err)
				return seen, release, nil
			}
			if int64(k) != n {
				return seen, release, fmt.Errorf("%s ends at byte %d", c.Paths[i], c.Offsets[i]+at+int64(k))
			}
			if same := common(bufs[i][:n], bufs[0][:n]); int64(same) < n {
				seen.Failed = fmt.Sprintf("%s and %s differ at byte %d of what they share", c.Paths[0], c.Paths[i], at+int64(same))
				return seen, release, nil
			}
		}
	}
	return seen, release, nil
}
