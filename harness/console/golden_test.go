package console

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite what the golden logs expect")

// A golden log is a kernel log with a header that ends in a line "---":
//
//	kernel: 6.18.15+deb14-amd64       where the log is from; kept by -update
//	case: lvm-mirror pread +32 8192   what was done; kept by -update
//	text between: yes                 not each line is a kernel's or a program's; kept
//	forms: none                       the file can't be quoted and the like; kept
//	release: 6.18.15+deb14-amd64      from here on rewritten by -update
//	warn "WARNING in bio_add_page" block/bio.c:1044 lines 3-40 x1 cpu 0 …
//	  trace: do_region dispatch_io ?bio_get_page
//	---
//
// Lines are counted from the one after "---". Any file *.log in a folder of
// testdata may be one.
type golden struct {
	path string
	kept []string
	want string
	body []byte
}

func readGolden(t testing.TB, path string) golden {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, body, ok := bytes.Cut(text, []byte("\n---\n"))
	if !ok {
		t.Fatalf("%s: no line --- ends its header", path)
	}
	g := golden{path: path, body: body}
	lines := strings.Split(string(head), "\n")
	for len(lines) > 0 && !strings.HasPrefix(lines[0], "release: ") && lines[0] != "release:" {
		g.kept = append(g.kept, lines[0])
		lines = lines[1:]
	}
	g.want = strings.Join(lines, "\n")
	for _, key := range []string{"kernel: ", "case: "} {
		if !strings.Contains(string(head), key) {
			t.Errorf("%s: header without %q", path, key)
		}
	}
	return g
}

func goldens(t testing.TB) []golden {
	t.Helper()
	var all []golden
	for _, dir := range []string{"golden", "boots"} {
		paths, err := filepath.Glob(filepath.Join("testdata", dir, "*.log"))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			all = append(all, readGolden(t, p))
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d golden logs", len(all))
	}
	return all
}

// describe writes what a scanner found in the form of a golden header.
func describe(release string, findings []Finding) string {
	var b strings.Builder
	fmt.Fprintf(&b, "release: %s", release)
	for _, f := range findings {
		fmt.Fprintf(&b, "\n%s %q", f.Kind, f.Title)
		if f.Place != "" {
			fmt.Fprintf(&b, " %s", f.Place)
		}
		fmt.Fprintf(&b, " lines %d-%d x%d", f.Line, f.LastLine, f.Count)
		if f.CPU != nil {
			fmt.Fprintf(&b, " cpu %d", *f.CPU)
		}
		if f.PID != 0 || f.Comm != "" {
			fmt.Fprintf(&b, " pid %d comm %q", f.PID, f.Comm)
		}
		if f.Workqueue != "" {
			fmt.Fprintf(&b, " workqueue %q", f.Workqueue)
		}
		if f.Release != "" {
			fmt.Fprintf(&b, " release %s", f.Release)
		}
		if f.Boot > 0 {
			fmt.Fprintf(&b, " boot %d", f.Boot)
		}
		if f.Tainted != "" {
			fmt.Fprintf(&b, " tainted %q", f.Tainted)
		}
		for _, x := range []struct {
			is   bool
			name string
		}{{f.Consequence, "consequence"}, {f.Cut, "cut"}, {f.Interleaved, "interleaved"}, {f.Baseline, "baseline"}} {
			if x.is {
				b.WriteString(" " + x.name)
			}
		}
		if len(f.Trace) > 0 {
			b.WriteString("\n  trace:")
			for _, fr := range f.Trace {
				b.WriteString(" ")
				if !fr.Reliable {
					b.WriteString("?")
				}
				b.WriteString(fr.Func)
				if fr.Inlined {
					b.WriteString("(inlined)")
				}
				if fr.Module != "" {
					b.WriteString("[" + fr.Module + "]")
				}
				if fr.File != "" {
					fmt.Fprintf(&b, "(%s:%d)", fr.File, fr.SrcLine)
				}
			}
		}
	}
	return b.String()
}

func scan(body []byte, opts ...Option) *Scanner {
	s := NewScanner(opts...)
	s.Write(body)
	s.Close()
	return s
}

// Given a golden log, when it is read, then it says what its header says.
func TestGolden(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(filepath.Base(g.path), func(t *testing.T) {
			s := scan(g.body)
			got := describe(s.Release(), s.Findings())
			if *update {
				head := strings.Join(append(g.kept, got), "\n")
				text := append([]byte(head+"\n---\n"), g.body...)
				if err := os.WriteFile(g.path, text, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(strings.Split(g.want, "\n"), strings.Split(got, "\n")); d != "" {
				t.Error(d)
			}
			if s.KernelLines() == 0 {
				t.Error("no kernel line")
			}
		})
	}
}
