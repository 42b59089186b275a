package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A file is installed.
type file struct {
	to   string // below /usr, or where else a release is unpacked
	from string
	mode fs.FileMode
	only string // "deb" or "rpm", where but one of them has it there
}

const (
	docs  = "share/doc/blockrig/"
	units = "lib/systemd/"
)

// shells are where a completion script is looked for.
var shells = []struct{ shell, to, only string }{
	{"bash", "share/bash-completion/completions/blockrig", ""},
	{"zsh", "share/zsh/site-functions/_blockrig", "rpm"},
	{"zsh", "share/zsh/vendor-completions/_blockrig", "deb"},
	{"fish", "share/fish/vendor_completions.d/blockrig.fish", ""},
}

// copied are files of the checkout.
var copied = []struct{ from, to string }{
	{"contrib/blockrig-nightly.service", units + "user/"},
	{"contrib/blockrig-nightly.timer", units + "user/"},
	{"contrib/blockrig-hub.service", units + "system/"},
	{"contrib/blockrig-worker.service", units + "system/"},
	{"README.md", docs},
	{"scenarios/README.md", docs + "scenarios/"},
	{"scenarios/MUSEUM.md", docs + "scenarios/"},
	{"contrib/Containerfile", docs + "examples/"},
	{"contrib/github-nightly.yaml", docs + "examples/"},
	{"contrib/gitlab-nightly.yaml", docs + "examples/"},
}

// files makes what is installed, in the order of their places.
func (b build) files(ctx context.Context, work string) ([]file, error) {
	var all []file
	for _, f := range copied {
		all = append(all, file{to: f.to + filepath.Base(f.from), from: f.from, mode: 0o644})
	}
	all = append(all, file{to: "lib/sysusers.d/blockrig.conf", from: "contrib/blockrig.sysusers", mode: 0o644})
	// write puts what was made here where files come from.
	write := func(to, only string, data []byte) error {
		from := filepath.Join(work, "made", filepath.FromSlash(to))
		if err := os.MkdirAll(filepath.Dir(from), 0o755); err != nil {
			return err
		}
		all = append(all, file{to: to, from: from, mode: 0o644, only: only})
		return os.WriteFile(from, data, 0o644)
	}
	command, manual := filepath.Join(work, "blockrig"), filepath.Join(work, "manual")
	for to, tags := range map[string]string{command: "", manual: "man"} {
		if err := b.goBuild(ctx, to, tags); err != nil {
			return nil, err
		}
	}
	all = append(all, file{to: "bin/blockrig", from: command, mode: 0o755})
	for _, s := range shells {
		script, err := b.run(ctx, command, "completion", s.shell)
		if err == nil {
			err = write(s.to, s.only, []byte(script))
		}
		if err != nil {
			return nil, err
		}
	}
	for verb, add := range map[string]func(name string, page []byte) error{
		"man": func(name string, page []byte) error {
			return write("share/man/man1/"+name+".gz", "", packed(page))
		},
		"docs": func(name string, page []byte) error { return write(docs+"verbs/"+name, "", page) },
	} {
		dir := filepath.Join(work, verb)
		if _, err := b.run(ctx, manual, verb, dir); err != nil {
			return nil, err
		}
		pages, err := filesIn(dir)
		if err != nil {
			return nil, err
		}
		for _, name := range pages {
			page, err := os.ReadFile(filepath.Join(dir, name))
			if err == nil {
				err = add(name, page)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	license, err := os.ReadFile("LICENSE")
	if err != nil {
		return nil, err
	}
	notices, err := b.notices(ctx)
	if err != nil {
		return nil, err
	}
	for _, text := range []struct {
		to, only string
		data     []byte
	}{
		{docs + "copyright", "deb", []byte(copyright)},
		{docs + "changelog.gz", "deb", packed([]byte(b.changelog()))},
		{docs + "LICENSE", "rpm", license},
		{docs + "NOTICES.gz", "", packed(notices)},
	} {
		if err := write(text.to, text.only, text.data); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b file) int { return cmp.Compare(a.to, b.to) })
	return all, nil
}

// packed is gzip's, without a time or a name.
func packed(data []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // the level is one, and memory takes everything
	}
	return out.Bytes()
}

const copyright = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: blockrig
Source: https://github.com/blockrig/blockrig

Files: *
Copyright: 2026 the authors of blockrig
License: Apache-2.0
 On Debian systems, the license is in /usr/share/common-licenses/Apache-2.0.
Comment: The program holds Go packages of others; their licenses are in
 /usr/share/doc/blockrig/NOTICES.gz.
`

// changelog is what Debian's tools want of a package of its own.
func (b build) changelog() string {
	return fmt.Sprintf("blockrig (%s) unstable; urgency=medium\n\n  * Made of commit %s.\n\n -- %s  %s\n",
		b.version, b.revision, maintainer, b.made.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
}

// notices are the licenses of what the program holds.
func (b build) notices(ctx context.Context) ([]byte, error) {
	list, err := b.run(ctx, "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}", "./harness/cmd/blockrig")
	if err != nil {
		return nil, err
	}
	modules := strings.Split(strings.TrimSpace(list), "\n")
	slices.Sort(modules)
	var out bytes.Buffer
	for _, m := range slices.Compact(modules) {
		name, dir, ok := strings.Cut(m, "\t")
		if !ok {
			continue // of a package that is this module's, or Go's
		}
		found, err := licenses(dir)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s has no license in %s", name, dir)
		}
		if strings.HasPrefix(name, "golang.org/x/sys ") {
			name += ", and Go itself" // a GOROOT need not have its license
		}
		for _, path := range found {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&out, "== %s: %s\n\n%s\n\n", name, filepath.Base(path), bytes.TrimSpace(text))
		}
	}
	return out.Bytes(), nil
}

// licenses are the files of a folder that hold one, in order.
func licenses(dir string) (found []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		for _, begin := range []string{"LICENSE", "LICENCE", "UNLICENSE", "COPYING", "NOTICE", "COPYRIGHT", "PATENTS"} {
			if strings.HasPrefix(name, begin) && e.Type().IsRegular() {
				found = append(found, filepath.Join(dir, e.Name()))
				break
			}
		}
	}
	return found, err
}
