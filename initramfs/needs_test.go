package initramfs

import (
	"debug/elf"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNeedsAreReadFromTheFileItself(t *testing.T) {
	for name, test := range map[string]struct {
		given elfImage
		want  needs
	}{
		"a program": {
			elfImage{interp: "/lib64/ld.so", needed: []string{"libb.so.1", "liba.so.2"}},
			needs{interp: "/lib64/ld.so", sonames: []string{"libb.so.1", "liba.so.2"}},
		},
		"a static program": {elfImage{typ: elf.ET_EXEC}, needs{}},
		"a runpath beside the file": {
			elfImage{needed: []string{"x.so"}, runpath: "$ORIGIN/../lib:/opt/lib/:${ORIGIN}"},
			needs{sonames: []string{"x.so"}, dirs: []string{"/usr/lib", "/opt/lib", "/usr/sbin"}},
		},
		"an rpath": {
			elfImage{needed: []string{"x.so"}, rpath: "/opt/old"},
			needs{sonames: []string{"x.so"}, dirs: []string{"/opt/old"}},
		},
		"a runpath makes an rpath void": {
			elfImage{needed: []string{"x.so"}, rpath: "/opt/old", runpath: "/opt/new"},
			needs{sonames: []string{"x.so"}, dirs: []string{"/opt/new"}},
		},
		"a relative runpath is nobody's": {
			elfImage{needed: []string{"x.so"}, runpath: "lib::.."},
			needs{sonames: []string{"x.so"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readNeeds("usr/sbin/tool", test.given.bytes(t))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(needs{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNeedsOfABadFileAreAnError(t *testing.T) {
	good := elfImage{needed: []string{"liba.so.1"}}.bytes(t)
	for name, test := range map[string]struct {
		given []byte
		want  string
	}{
		"a script":             {[]byte("#!/bin/sh\n"), "is no ELF file"},
		"nothing":              {nil, "is no ELF file"},
		"cut off":              {good[:70], "read usr/sbin/tool"},
		"strings cut off":      {good[:len(good)-70], "read"},
		"another processor":    {elfImage{machine: elf.EM_AARCH64}.bytes(t), "another processor"},
		"a library by path":    {elfImage{needed: []string{"../../etc/shadow"}}.bytes(t), "no file name"},
		"a library of no name": {elfImage{needed: []string{""}}.bytes(t), "no file name"},
		"a relative linker":    {elfImage{interp: "ld.so"}.bytes(t), "without a full path"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readNeeds("usr/sbin/tool", test.given)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
	if _, err := readNeeds("x", []byte("text")); !errors.Is(err, errNotELF) {
		t.Errorf("a text file: %v is not errNotELF", err)
	}
}

func FuzzNeeds(f *testing.F) {
	f.Add(elfImage{interp: "/lib64/ld.so", needed: []string{"liba.so.1"}, runpath: "/x"}.bytes(f))
	f.Add(elfImage{typ: elf.ET_EXEC}.bytes(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := readNeeds("usr/sbin/tool", data)
		if err != nil {
			return
		}
		for _, so := range n.sonames {
			if strings.Contains(so, "/") {
				t.Errorf("soname %q is a path", so)
			}
		}
		if len(strip(data)) > len(data) {
			t.Error("stripping makes a file longer")
		}
	})
}
