package engine

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/scenarios"
)

// DoChain does I/O of io_uring as one chain, and says what each showed. An
// error means that it could not be tried. release, which is never nil, gives
// back what it took.
func DoChain(requests []Request) (seen []scenarios.Observation, release func(), err error) {
	var all []*series
	var q *ring
	release = func() {
		for _, s := range all {
			s.release()
		}
		if q != nil {
			q.close()
		}
	}
	poll := false
	var files []*file
	var buffers []*buffer
	for _, r := range requests {
		f, errno, err := open(r.Path, openFlags(r.IO))
		if err == nil && errno != "" {
			err = fmt.Errorf("open %s: %s", r.Path, errno)
		}
		if err != nil {
			return nil, release, err
		}
		f.io = r.IO
		s := &series{Request: r, file: f, oracle: oracle{r.Data, r.Generation, f.size}}
		all, files = append(all, s), append(files, f)
		b, err := s.buffer()
		if err != nil {
			return nil, release, err
		}
		s.fill(b, r.IO.Offset)
		buffers = append(buffers, b)
		poll = poll || r.IO.Polled
	}
	q, err = openRing(len(all), poll, files...)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("this kernel has no io_uring: %w", err)
	}
	if err == nil {
		err = q.register(buffers, files...)
	}
	if err != nil {
		return nil, release, err
	}
	for i, s := range all {
		flags := uint8(link)
		if i == len(all)-1 {
			flags = 0
		}
		q.prepare(s.file, i, buffers[i], s.IO.Offset, flags)
	}
	if err := q.send(len(all)); err != nil {
		return nil, release, fmt.Errorf("io_uring_enter: %w", err)
	}
	for range all {
		i, n, err := q.wait()
		if i < 0 {
			return nil, release, err
		}
		all[i].took(buffers[i], all[i].IO.Offset, n, false, err)
	}
	for _, s := range all {
		s.seen.Returned = true
		if s.seen.Polled, err = q.polling.proof(s.IO.Expect, s.seen.Errno); err != nil {
			return nil, release, err
		}
		seen = append(seen, s.seen)
	}
	return seen, release, nil
}
