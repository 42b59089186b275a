package review

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// Limits of what is read, in bytes.
const (
	maxMail     = 32 << 20
	maxTracking = 16 << 20
)

// A Series is patches and the commit that they are for.
type Series struct {
	Patches []trials.Patch
	Base    string   // full hash
	Notes   []string // what a user should know of what was found
	Paths   []string // that the patches touch, sorted
}

// tracking is what this package needs of b4's record of a series.
type tracking struct {
	Series struct {
		Base   string `json:"base-commit"`
		First  string `json:"first-patch-commit"`
		Change string `json:"change-id"`
	} `json:"series"`
}

// reviewBranch is where b4 review keeps the patches of a series: its branch
// has them after the base, and a commit of b4's own at its tip.
const reviewBranch = "refs/heads/b4/review/"

// A Source is where a series comes from.
type Source struct {
	Mail     io.Reader // a mail, a mailbox, or a cover letter alone
	Tracking string    // b4's record of the series, a file; "" where there is none
	Base     string    // revision that the user names; "" to find it
}

// ErrNoBase says that nothing names the commit that a series is for.
var ErrNoBase = errors.New("no base is known: the mail has no base-commit (git format-patch --base), and b4 has not checked the series out; name one with --base")

// ErrNothing says that there is no patch to be checked.
var ErrNothing = errors.New("there is no patch in the mail, and b4 has not checked the series out")

// Read takes the patches out of the mail or, when that is a cover letter,
// those that b4 has checked out in the repository. dir is a folder for them. The
// error is ErrNothing, ErrNoBase, or a MailError where the mail can't be used.
func Read(ctx context.Context, repo *gitcmd.Repo, from Source, dir string) (*Series, error) {
	text, err := io.ReadAll(io.LimitReader(from.Mail, maxMail+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the mail: %w", err)
	case len(text) > maxMail:
		return nil, &MailError{fmt.Errorf("the mail has more than %d bytes", maxMail)}
	}
	known, err := readTracking(from.Tracking)
	if err != nil {
		return nil, err
	}
	s, mails := &Series{}, filepath.Join(dir, "patches")
	s.Patches, s.Notes, err = trials.Patches(ctx, repo, trials.File{Name: "the mail", Text: text}, mails)
	if errors.Is(err, trials.ErrNoPatch) { // a cover letter
		checkedOut, none := known.patches(ctx, repo)
		if none != nil {
			return nil, none
		}
		s.Patches, s.Notes, err = trials.Patches(ctx, repo, trials.File{Name: "the series", Text: checkedOut}, filepath.Join(dir, "checked-out"))
	}
	if err != nil {
		return nil, mailError(ctx, err)
	}
	base := cmp.Or(from.Base, known.Series.Base)
	if base == "" {
		if base, err = baseIn(text, mails); err != nil {
			return nil, err
		}
	}
	if base == "" {
		return nil, ErrNoBase
	}
	if s.Base, err = repo.Resolve(ctx, base); err != nil {
		err = fmt.Errorf("the base of the series: %w", err)
		if from.Base == "" {
			err = mailError(ctx, err)
		}
		return nil, err
	}
	s.Paths, err = pathsOf(s.Patches)
	return s, err
}

// A MailError says what is wrong with a mail, or with what it names. It is
// nothing of this machine's.
type MailError struct{ err error }

func (e *MailError) Error() string { return e.err.Error() }
func (e *MailError) Unwrap() error { return e.err }

// mailError makes what git refused, or found nothing right in, a MailError. What
// this machine refused is none: git ends with 1 where a mail can't be read, and
// with others where git could not do its work.
func mailError(ctx context.Context, err error) error {
	var path *fs.PathError
	var program *exec.Error
	var errno syscall.Errno
	status, ofGit := gitcmd.Status(err)
	if ctx.Err() != nil || errors.As(err, &path) || errors.As(err, &program) || errors.As(err, &errno) || ofGit && status != 1 {
		return err
	}
	return &MailError{err}
}

func readTracking(name string) (t tracking, err error) {
	if name == "" {
		return t, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return t, fmt.Errorf("read b4's record of the series: %w", err)
	}
	defer f.Close() // only read from
	if err := json.NewDecoder(io.LimitReader(f, maxTracking)).Decode(&t); err != nil {
		return t, fmt.Errorf("read b4's record of the series: %w", err)
	}
	for _, commit := range []string{t.Series.Base, t.Series.First} {
		if commit != "" && !gitcmd.IsHash(commit) {
			return t, errors.New("read b4's record of the series: it names a commit by something that is no hash")
		}
	}
	return t, nil
}

// patches are those of the review branch, as a mailbox.
func (t tracking) patches(ctx context.Context, repo *gitcmd.Repo) ([]byte, error) {
	if t.Series.Change == "" || t.Series.First == "" {
		return nil, ErrNothing
	}
	tip, err := repo.Resolve(ctx, reviewBranch+t.Series.Change)
	if err != nil {
		return nil, fmt.Errorf("the patches that b4 has checked out: %w", err)
	}
	out, err := repo.Run(ctx, "format-patch", "--stdout", "--no-signature", "--no-renames", t.Series.First+"^.."+tip+"^")
	if err != nil {
		return nil, fmt.Errorf("the patches that b4 has checked out: %w", err)
	}
	if out == "" {
		return nil, ErrNothing
	}
	return []byte(out), nil
}

var (
	baseCommit = regexp.MustCompile(`(?m)^base-commit:\s*([0-9a-f]{40}|[0-9a-f]{64})\s*$`)
	touched    = regexp.MustCompile(`(?m)^(?:(?:---|\+\+\+) [ab]/([^\t\n]+)|(?:rename|copy) (?:from|to) (.+))$`)
)

// baseIn finds the commit that a mail names as its base, in the mail as it came or
// in the folder where its parts are decoded.
func baseIn(mail []byte, decoded string) (string, error) {
	found := func(text []byte) string {
		if m := baseCommit.FindSubmatch(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))); m != nil {
			return string(m[1])
		}
		return ""
	}
	if base := found(mail); base != "" {
		return base, nil
	}
	parts, err := os.ReadDir(decoded)
	if err != nil {
		return "", fmt.Errorf("read the mail: %w", err)
	}
	for _, p := range parts {
		if p.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(decoded, p.Name()))
		if err != nil {
			return "", fmt.Errorf("read the mail: %w", err)
		}
		if base := found(text); base != "" {
			return base, nil
		}
	}
	return "", nil
}

func pathsOf(patches []trials.Patch) ([]string, error) {
	var out []string
	for _, p := range patches {
		text, err := os.ReadFile(p.Path)
		if err != nil {
			return nil, fmt.Errorf("read the series: %w", err)
		}
		for _, m := range touched.FindAllStringSubmatch(string(text), -1) {
			if name := strings.TrimSpace(m[1] + m[2]); filepath.IsLocal(name) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
