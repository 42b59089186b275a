package kernels

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseReference(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]reference{
		"debian:newest":                  {debian: &debianRef{"newest", ""}},
		"debian:6.18":                    {debian: &debianRef{"6.18", ""}},
		"debian:6.18.15@sid":             {debian: &debianRef{"6.18.15", "sid"}},
		"debian:7.3~rc7-1~exp1":          {debian: &debianRef{"7.3~rc7-1~exp1", ""}},
		"debian:6.18.15+deb13-amd64":     {debian: &debianRef{"6.18.15+deb13-amd64", ""}},
		"debian:newest@trixie-backports": {debian: &debianRef{"newest", "trixie-backports"}},
		"file:/boot/vmlinuz":             {file: &fileRef{image: "/boot/vmlinuz"}},
		"file:bzImage":                   {file: &fileRef{image: filepath.Join(here, "bzImage")}},
		"file:~/bzImage":                 {file: &fileRef{image: filepath.Join(home, "bzImage")}},
		"file:/a,modules=/m,config=/c":   {file: &fileRef{image: "/a", modules: "/m", config: "/c"}},
		"file:/a,b,config=/c,d":          {file: &fileRef{image: "/a,b", config: "/c,d"}},
		"local:mine-6.18":                {local: "mine-6.18"},
		"git:user@host:linux@v6.18":      {git: &GitRef{"user@host:linux", "v6.18"}},
	} {
		want.text = text
		got, err := parseReference(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(reference{}, debianRef{}, fileRef{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	for _, text := range []string{
		"", "6.18", "debian:", "debian:sid", "debian:6.18@", "debian:6.18@SID", "debian:6.18\n", "debian:../x", "fedora:6.18",
		"file:", "file:/a,modules=", "file:/a,config=/c,config=/d", "local:", "local:../x", "local:.hidden",
		"git:repo", "git:@v6.18", "git:repo@", "git:--upload-pack=x@v1", "git:repo@--output=x", "git:ext::sh -c x@v1",
	} {
		if ref, err := parseReference(text); !errors.Is(err, ErrRef) {
			t.Errorf("%q: %+v, %v; want ErrRef", text, ref, err)
		}
	}
}
