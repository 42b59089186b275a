package bisect

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// A Wanted is what a user wants looked for, of all that a failing end shows: a
// verdict such as eio, an errno such as ENOMEM, or a part of a title.
type Wanted struct {
	text    string
	verdict scenarios.Verdict
	errno   string
	title   string // lower case
}

var errnoSyntax = regexp.MustCompile(`^(E[A-Z0-9]+|errno [0-9]+)$`)

// ParseWanted reads one. What can't be seen on any kernel is an error; in
// quotes, anything is a part of a title.
func ParseWanted(s string) (Wanted, error) {
	w := Wanted{text: s}
	plain := strings.TrimSpace(s)
	if n := len(plain); n > 1 && (plain[0] == '"' || plain[0] == '\'') && plain[n-1] == plain[0] {
		if w.title = strings.ToLower(strings.TrimSpace(plain[1 : n-1])); w.title == "" {
			return w, errors.New("an empty title is part of every title")
		}
		return w, nil
	}
	var failures []string
	for _, v := range scenarios.Verdicts {
		if v.Failure() {
			failures = append(failures, string(v))
		}
	}
	v := scenarios.Verdict(plain)
	switch {
	case plain == "":
		return w, fmt.Errorf("want a verdict (%s), an errno or a part of a title", strings.Join(failures, ", "))
	case v.Known() && v.Failure():
		w.verdict = v
	case v.Known() || v == scenarios.Clean:
		return w, fmt.Errorf("%q is no failure; there are %s", plain, strings.Join(failures, ", "))
	case errnoSyntax.MatchString(plain):
		if err := checkErrno(plain); err != nil {
			return w, fmt.Errorf("%w; put a title in quotes", err)
		}
		w.errno = plain
	case !strings.ContainsAny(plain, " _:") && text.DidYouMean(plain, failures) != "":
		return w, fmt.Errorf("%q is no verdict%s; put a title in quotes", plain, text.DidYouMean(plain, failures))
	default:
		w.title = strings.ToLower(plain)
	}
	return w, nil
}

func (w Wanted) String() string { return w.text }

// is tells whether one thing that a trial shows is what is wanted.
func (w Wanted) is(s Signature, o *Outcome) bool {
	switch {
	case w.verdict != "":
		return s.Verdict == w.verdict
	case w.errno == "EIO":
		return s.Verdict == scenarios.EIO
	case w.errno != "":
		return s.Errno == w.errno
	case s.titled() && s.Title != "":
		return strings.Contains(strings.ToLower(s.Title), w.title)
	case s.Verdict != scenarios.Hang && s.Verdict != scenarios.Degraded && !s.titled():
		return false
	}
	// Of a hang, the title says where; of I/O errors, what the kernel said.
	return slices.ContainsFunc(o.Titles, func(t string) bool {
		return strings.Contains(strings.ToLower(t), w.title) &&
			!slices.ContainsFunc(o.shown(), func(s Signature) bool { return s.Title == t })
	})
}

// wants tells whether one thing that a trial shows is wanted; with nothing
// named, everything is.
func (r Rules) wants(s Signature, o *Outcome) bool {
	return len(r.For) == 0 || slices.ContainsFunc(r.For, func(w Wanted) bool { return w.is(s, o) })
}

// namesOf lists what is wanted, for people.
func namesOf(wanted []Wanted) string {
	var list []string
	for _, w := range wanted {
		list = append(list, text.Escape(w.text))
	}
	return strings.Join(list, " and ")
}
