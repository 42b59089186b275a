package initramfs

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/u-root/u-root/pkg/cpio"
)

// contents reads archives that lie one behind the other, as the kernel does.
// Each entry is its name with what it is.
func contents(t testing.TB, data []byte) (entries []string, files map[string]string) {
	t.Helper()
	files = make(map[string]string)
	for len(data) > 0 {
		if len(data)%4 != 0 {
			t.Fatalf("an archive starts %d bytes before the end, which is no multiple of 4", len(data))
		}
		rr := cpio.Newc.Reader(bytes.NewReader(data))
		recs, err := cpio.ReadAllRecords(rr)
		if err != nil {
			t.Fatal(err)
		}
		end := int64(0)
		for _, r := range recs {
			content := make([]byte, r.FileSize)
			if r.FileSize > 0 {
				if _, err := r.ReadAt(content, 0); err != nil {
					t.Fatal(err)
				}
			}
			if r.MTime != 0 || r.UID != 0 || r.GID != 0 || r.Dev != 0 {
				t.Errorf("%s has a time or an owner: %+v", r.Name, r.Info)
			}
			entry := r.Name
			switch r.Mode & cpio.S_IFMT {
			case cpio.S_IFDIR:
				entry += "/"
			case cpio.S_IFLNK:
				entry += " -> " + string(content)
			case cpio.S_IFREG:
				files[r.Name] = string(content)
			}
			entries = append(entries, entry)
			end = (r.FilePos + int64(r.FileSize) + 3) &^ 3
		}
		trailer := bytes.Index(data[end:], []byte(cpio.Trailer))
		if trailer < 0 {
			t.Fatal("no trailer")
		}
		end += int64(trailer+len(cpio.Trailer)+1+3) &^ 3
		data = data[end:]
	}
	return entries, files
}

func written(t testing.TB, tr *tree) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tr.write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestATreeHasAllFoldersAboveItsFilesAndIsSorted(t *testing.T) {
	var tr tree
	for _, name := range []string{"/usr/share/z/y/x", "etc/b", "./etc/a"} {
		if err := tr.file(name, 0o644, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	entries, files := contents(t, written(t, &tr))
	want := []string{"etc/", "etc/a", "etc/b", "usr/", "usr/share/", "usr/share/z/", "usr/share/z/y/", "usr/share/z/y/x"}
	if diff := cmp.Diff(want, entries); diff != "" {
		t.Error(diff)
	}
	if files["etc/a"] != "./etc/a" {
		t.Errorf("etc/a holds %q", files["etc/a"])
	}
}

func TestATreeFollowsTheMergedLayout(t *testing.T) {
	for given, want := range map[string]string{
		"/lib/x86_64-linux-gnu/libc.so.6": "usr/lib/x86_64-linux-gnu/libc.so.6",
		"./sbin/lvm":                      "usr/sbin/lvm",
		"bin/sh":                          "usr/bin/sh",
		"lib64/ld.so":                     "usr/lib64/ld.so",
		"usr/lib/x":                       "usr/lib/x",
		"library/x":                       "library/x",
		"etc/../lib/x":                    "usr/lib/x",
	} {
		got, err := canonical(given)
		if err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", given, got, err, want)
		}
	}
	for _, given := range []string{"..", "../etc/x", "a/../../x", "/", ".", "", "a\x00b"} {
		if got, err := canonical(given); err == nil {
			t.Errorf("%q became %q", given, got)
		}
	}
}

func TestATreeTakesNoTwoDifferentFilesOfAName(t *testing.T) {
	var tr tree
	for _, test := range []struct {
		name, data string
		ok         bool
	}{
		{"lib/a", "1", true},
		{"usr/lib/a", "1", true}, // the same file by its other name
		{"lib/a", "2", false},
	} {
		if err := tr.file(test.name, 0o644, []byte(test.data)); (err == nil) != test.ok {
			t.Errorf("%s with %s: %v", test.name, test.data, err)
		}
	}
	if err := tr.file("usr/lib/a/b", 0o644, nil); err != nil {
		t.Fatal(err)
	}
	if err := tr.write(&bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "no folder") {
		t.Errorf("a file below a file: %v", err)
	}
}

func TestTheSkeletonLinksIntoUsr(t *testing.T) {
	tr, err := skeleton()
	if err != nil {
		t.Fatal(err)
	}
	entries, _ := contents(t, written(t, tr))
	for _, want := range []string{
		"bin -> usr/bin", "lib -> usr/lib", "lib64 -> usr/lib64", "sbin -> usr/sbin", "usr/sbin/",
		"dev/", "dev/console", "dev/null", "proc/", "sys/", "run/", "tmp/",
	} {
		if !strings.Contains("\n"+strings.Join(entries, "\n")+"\n", "\n"+want+"\n") {
			t.Errorf("it has no %q", want)
		}
	}
}

// The kernel makes a folder where a link of that name was, so no member may
// bring a folder that another has as a link.
func TestNoTreeHasAFolderWhereTheSkeletonHasALink(t *testing.T) {
	var tr tree
	for _, name := range []string{"lib/modules/1/x.ko", "/sbin/lvm", "/lib64/ld.so"} {
		if err := tr.file(name, 0o644, nil); err != nil {
			t.Fatal(err)
		}
	}
	entries, _ := contents(t, written(t, &tr))
	for _, e := range entries {
		for _, dir := range mergedDirs {
			if e == dir+"/" {
				t.Errorf("%s is a folder", e)
			}
		}
	}
}

func TestATreeIsWrittenTheSameTwice(t *testing.T) {
	one, two := new(tree), new(tree)
	names := []string{"c", "a/b", "a/a", "z/y/x"}
	for i := range names {
		if err := one.file(names[i], 0o644, []byte(names[i])); err != nil {
			t.Fatal(err)
		}
		j := len(names) - 1 - i
		if err := two.file(names[j], 0o644, []byte(names[j])); err != nil {
			t.Fatal(err)
		}
	}
	first := written(t, one)
	if !bytes.Equal(first, written(t, two)) || !bytes.Equal(first, written(t, one)) {
		t.Error("the same files gave different bytes")
	}
}
