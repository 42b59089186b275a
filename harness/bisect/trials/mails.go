package trials

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// A Patch is one of a user's patches.
type Patch struct {
	Path string // where git apply can read it
	Name string // for people, after the user's file: "mail 2, \"[PATCH 1/2] dm: x\""; "" of a file that is no mail

	file    File
	subject string
	number  int // of a series; 0 of none
	of      int
	version int
	flowed  bool   // sent as format=flowed, which is no form for patches
	plain   string // of one: the patch in another file, read as if it were not
}

// ErrNoPatch says that there is none.
var ErrNoPatch = errors.New("there is no patch in it")

// diffBegins finds a diff: one that only renames has no lines.
var diffBegins = regexp.MustCompile(`(?m)^(\+\+\+ |diff --git )`)

// Patches takes the patches out of a mail or a mailbox, so that what a mail
// does to a text (quoted-printable, base64, line ends, attachments) is undone.
// Those of a series come in its order. A plain patch stays as it is, but for
// the line ends of another system. dir is a folder for them. notes say what a
// user should know of what was found.
func Patches(ctx context.Context, repo *gitcmd.Repo, file File, dir string) (out []Patch, notes []string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", file.Name, err)
	}
	body := unixLines(file.Text)
	if len(bytes.TrimSpace(body)) == 0 { // for git, an error
		return nil, nil, fmt.Errorf("%s: %w", file.Name, ErrNoPatch)
	}
	for _, plain := range []string{"diff ", "--- ", "Index: "} {
		if bytes.HasPrefix(body, []byte(plain)) {
			path, err := putFile(dir, "0001-"+file.Name, body)
			return []Patch{{Path: path, file: file}}, nil, err
		}
	}
	mails := filepath.Join(dir, "mails")
	if err := os.MkdirAll(mails, 0o755); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", file.Name, err)
	}
	box, err := putFile(dir, "mbox", body)
	if err != nil {
		return nil, nil, err
	}
	if _, err := repo.Run(ctx, "mailsplit", "-b", "-o"+mails, "--", box); err != nil {
		return nil, nil, fmt.Errorf("read the mails in %s: %w", file.Name, err)
	}
	entries, err := os.ReadDir(mails)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", file.Name, err)
	}
	for i, e := range entries {
		mail, err := os.ReadFile(filepath.Join(mails, e.Name()))
		if err != nil {
			return nil, nil, fmt.Errorf("read %s: %w", file.Name, err)
		}
		p := patchIn(mail)
		p.Path, p.file = filepath.Join(dir, e.Name()+".patch"), file
		p.Name = fmt.Sprintf("mail %d", i+1)
		if p.subject != "" {
			p.Name += fmt.Sprintf(", %q", text.OneLine(p.subject))
		}
		// Line ends in what was encoded are the mail's, not the patch's.
		read := func(mail []byte, into string) error {
			if _, err := repo.RunInput(ctx, bytes.NewReader(mail), "mailinfo", "--quoted-cr=strip", filepath.Join(dir, e.Name()+".msg"), into); err != nil {
				return fmt.Errorf("read mail %s of %s: %w", e.Name(), file.Name, err)
			}
			return nil
		}
		err = read(mail, p.Path)
		if p.flowed {
			// Some mail programs say so and send the lines as they are.
			p.plain = filepath.Join(dir, e.Name()+".plain")
			err = errors.Join(err, read(flowedType.ReplaceAll(mail, []byte("${1}fixed")), p.plain))
		}
		if err != nil {
			return nil, nil, err
		}
		text, err := os.ReadFile(p.Path)
		if err != nil {
			return nil, nil, fmt.Errorf("read %s: %w", file.Name, err)
		}
		if diffBegins.Match(text) { // not in a cover letter
			out = append(out, p)
		}
	}
	// Git does not say when it could not write all of a mail or of its patch. What
	// filled the disk leaves no room now.
	if room, err := putFile(dir, "room", body); err != nil {
		return nil, nil, err
	} else if err := os.Remove(room); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", file.Name, err)
	}
	if len(out) == 0 {
		return nil, nil, fmt.Errorf("%s: %w", file.Name, ErrNoPatch)
	}
	return inOrder(file.Name, out)
}

