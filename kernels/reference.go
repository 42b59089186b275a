package kernels

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Errors that callers tell apart. All of them mean that the request can't be
// met as it is, not that something broke.
var (
	ErrRef      = errors.New("not a kernel reference")
	ErrNotFound = errors.New("no such kernel")
	ErrImage    = errors.New("not a kernel blockrig can boot")
	ErrModules  = errors.New("modules unusable")
	ErrNeed     = errors.New("the kernel lacks what is needed")
	// ErrWithout is the ErrNeed of a kernel that was built without an option: no
	// other request for it would help.
	ErrWithout = fmt.Errorf("%w", ErrNeed)
)

// A reference is a parsed kernel reference. Exactly one of its kinds is set.
type reference struct {
	text   string
	debian *debianRef
	file   *fileRef
	local  string
	git    *GitRef
}

type debianRef struct{ version, suite string }

type fileRef struct{ image, modules, config string }

// A GitRef is a git: reference.
type GitRef struct {
	Repo string // path or address of the repository
	Rev  string // what git rev-parse takes
}

// CutGit takes a git: reference apart, and accepts what Resolve refuses; ok is
// false of what is none.
func CutGit(text string) (ref GitRef, ok bool) {
	rest, ok := strings.CutPrefix(text, "git:")
	i := strings.LastIndexByte(rest, '@')
	if !ok || i < 0 {
		return GitRef{}, false
	}
	return GitRef{rest[:i], rest[i+1:]}, true
}

// String is the reference as it is written.
func (r GitRef) String() string { return "git:" + r.Repo + "@" + r.Rev }

const refForms = "debian:VERSION[@SUITE], file:PATH[,modules=DIR][,config=FILE], local:NAME or git:REPO@REV"

var (
	debianVersionRE = regexp.MustCompile(`^(newest|[0-9][A-Za-z0-9.+~:-]*)$`)
	suiteRE         = regexp.MustCompile(`^[a-z][a-z0-9.+-]*(/updates)?$`)
	nameRE          = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)
)

func parseReference(text string) (reference, error) {
	ref := reference{text: text}
	kind, rest, ok := strings.Cut(text, ":")
	fail := func(format string, args ...any) (reference, error) {
		return ref, fmt.Errorf("%w: %q: %s", ErrRef, text, fmt.Sprintf(format, args...))
	}
	if !ok {
		return fail("want %s", refForms)
	}
	switch kind {
	case "debian":
		version, suite, named := strings.Cut(rest, "@")
		if !debianVersionRE.MatchString(version) {
			return fail("the version is to be newest, a prefix such as 6.18, or exact such as 6.18.15")
		}
		if named && !suiteRE.MatchString(suite) {
			return fail("after @ comes a suite, such as sid")
		}
		ref.debian = &debianRef{version, suite}
	case "file":
		f, err := parseFile(rest)
		if err != nil {
			return fail("%s", err)
		}
		ref.file = f
	case "local":
		if !nameRE.MatchString(rest) {
			return fail("a name has letters, digits, dot, dash, plus and underscore")
		}
		ref.local = rest
	case "git":
		git, ok := CutGit(text)
		if !ok {
			return fail("want git:REPO@REV")
		}
		ref.git = &git
		for _, part := range []string{ref.git.Repo, ref.git.Rev} {
			if part == "" {
				return fail("want git:REPO@REV")
			}
			// What git would take for an option or for a remote helper
			// that runs a program (gitremote-helpers(7)).
			if strings.HasPrefix(part, "-") || strings.Contains(part, "::") {
				return fail("%q is refused: git could take it for something else", part)
			}
		}
	default:
		return fail("want %s", refForms)
	}
	return ref, nil
}

// parseFile splits at ",modules=" and ",config=" only, so that a path may
// hold other commas.
func parseFile(text string) (*fileRef, error) {
	f := &fileRef{}
	into := &f.image
	for i, part := range strings.Split(text, ",") {
		key, value, _ := strings.Cut(part, "=")
		switch {
		case i > 0 && key == "modules" && f.modules == "":
			into, f.modules = &f.modules, value
		case i > 0 && key == "config" && f.config == "":
			into, f.config = &f.config, value
		case i > 0 && (key == "modules" || key == "config"):
			return nil, fmt.Errorf("%s= is there twice", key)
		case i > 0:
			*into += "," + part
			continue
		default:
			f.image = part
		}
		if *into == "" {
			return nil, errors.New("a path is missing; want file:PATH[,modules=DIR][,config=FILE]")
		}
	}
	for _, p := range []*string{&f.image, &f.modules, &f.config} {
		if err := makeAbsolute(p); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func makeAbsolute(path *string) error {
	if *path == "" {
		return nil
	}
	if rest, ok := strings.CutPrefix(*path, "~/"); ok { // no shell expands it after "file:"
		home, err := os.UserHomeDir()
		if err != nil {
			return err
		}
		*path = filepath.Join(home, rest)
	}
	abs, err := filepath.Abs(*path)
	if err != nil {
		return err
	}
	*path = abs
	return nil
}
