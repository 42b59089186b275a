package debian

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lists writes the suites that blockrig would use given these apt sources.
func lists(t *testing.T, suites []string, files map[string]string) (string, []string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sources, err := readSources([]string{filepath.Join(dir, "missing"), dir})
	if err != nil {
		t.Fatal(err)
	}
	var a archives
	a.main, _ = pickArchive(sources, false)
	a.security, _ = pickArchive(sources, true)
	var list string
	var without []string
	for _, suite := range suites {
		text := a.write(suite)
		if text == "" {
			without = append(without, suite)
		}
		list += text
	}
	return list, without
}

func stanza(uri, suite, fields string) string {
	return "Types: deb\nURIs: " + uri + "\nSuites: " + suite + "\nComponents: main\nArchitectures: amd64\nLanguages: none\nTargets: Packages\n" + fields
}

func TestSourcesSwapOnlyTheSuite(t *testing.T) {
	const debianKey = "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\nCheck-Valid-Until: no\n"
	const ownKey = "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abcd\n -----END PGP PUBLIC KEY BLOCK-----\n"
	tests := map[string]struct {
		files   map[string]string
		want    string
		without []string
	}{
		"deb822": {
			files: map[string]string{"debian.sources": `# comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Architectures: arm64
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
Check-Valid-Until: no

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abcd
 -----END PGP PUBLIC KEY BLOCK-----
`},
			want: stanza("http://mirror.example/debian", "sid", debianKey) + stanza("http://mirror.example/debian-security", "trixie-security", ownKey) +
				stanza("http://mirror.example/debian", "trixie", debianKey),
		},
		"one-line with options": {
			files: map[string]string{"debian.list": "# deb http://off.example/debian sid main\n" +
				"deb-src http://src.example/debian trixie main\n" +
				"deb [ arch=arm64 signed-by=/etc/k.gpg trusted=yes ] https://mirror.example/debian/ trixie main # end\n"},
			want: stanza("https://mirror.example/debian/", "sid", "Signed-By: /etc/k.gpg\nTrusted: yes\n") +
				stanza("https://mirror.example/debian/", "trixie", "Signed-By: /etc/k.gpg\nTrusted: yes\n"),
			without: []string{"trixie-security"},
		},
		"another vendor's bookworm main is not Debian's": {
			files: map[string]string{
				"a.list":         "deb https://vendor.example/debian/12/prod bookworm main\n",
				"debian.list":    "deb http://mirror.example/debian bookworm main\n",
				"pgdg.list":      "deb http://pg.example/pub/debian bookworm-pgdg main\n",
				"ignored.backup": "deb http://no.example/debian bookworm main\n",
			},
			want:    stanza("http://mirror.example/debian", "sid", "") + stanza("http://mirror.example/debian", "trixie", ""),
			without: []string{"trixie-security"},
		},
		"disabled, or not Debian": {
			files: map[string]string{
				"off.sources": "Types: deb\nURIs: http://mirror.example/debian\nSuites: sid\nComponents: main\nEnabled: no\n",
				"ubuntu.list": "deb http://mirror.example/ubuntu noble main\n",
			},
			want:    "",
			without: []string{"sid", "trixie-security", "trixie"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, without := lists(t, []string{"sid", "trixie-security", "trixie"}, test.files)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("source list (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.without, without); diff != "" {
				t.Errorf("suites without a mirror (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBrokenSourcesNameFileAndLine(t *testing.T) {
	for file, text := range map[string]string{
		"a.list":    "\ndeb [signed-by=/x http://mirror.example/debian sid main\n",
		"b.list":    "\ndeb http://mirror.example/debian\n",
		"c.sources": "Types: deb\nwhat is this\n",
		"d.sources": "\n continued\n",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readSources([]string{dir}); err == nil || !strings.Contains(err.Error(), path+":2: ") {
			t.Errorf("%s: error %v, want one that names %s:2", file, err, path)
		}
	}
}

func TestTrustInTheMachinesMirrorIsNoneInAnother(t *testing.T) {
	fields := []field{
		{"Signed-By", "/machine.gpg"},
		{"trusted", "yes"},
		{"Allow-Insecure", "yes"},
		{"Allow-Weak", "yes"},
		{"Allow-Downgrade-To-Insecure", "yes"},
	}
	sources := []source{
		{uri: "https://m.example/debian", suites: []string{"trixie"}, components: []string{"main"}, fields: fields},
		{uri: "https://m.example/debian-security", suites: []string{"trixie-security"}, components: []string{"main"}, fields: fields},
	}
	for name, c := range map[string]struct {
		cfg  Config
		want []field
	}{
		"its own mirror":    {Config{}, fields},
		"a keyring":         {Config{Keyring: "/mine.gpg"}, []field{{"Signed-By", "/mine.gpg"}}},
		"an archive of old": {Config{At: "20200101T000000Z", Snapshot: "http://s.example"}, []field{{"Signed-By", "/machine.gpg"}, {"Check-Valid-Until", "no"}}},
	} {
		arch := (&Apt{cfg: c.cfg}).archives(sources)
		for _, got := range []source{arch.main, arch.security} {
			if !slices.Equal(got.fields, c.want) {
				t.Errorf("%s: %s has %v, want %v", name, got.uri, got.fields, c.want)
			}
		}
	}
}
