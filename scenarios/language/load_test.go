package language

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

func TestShippedScenariosAreSound(t *testing.T) {
	all, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	names, err := Names()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != len(names) || len(all) < 6 {
		t.Fatalf("%d scenarios of %d names", len(all), len(names))
	}
	for i, s := range all {
		if s.Name != names[i] {
			t.Errorf("the file %s.yaml holds the scenario %s", names[i], s.Name)
		}
		if s.File != "" || len(s.Source) == 0 {
			t.Errorf("%s: file %q, %d bytes of source", s.Name, s.File, len(s.Source))
		}
		cases, err := Cases(s, nil)
		if err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		kinds := map[bool]int{}
		for _, c := range cases {
			for _, st := range c.Steps {
				if st.IO != nil {
					kinds[st.IO.Aligned(c.Setup.Require.Alignment())]++
				}
			}
		}
		if strings.HasSuffix(s.Name, "-dio-read") && (kinds[true] == 0 || kinds[false] == 0) {
			t.Errorf("%s: %d aligned and %d misaligned cases; each says nothing without the other", s.Name, kinds[true], kinds[false])
		}
	}
}

func TestLoadTakesANameOrAPath(t *testing.T) {
	dir := t.TempDir()
	src, err := os.ReadFile("testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "mine.yaml")
	if err := os.WriteFile(path, src, 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo.yaml")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("name: bad\nabout: x\nnope: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	s, err := Load("lvm-mirror-dio-read")
	if err != nil || s.Name != "lvm-mirror-dio-read" || s.File != "" {
		t.Errorf("a shipped name gave %+v, %v", s, err)
	}
	s, err = Load(path)
	if err != nil || s.Name != "good" || s.File != path || !bytes.Equal(s.Source, src) {
		t.Errorf("a path gave %+v, %v", s, err)
	}

	for _, tc := range []struct {
		name, arg, want string
		is              error
	}{
		{"a directory", dir, "it is a directory; a scenario is a .yaml file", nil},
		{"the folder one stands in", ".", "it is a directory; a scenario is a .yaml file", nil},
		{"a missing file", filepath.Join(dir, "gone.yaml"), "no such file or directory", os.ErrNotExist},
		{"a FIFO", fifo, "it is no regular file; a scenario is a .yaml file", nil},
		{"a device", "/dev/null", "it is no regular file; a scenario is a .yaml file", nil},
		{"a broken file", bad, bad + `:3: unknown key "nope"`, nil},
		{"a misspelt name", "lvm-miror-dio-read", "did you mean lvm-mirror-dio-read", ErrUnknown},
		{"a part of a name", "linear", "did you mean promise-md-linear or lvm-linear-dio-read?", ErrUnknown},
		{"another name", "zzzz", "there are: lvm-linear-dio-read, lvm-mirror-dio-read,", ErrUnknown},
		{"an empty name", "", "no such scenario", ErrUnknown},
		{"a name with control codes", "\x1b[31m", `\x1b[31m`, ErrUnknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Load(tc.arg)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("got %q, want one line with %q", err, tc.want)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%v is no %v", err, tc.is)
			}
		})
	}
}

func TestLoadOfAFileThatMayNotBeRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "closed.yaml")
	if err := os.WriteFile(path, []byte("name: x\n"), 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		// root reads everything; what else can't be read is a folder in the
		// path that is a file.
		path = filepath.Join(path, "below.yaml")
	}
	_, err := Load(path)
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %q, want one line", err)
	}
}

func FuzzParse(f *testing.F) {
	all, err := Embedded()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range all {
		f.Add(s.Source)
	}
	for file, rows := range map[string][]struct{ name, old, new string }{"testdata/good.yaml": broken, "testdata/wide.yaml": brokenWide, "testdata/old/good.yaml": nil} {
		good, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(good)
		for _, row := range rows {
			f.Add([]byte(strings.Replace(string(good), row.old, row.new, 1)))
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := Parse("fuzz.yaml", src)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || e.Line > bytes.Count(src, []byte("\n"))+1 {
				t.Fatalf("error without a place in the file: %v", err)
			}
			if strings.ContainsAny(err.Error(), "\n\x1b\x00") {
				t.Fatalf("error that is not one harmless line: %q", err)
			}
			return
		}
		cases, err := Cases(s, nil)
		if err != nil || len(cases) == 0 {
			t.Fatalf("accepted, but its cases are %d, %v", len(cases), err)
		}
		var ids []string
		for _, c := range cases {
			ids = append(ids, c.ID)
		}
		again, err := CasesByID(s, ids...)
		if err != nil || !reflect.DeepEqual(again, cases) {
			t.Fatalf("cases %q are not found again: %v", ids, err)
		}
	})
}
