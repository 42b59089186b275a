package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// File is the store's name in the folder of results. Beside it are those that
// SQLite makes (-wal, -shm) and the lock.
const File = "index.sqlite"

const lockFile = "index.lock"

var (
	// ErrCorrupt says that the database can't be read as one.
	ErrCorrupt = errors.New("the index is damaged")
	// ErrNewer says that a newer blockrig made it.
	ErrNewer = errors.New("the index was made by a newer blockrig")
	// ErrInUse says that another process has the store open.
	ErrInUse = errors.New("the index is in use by another process")
	// ErrNone says that there is no such thing in the store.
	ErrNone = errors.New("not recorded")
)

// busyTimeout is how long a write waits for those of other processes.
const busyTimeout = 20 * time.Second

// A Store is an open database. Close ends it.
type Store struct {
	db   *sql.DB
	lock *flock.Flock // shared: whoever has it alone may replace the file
	temp string       // folder that goes with it; "" of one that stays
}

// Open opens the store in a folder, which must be there, and makes it or brings
// it to the present version where need be. The error wraps ErrCorrupt or
// ErrNewer when it can't be used.
func Open(ctx context.Context, folder string) (_ *Store, err error) {
	path, err := filepath.Abs(filepath.Join(folder, File))
	if err != nil {
		return nil, fmt.Errorf("open the index: %w", err)
	}
	s := &Store{lock: flock.New(filepath.Join(folder, lockFile))}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open %s: %w", path, err), s.Close())
		}
	}()
	if _, err := s.lock.TryRLockContext(ctx, 5*time.Millisecond); err != nil {
		return nil, err
	}
	// Another kind of file would be opened and read for ever, such as a pipe.
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is no regular file", ErrCorrupt)
	}
	// Nothing here is lost with the power but what the folders have: no write
	// waits for the disk.
	settings := url.Values{"_txlock": {"immediate"}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
		"journal_mode(wal)", "synchronous(normal)", "foreign_keys(on)", "trusted_schema(off)", "cache_size(-32000)",
	}}
	// As a URI, since a path may have a ? in it.
	address := url.URL{Scheme: "file", Path: path, RawQuery: settings.Encode()}
	if s.db, err = sql.Open("sqlite", address.String()); err != nil {
		return nil, err
	}
	return s, s.migrate(ctx)
}

// OpenTemp makes an empty store that Close removes: for where none can be kept.
func OpenTemp(ctx context.Context) (*Store, error) {
	dir, err := os.MkdirTemp("", "blockrig-index-")
	if err != nil {
		return nil, fmt.Errorf("make an index: %w", err)
	}
	s, err := Open(ctx, dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s.temp = dir
	return s, nil
}

// Close ends the use of the store.
func (s *Store) Close() error {
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	err = errors.Join(err, s.lock.Close())
	if s.temp != "" {
		err = errors.Join(err, os.RemoveAll(s.temp))
	}
	if err != nil {
		return fmt.Errorf("close the index: %w", err)
	}
	return nil
}

// Remove removes the store of a folder: what can't be read as one. The error
// wraps ErrInUse while anybody has it open.
func Remove(folder string) (err error) {
	lock := flock.New(filepath.Join(folder, lockFile))
	defer func() { err = errors.Join(err, lock.Close()) }()
	ok, err := lock.TryLock()
	if err == nil && !ok {
		err = ErrInUse
	}
	for _, suffix := range []string{"-wal", "-shm", "-journal", ""} { // the database last: without it, the others are nothing
		if err == nil {
			if err = os.Remove(filepath.Join(folder, File+suffix)); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", filepath.Join(folder, File), err)
	}
	return nil
}

// migrate makes the tables, or brings those of an older version up to date.
func (s *Store) migrate(ctx context.Context) error {
	have, err := version(ctx, s.db)
	if err != nil || have == len(migrations) {
		return err
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		at, err := version(ctx, tx) // another process may have been faster
		if err != nil {
			return err
		}
		for ; at < len(migrations); at++ {
			if _, err := tx.ExecContext(ctx, migrations[at]); err != nil {
				return fmt.Errorf("bring the index to version %d: %w", at+1, err)
			}
		}
		_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", at))
		return err
	})
}

// querier is a database or a transaction of it.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func version(ctx context.Context, q querier) (int, error) {
	var version int
	if err := q.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return 0, known(err)
	}
	if version > len(migrations) {
		return 0, fmt.Errorf("%w (version %d, this one knows %d)", ErrNewer, version, len(migrations))
	}
	if version < 0 {
		return 0, fmt.Errorf("%w: its version is %d", ErrCorrupt, version)
	}
	return version, nil
}

// write does something whole or not at all, with no other writer between.
func (s *Store) write(ctx context.Context, do func(*sql.Tx) error) (err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return known(err)
	}
	if err := do(tx); err != nil {
		if rerr := tx.Rollback(); rerr != nil && !errors.Is(rerr, sql.ErrTxDone) {
			err = errors.Join(err, rerr)
		}
		return known(err)
	}
	return known(tx.Commit())
}

// known gives errors of SQLite that somebody does something about a name.
func known(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok || errors.Is(err, ErrCorrupt) {
		return err
	}
	switch e.Code() & 0xff { // the primary result code
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT,
		sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_CONSTRAINT: // tables other than the version says
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}
