package initramfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/blockrig/blockrig/harness/cachedir"
)

// Files of an entry of the cache.
const (
	archiveFile = "archive.cpio"
	recordFile  = "record.json" // of a member, or of all tools
)

// stay is how long an image and what it is made of stay after they were looked
// up last: another process may be about to start a machine from them. Half of
// that time a Builder remembers what it looked up.
const stay = time.Hour

// A memory is a member that was looked up.
type memory struct {
	member
	id fileID // of the archive
	at time.Time
}

// dir gives one of the folders of the cache, which keeps so many entries. It
// is the same one at every call, and knows what it has checked.
func (b *Builder) dir(name string, keep int) (*cachedir.Dir, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d := b.dirs[name]; d != nil {
		return d, nil
	}
	root := b.Cache
	if root == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("find the cache: %w", err)
		}
		root = filepath.Join(cache, "blockrig", "initramfs")
	}
	if b.dirs == nil {
		b.dirs = make(map[string]*cachedir.Dir)
	}
	d := cachedir.New(filepath.Join(root, name), cachedir.Options{What: "part of an initramfs", Keep: keep, MinAge: stay, Log: b.log()})
	b.dirs[name] = d
	return d, nil
}

// A member is a finished cpio archive in the cache, and the record beside it.
type member struct {
	path string

	Digest  string            `json:"digest"` // hex SHA-256 of the archive
	Bytes   int64             `json:"bytes"`
	Sources []string          `json:"sources,omitempty"`
	Seen    map[string]fileID `json:"seen,omitempty"` // of the host, by path, zero for what was not there; when one changes, it is out of date
}

// An archiveWriter takes a member. dir is for temporary files, which
// must be gone when the member is finished.
type archiveWriter struct {
	io.Writer
	dir string
	m   *member
}

// ensure returns the member of that key, made by write if need be, by one
// process while others wait.
func (b *Builder) ensure(ctx context.Context, d *cachedir.Dir, key string, write func(ctx context.Context, w archiveWriter) error) (member, error) {
	if known, ok := b.known.Load(key); ok {
		k := known.(memory)
		if id, err := statID(k.path); err == nil && id == k.id && time.Since(k.at) < stay/2 && changed(k.Seen) == nil {
			return k.member, nil
		}
	}
	for {
		e, err := d.Get(ctx, key, func(ctx context.Context, dir string) error { return makeMember(ctx, dir, write) })
		if err != nil {
			return member{}, err
		}
		m := member{path: filepath.Join(e.Path(), archiveFile)}
		if err := readRecord(e, &m); err != nil {
			return member{}, errors.Join(err, e.Close())
		}
		why := changed(m.Seen)
		if why == nil {
			if id, err := statID(m.path); err == nil && id.settled() {
				b.known.Store(key, memory{m, id, time.Now()})
			}
			return m, e.Close()
		}
		if err := e.Discard(ctx, why); err != nil {
			return member{}, err
		}
	}
}

func makeMember(ctx context.Context, dir string, write func(ctx context.Context, w archiveWriter) error) (err error) {
	f, err := os.Create(filepath.Join(dir, archiveFile))
	if err != nil {
		return fmt.Errorf("make cache file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var m member
	sum := &summer{w: f, sum: sha256.New()}
	if err := write(ctx, archiveWriter{sum, dir, &m}); err != nil {
		return err
	}
	m.Digest, m.Bytes = sum.hex(), sum.n
	return writeRecord(dir, m)
}

// A summer sums up what goes through it.
type summer struct {
	w   io.Writer
	sum hash.Hash
	n   int64
}

func (s *summer) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.sum.Write(p[:n]) // never fails
	s.n += int64(n)
	return n, err
}

func (s *summer) hex() string { return hex.EncodeToString(s.sum.Sum(nil)) }

func writeRecord(dir string, v any) error {
	text, err := json.MarshalIndent(v, "", "\t")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, recordFile), append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write cache file: %w", err)
	}
	return nil
}

func readRecord(e *cachedir.Entry, v any) error {
	text, err := os.ReadFile(filepath.Join(e.Path(), recordFile))
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return fmt.Errorf("read cache file: %w", err)
	}
	return nil
}

// changed gives an error when one of the host's files is no longer the same, or
// is there now.
func changed(seen map[string]fileID) error {
	for path, id := range seen {
		now, err := statID(path)
		if errors.Is(err, fs.ErrNotExist) {
			now, err = fileID{}, nil
		}
		if err != nil || now != id {
			return fmt.Errorf("the host has changed %s", path)
		}
	}
	return nil
}
