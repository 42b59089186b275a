package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/results/store"
)

// An Order is a report that somebody asks for.
type Order struct {
	Words  []string // runs, nights, kernels; see Select
	Since  string   // date; "" for none
	Format Format
	Title  string // "" makes one
	Tool   string
	Output string // file; "" is Out
	Out    io.Writer

	Settings
	Submit    string // address to submit to; "" for none
	TokenFile string // holds the token for it
}

// Check says what of an order can't be: the error wraps ErrSelect.
func (o Order) Check() error {
	switch {
	case o.Submit != "" && o.Format != FormatKCIDB:
		return fmt.Errorf("%w: --submit is for --format kcidb", ErrSelect)
	case o.Submit != "" && o.TokenFile == "":
		return fmt.Errorf("%w: --submit wants the submitter's token: --token-file FILE", ErrSelect)
	case o.Format == FormatKCIDB && !kcidbOrigin.MatchString(o.Origin):
		return fmt.Errorf("%w: --origin %q: want the name of a CI system, of a-z, 0-9 and _", ErrSelect, o.Origin)
	}
	return nil
}

// Make makes the report that is ordered, of the results folder root with its
// store s.
func Make(ctx context.Context, s store.Reader, root string, o Order) (err error) {
	if err := o.Check(); err != nil {
		return err
	}
	of, err := Select(ctx, s, o.Words, o.Since)
	if err != nil {
		return err
	}
	folder, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("open the results folder: %w", err)
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	o.Files = Files(folder)
	r, err := Load(ctx, s, o.Files, Options{Of: of, Title: o.Title, Tool: o.Tool, Made: time.Now()})
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := Write(&b, o.Format, r, o.Settings); err != nil {
		return err
	}
	if o.Submit != "" {
		token, err := readToken(o.TokenFile)
		if err != nil {
			return err
		}
		if err := Submit(ctx, o.Submit, token, b.Bytes()); err != nil {
			return err
		}
	}
	return o.put(b.Bytes())
}

// put writes a report where it was ordered to, a file whole or not at all.
func (o Order) put(report []byte) (err error) {
	if o.Output == "" {
		if _, err := o.Out.Write(report); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
		return nil
	}
	dir, name := filepath.Split(o.Output)
	root, err := os.OpenRoot(filepath.Clean(dir))
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := cachedir.WriteFile(root, name, report); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// maxToken is the size of the longest token, in bytes.
const maxToken = 16 << 10

func readToken(path string) (string, error) {
	folder, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	src, err := readFile(files{folder}, filepath.Base(path), maxToken)
	if err = errors.Join(err, folder.Close()); err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(src))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", fmt.Errorf("read the token: %s holds none: want one word", path)
	}
	return token, nil
}