// unixLines is a text without the line ends of another system, where every
// line has them: a patch to a file with such lines has its own without.
func unixLines(s []byte) []byte {
	if n := bytes.Count(s, []byte("\n")); n > 0 && n == bytes.Count(s, []byte("\r\n")) {
		return bytes.ReplaceAll(s, []byte("\r\n"), []byte("\n"))
	}
	return s
}

var (
	patchTag    = regexp.MustCompile(`(?i)\[[^\]]*\bPATCH\b[^\]]*\]`)
	patchNumber = regexp.MustCompile(`\b0*([0-9]{1,4})/0*([0-9]{1,4})\b`)
	versionTag  = regexp.MustCompile(`(?i)\bv([0-9]{1,3})\b`)
	replied     = regexp.MustCompile(`(?i)^\s*(re|aw|sv|antw|fwd?)\s*:`)
	flowedType  = regexp.MustCompile(`(?i)((?:^|\n)content-type:[^\n]*(?:\n[ \t][^\n]*)*format\s*=\s*"?)flowed`)
)

// patchIn is what a mail's header says of the patch in it.
func patchIn(text []byte) Patch {
	p := Patch{flowed: flowedType.Match(text), version: 1}
	if bytes.HasPrefix(text, []byte("From ")) { // of the mailbox
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	m, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		return p // git reads more than is right
	}
	p.subject = m.Header.Get("Subject")
	if plain, err := new(mime.WordDecoder).DecodeHeader(p.subject); err == nil {
		p.subject = plain
	}
	tag := patchTag.FindString(p.subject)
	if n := patchNumber.FindStringSubmatch(tag); n != nil {
		p.number, _ = strconv.Atoi(n[1]) // digits
		p.of, _ = strconv.Atoi(n[2])
	}
	if v := versionTag.FindStringSubmatch(tag); v != nil {
		p.version, _ = strconv.Atoi(v[1])
	}
	return p
}

// inOrder puts patches into the order of their series; of a thread, answers
// with a patch in them are left out where there are others.
func inOrder(name string, all []Patch) (out []Patch, notes []string, err error) {
	for _, p := range all {
		if !replied.MatchString(p.subject) {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		out = all
	}
	if n := len(all) - len(out); n > 0 {
		notes = append(notes, fmt.Sprintf("%s: %d answers with a patch in them are left out", name, n))
	}
	series := out[0]
	for _, p := range out {
		if p.number == 0 || p.of != series.of {
			if series.number > 0 || p.number > 0 {
				notes = append(notes, name+": not all of it is of one series: its patches are applied in the order of the file")
			}
			return out, notes, nil
		}
		if p.version != series.version {
			return nil, nil, fmt.Errorf("%s: it has versions %d and %d of a series (%s; %s): leave one of them in it", name, series.version, p.version, series.Name, p.Name)
		}
	}
	slices.SortStableFunc(out, func(a, b Patch) int { return a.number - b.number })
	for i := 1; i < len(out); i++ {
		if out[i].number != out[i-1].number {
			continue
		}
		a, err1 := os.ReadFile(out[i-1].Path)
		b, err2 := os.ReadFile(out[i].Path)
		if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
			return nil, nil, fmt.Errorf("%s: it has patch %d/%d twice (%s; %s): leave one of them in it", name, out[i].number, out[i].of, out[i-1].Name, out[i].Name)
		}
		out = slices.Delete(out, i, i+1) // the same mail by two ways
		i--
	}
	if len(out) > 1 || series.of > 1 {
		for n := 1; n <= series.of; n++ {
			if !slices.ContainsFunc(out, func(p Patch) bool { return p.number == n }) {
				notes = append(notes, fmt.Sprintf("%s: patch %d/%d of the series is not in it", name, n, series.of))
				if len(notes) > 5 {
					break
				}
			}
		}
	}
	return out, notes, nil
}
