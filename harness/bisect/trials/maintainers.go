package trials

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/blockrig/blockrig/harness/bisect"
)

// A section is an entry of the kernel's MAINTAINERS file. Its format is
// described at that file's beginning and, as to how patterns match, by
// scripts/get_maintainer.pl. A file comes with the sources under test: it is
// data, and that script is never run.
type section struct {
	title                        string
	maintainers, reviewers, list []string
	files, excluded              []string
	names                        []*regexp.Regexp // N:
	matched                      int              // files of a change
}

// Bounds on a MAINTAINERS file, whoever wrote it; the kernel's has 2,900
// sections with 13,000 lines in them.
const (
	maxMaintainers = 8 << 20 // bytes
	maxLines       = 100_000
	maxFiles       = 200 // of a change, that are looked for
	maxPeople      = 25  // of a report
)

// readMaintainers reads the sections of a MAINTAINERS file. What it can't read
// it leaves out.
func readMaintainers(text string) []section {
	var out []section
	title := ""
	begun := false // a section, by a line with a letter
	n := 0
	for line := range strings.Lines(text) {
		line = strings.TrimRightFunc(line, unicode.IsSpace)
		kind, value, ok := strings.Cut(line, ":")
		if !ok || len(kind) != 1 || kind[0] < 'A' || kind[0] > 'Z' {
			title, begun = line, false
			continue
		}
		if n++; n > maxLines {
			break
		}
		if !begun {
			out = append(out, section{title: title})
			begun = true
		}
		out[len(out)-1].add(kind[0], strings.TrimSpace(value))
	}
	return out
}

func (s *section) add(kind byte, value string) {
	into := map[byte]*[]string{'M': &s.maintainers, 'R': &s.reviewers, 'L': &s.list, 'F': &s.files, 'X': &s.excluded}[kind]
	switch {
	case kind == 'N':
		// Perl's expressions; where Go has another idea of one it is left out.
		if re, err := regexp.Compile(value); err == nil {
			s.names = append(s.names, re)
		}
	case into == nil:
	case kind == 'M' || kind == 'R' || kind == 'L':
		if kind == 'L' {
			value, _, _ = strings.Cut(value, " ") // "(moderated for non-subscribers)"
		}
		if who := mailbox(value); who != "" {
			*into = append(*into, who)
		}
	default:
		*into = append(*into, value)
	}
}

// covers tells whether a file belongs to the section.
func (s *section) covers(file string) bool {
	fits := func(pattern string) bool { return fileMatches(pattern, file) }
	if slices.ContainsFunc(s.excluded, fits) {
		return false
	}
	return slices.ContainsFunc(s.files, fits) || slices.ContainsFunc(s.names, func(re *regexp.Regexp) bool { return re.MatchString(file) })
}

// fileMatches tells whether a pattern of F: or X: covers a file: "a/b/" all
// below that folder, "a/b/*" and every other one files of that depth only.
func fileMatches(pattern, file string) bool {
	parts, of := strings.Split(strings.TrimSuffix(pattern, "/"), "/"), strings.Split(file, "/")
	below := strings.HasSuffix(pattern, "/")
	if len(of) < len(parts) || below && len(of) == len(parts) {
		return false
	}
	for i, p := range parts {
		if ok, err := path.Match(p, of[i]); err != nil || !ok {
			return false
		}
	}
	// A folder may be named without the slash.
	return below || len(of) == len(parts) || !strings.ContainsAny(parts[len(parts)-1], "*?[")
}

// theRest is the section that covers every file.
func (s *section) theRest() bool { return slices.Contains(s.files, "*/") }

// peopleOf are those to write to about a change of these files: the sections
// that cover most of them come first.
func peopleOf(maintainers string, files []string) bisect.People {
	var found []section
	all := readMaintainers(maintainers)
	files = files[:min(len(files), maxFiles)]
	for _, s := range all {
		for _, f := range files {
			if s.covers(f) {
				s.matched++
			}
		}
		if s.matched > 0 && !s.theRest() {
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(a, b section) int { return cmp.Compare(b.matched, a.matched) })
	if len(found) == 0 {
		for _, s := range all {
			if s.theRest() && len(files) > 0 {
				found = append(found, section{list: s.list})
			}
		}
	}
	var p bisect.People
	seen := map[string]bool{}
	n := 0
	for _, s := range found {
		for _, l := range []struct{ from, to *[]string }{{&s.maintainers, &p.Maintainers}, {&s.reviewers, &p.Others}, {&s.list, &p.Lists}} {
			for _, who := range *l.from {
				switch {
				case seen[who]:
					continue
				case n == maxPeople:
					p.Left++
				default:
					*l.to = append(*l.to, who)
					n++
				}
				seen[who] = true
			}
		}
	}
	return p
}

var (
	addressSyntax = regexp.MustCompile(`^[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]+@[A-Za-z0-9][A-Za-z0-9.-]*$`)
	namePlain     = regexp.MustCompile(`^[^()<>\[\]:;@\\,."]+$`)
)

// mailbox is "Name <address>" or an address as a header can have it; "" of
// what is neither. It may come from anywhere: no control code, nor anything
// that ends the field, is in it.
func mailbox(s string) string {
	name, address := "", strings.TrimSpace(s)
	if i := strings.LastIndexByte(s, '<'); i >= 0 {
		name = strings.Join(strings.Fields(strings.Trim(strings.TrimSpace(s[:i]), `"`)), " ")
		address, _, _ = strings.Cut(s[i+1:], ">")
		address = strings.TrimSpace(address)
	}
	if len(s) > 200 || !addressSyntax.MatchString(address) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	switch {
	case name == "":
		return address
	case !namePlain.MatchString(name):
		name = `"` + strings.NewReplacer(`\`, "", `"`, "").Replace(name) + `"`
	}
	return name + " <" + address + ">"
}
