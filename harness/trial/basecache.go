package trial

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/blockrig/blockrig/harness/cachedir"
)

// A BaseCache keeps bases on disk, so that the next run on a kernel starts
// warm. Several processes may use one at once.
type BaseCache struct {
	Dir   string
	Limit int64 // bytes of disk; the least recently used go first. 0: no limit
	Log   *slog.Logger

	once  sync.Once
	cache *cachedir.Dir
}

func (c *BaseCache) dir() *cachedir.Dir {
	c.once.Do(func() {
		c.cache = cachedir.New(c.Dir, cachedir.Options{What: "saved machine", Limit: c.Limit, Log: c.Log})
	})
	return c.cache
}

// get gives the base of that key, from the cache or newly made by make, which
// saves it in the empty folder it is given. The caller closes it. An error of
// make's is given as it is.
//
// Only what the base says of itself is checked here: runWarm checks the rest
// while QEMU loads it.
func (c *BaseCache) get(ctx context.Context, key string, make func(ctx context.Context, dir string) error) (*Base, error) {
	entry, err := c.dir().Get(ctx, key, make, baseFile)
	if err != nil {
		return nil, err
	}
	b, err := openBase(entry)
	if err != nil {
		return nil, errors.Join(err, entry.Close())
	}
	return b, nil
}
