package debian

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// A Package is one version of a package in one suite.
type Package struct {
	Name    string
	Version string
	Suite   string // as named in Config.Suites
	Arch    string // amd64 or all
	Depends string // Pre-Depends and Depends, as they stand in the list
	Size    int64  // of the .deb, in bytes
	SHA256  string // of the .deb, hex
}

// file is the name that apt gives the package's file.
func (p Package) file() string {
	return p.Name + "_" + strings.ReplaceAll(p.Version, ":", "%3a") + "_" + p.Arch + ".deb"
}

// Names and versions go into command lines and file names, so nothing but
// what policy allows is let in (deb-control(5), deb-version(7)).
var (
	nameRE    = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	versionRE = regexp.MustCompile(`^[0-9][A-Za-z0-9.+:~-]*$`)
	suiteRE   = regexp.MustCompile(`^[a-z][a-z0-9.+-]*(/updates)?$`)
	sha256RE  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// packages adds to found the packages of a list whose name is wanted.
func (l list) packages(found []Package, wanted func(name []byte) bool) ([]Package, error) {
	err := scanList(l.path, func(name, stanza []byte) {
		if wanted(name) {
			if p, ok := parsePackage(stanza, l.suite); ok {
				found = append(found, p)
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read package list of %s: %w", l.suite, err)
	}
	return found, nil
}

// scanList calls fn for each stanza of the package list at path, with the
// package's name and the whole stanza. Both are only valid until fn returns.
func scanList(path string, fn func(name, stanza []byte)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	scan := bufio.NewScanner(f)
	scan.Buffer(make([]byte, 1<<20), 8<<20)
	scan.Split(splitStanzas)
	for scan.Scan() {
		stanza := scan.Bytes()
		rest, ok := bytes.CutPrefix(stanza, []byte("Package: "))
		if !ok {
			continue // an empty line too many
		}
		name, _, _ := bytes.Cut(rest, []byte("\n"))
		fn(name, stanza)
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("read package list %s: %w", path, err)
	}
	return nil
}

func splitStanzas(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.Index(data, []byte("\n\n")); i >= 0 {
		return i + 2, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), bytes.TrimRight(data, "\n"), nil
	}
	return 0, nil, nil
}

// parsePackage gives the package a stanza describes. Stanzas that are not
// sound are not errors of the user's: ok is false and they are left out.
func parsePackage(stanza []byte, suite string) (p Package, ok bool) {
	p.Suite = suite
	var pre, depends, size string
	for line := range strings.SplitSeq(string(stanza), "\n") {
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "Package":
			p.Name = value
		case "Version":
			p.Version = value
		case "Architecture":
			p.Arch = value
		case "Pre-Depends":
			pre = value
		case "Depends":
			depends = value
		case "Size":
			size = value
		case "SHA256":
			p.SHA256 = value
		}
	}
	p.Depends = pre
	if pre != "" && depends != "" {
		p.Depends += ", "
	}
	p.Depends += depends
	var err error
	p.Size, err = strconv.ParseInt(size, 10, 64)
	ok = err == nil && p.Size > 0 && nameRE.MatchString(p.Name) && versionRE.MatchString(p.Version) &&
		sha256RE.MatchString(p.SHA256) && (p.Arch == "amd64" || p.Arch == "all")
	return p, ok
}
