package review

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

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
// those that b4 has checked out in the repository. dir is a folder for them.
func Read(ctx context.Context, repo *gitcmd.Repo, from Source, dir string) (*Series, error) {
	text, err := io.ReadAll(io.LimitReader(from.Mail, maxMail+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the mail: %w", err)
	case len(text) > maxMail:
		return nil, fmt.Errorf("the mail has more than %d bytes", maxMail)
	}
	known, err := readTracking(from.Tracking)
	if err != nil {
		return nil, err
	}
	if !hasPatch(text) {
		if text, err = known.patches(ctx, repo, text); err != nil {
			return nil, err
		}
	}
	s := &Series{}
	if s.Patches, s.Notes, err = trials.Patches(ctx, repo, trials.File{Name: "series", Text: text}, filepath.Join(dir, "patches")); err != nil {
		return nil, err
	}
	base := cmp.Or(from.Base, known.Series.Base, baseIn(text))
	if base == "" {
		return nil, ErrNoBase
	}
	if s.Base, err = repo.Resolve(ctx, base); err != nil {
		return nil, fmt.Errorf("the base of the series: %w", err)
	}
	s.Paths, err = pathsOf(s.Patches)
	return s, err
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
func (t tracking) patches(ctx context.Context, repo *gitcmd.Repo, mail []byte) ([]byte, error) {
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

// hasPatch tells whether a mail or mailbox can have a patch in it: one that is
// encoded does not show it.
func hasPatch(mail []byte) bool {
	return bytes.Contains(mail, []byte("\n+++ ")) || bytes.HasPrefix(mail, []byte("+++ ")) ||
		encoded.Match(mail)
}

var (
	encoded    = regexp.MustCompile(`(?im)^content-transfer-encoding:\s*(base64|quoted-printable)`)
	baseCommit = regexp.MustCompile(`(?m)^base-commit:\s*([0-9a-f]{40}|[0-9a-f]{64})\s*$`)
	touched    = regexp.MustCompile(`(?m)^(?:---|\+\+\+) [ab]/([^\t\n]+)`)
)

func baseIn(mail []byte) string {
	if m := baseCommit.FindSubmatch(bytes.ReplaceAll(mail, []byte("\r\n"), []byte("\n"))); m != nil {
		return string(m[1])
	}
	return ""
}

func pathsOf(patches []trials.Patch) ([]string, error) {
	var out []string
	for _, p := range patches {
		text, err := os.ReadFile(p.Path)
		if err != nil {
			return nil, fmt.Errorf("read the series: %w", err)
		}
		for _, m := range touched.FindAllStringSubmatch(string(text), -1) {
			if name := strings.TrimSpace(m[1]); filepath.IsLocal(name) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
