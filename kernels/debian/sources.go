package debian

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A source is one entry of the machine's apt sources.
type source struct {
	uri        string
	suites     []string
	components []string
	fields     []field // all the others, as deb822 fields
}

type field struct{ name, value string }

func (s source) get(name string) string {
	for _, f := range s.fields {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

// readSources reads the named files, and those in the named folders that apt
// would read. What does not exist is left out.
func readSources(paths []string) ([]source, error) {
	var all []source
	for _, path := range paths {
		files := []string{path}
		entries, err := os.ReadDir(path)
		if err == nil {
			files = files[:0]
			for _, e := range entries {
				if ext := filepath.Ext(e.Name()); ext == ".list" || ext == ".sources" {
					files = append(files, filepath.Join(path, e.Name()))
				}
			}
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("read apt sources: %w", err)
			}
			parse := parseOneLine
			if strings.HasSuffix(file, ".sources") {
				parse = parseDeb822
			}
			found, err := parse(file, data)
			if err != nil {
				return nil, fmt.Errorf("read apt sources: %w", err)
			}
			all = append(all, found...)
		}
	}
	return all, nil
}

// oneLineOptions are the options of the one-line format and the deb822 fields
// that mean the same (sources.list(5)). Those that choose what to fetch are
// not among them.
var oneLineOptions = map[string]string{
	"signed-by": "Signed-By", "trusted": "Trusted", "by-hash": "By-Hash", "pdiffs": "PDiffs",
	"allow-insecure": "Allow-Insecure", "allow-weak": "Allow-Weak",
	"allow-downgrade-to-insecure": "Allow-Downgrade-To-Insecure",
	"check-valid-until":           "Check-Valid-Until", "valid-until-min": "Valid-Until-Min",
	"valid-until-max": "Valid-Until-Max", "check-date": "Check-Date", "date-max-future": "Date-Max-Future",
	"inrelease-path": "InRelease-Path", "snapshot": "Snapshot",
}

// parseOneLine reads "deb [option=value …] uri suite component …" lines.
func parseOneLine(file string, data []byte) ([]source, error) {
	var found []source
	for i, line := range strings.Split(string(data), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "deb" {
			continue
		}
		words = words[1:]
		var src source
		if len(words) > 0 && strings.HasPrefix(words[0], "[") {
			end := slices.IndexFunc(words, func(w string) bool { return strings.HasSuffix(w, "]") })
			if end < 0 {
				return nil, fmt.Errorf("%s:%d: the options' closing ] is missing", file, i+1)
			}
			options := strings.Trim(strings.Join(words[:end+1], " "), "[]")
			for _, option := range strings.Fields(options) {
				key, value, _ := strings.Cut(option, "=")
				key = strings.TrimRight(key, "+-")
				if name := oneLineOptions[strings.ToLower(key)]; name != "" {
					src.fields = append(src.fields, field{name, value})
				}
			}
			words = words[end+1:]
		}
		if len(words) < 2 {
			return nil, fmt.Errorf("%s:%d: a source needs an address and a suite", file, i+1)
		}
		src.uri, src.suites, src.components = words[0], words[1:2], words[2:]
		found = append(found, src)
	}
	return found, nil
}

// parseDeb822 reads the stanzas of a .sources file.
func parseDeb822(file string, data []byte) ([]source, error) {
	var (
		found  []source
		stanza []field
	)
	flush := func() {
		var types, uris, suites, components []string
		enabled := true
		var src source
		for _, f := range stanza {
			switch strings.ToLower(f.name) {
			case "types":
				types = strings.Fields(f.value)
			case "uris":
				uris = strings.Fields(f.value)
			case "suites":
				suites = strings.Fields(f.value)
			case "components":
				components = strings.Fields(f.value)
			case "enabled":
				enabled = !slices.Contains([]string{"no", "false", "off", "0", "without", "disable"}, strings.ToLower(f.value))
			case "architectures", "languages", "targets", "description", "x-repolib-name":
				// these choose what to fetch, and that is not taken over
			default:
				if !strings.ContainsAny(f.name, "+") && !strings.HasSuffix(f.name, "-Add") && !strings.HasSuffix(f.name, "-Remove") {
					src.fields = append(src.fields, f)
				}
			}
		}
		stanza = nil
		if !enabled || !slices.Contains(types, "deb") || len(uris) == 0 {
			return
		}
		src.uri, src.suites, src.components = uris[0], suites, components
		found = append(found, src)
	}
	scan := bufio.NewScanner(bytes.NewReader(data))
	scan.Buffer(nil, 1<<20)
	for n := 1; scan.Scan(); n++ {
		line := strings.TrimRight(scan.Text(), " \t\r")
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			flush()
		case line[0] == ' ' || line[0] == '\t':
			if len(stanza) == 0 {
				return nil, fmt.Errorf("%s:%d: a continuation line without a field", file, n)
			}
			stanza[len(stanza)-1].value += "\n" + line
		default:
			name, value, ok := strings.Cut(line, ":")
			if !ok {
				return nil, fmt.Errorf("%s:%d: expected \"Field: value\"", file, n)
			}
			stanza = append(stanza, field{strings.TrimSpace(name), strings.TrimSpace(value)})
		}
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	flush()
	return found, nil
}

// isSecurity tells whether suites of this name live in the security archive.
func isSecurity(suite string) bool {
	return strings.HasSuffix(suite, "-security") || strings.HasSuffix(suite, "/updates")
}

// debianSuites are the names by which one knows that a source is Debian's
// own archive and not one of the many that call their suites something else.
var debianSuites = []string{
	"oldoldstable", "oldstable", "stable", "testing", "unstable", "sid", "experimental", "rc-buggy",
	"buster", "bullseye", "bookworm", "trixie", "forky", "duke",
}

// pickArchive chooses, among the machine's sources, the one for Debian's
// archive or for its security archive. Other vendors offer "bookworm main"
// too, so the likeliest is taken.
func pickArchive(sources []source, security bool) (source, bool) {
	best, bestScore := source{}, 0
	for _, s := range sources {
		if !slices.Contains(s.components, "main") || strings.HasPrefix(s.uri, "cdrom:") {
			continue
		}
		score := 0
		for _, suite := range s.suites {
			base := strings.TrimSuffix(strings.TrimSuffix(suite, "-security"), "/updates")
			base = strings.TrimSuffix(strings.TrimSuffix(base, "-updates"), "-backports")
			if isSecurity(suite) == security && slices.Contains(debianSuites, base) {
				score = 2
			}
		}
		if score == 0 {
			continue
		}
		path := strings.TrimRight(s.uri, "/")
		switch {
		case strings.HasSuffix(path, "/debian"), strings.HasSuffix(path, "/debian-security"):
			score += 4
		case strings.Contains(path, "/archive/debian"): // a snapshot
			score += 3
		case strings.Contains(path, "debian"):
			score++
		}
		if strings.Contains(s.get("Signed-By"), "debian-archive") {
			score += 2
		}
		if score > bestScore {
			best, bestScore = s, score
		}
	}
	return best, bestScore > 0
}

// archives are the two archives to fetch from. An empty uri: there is none.
type archives struct{ main, security source }

// with gives the source with another value of a field.
func (s source) with(name, value string) source {
	s.fields = slices.DeleteFunc(slices.Clone(s.fields), func(f field) bool { return strings.EqualFold(f.name, name) })
	s.fields = append(s.fields, field{name, value})
	return s
}

// write gives the source for a suite in deb822 format, for amd64 packages
// only; "" when no archive is known for it.
func (a archives) write(suite string) string {
	s := a.main
	if isSecurity(suite) {
		s = a.security
	}
	if s.uri == "" {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nArchitectures: amd64\nLanguages: none\nTargets: Packages\n", s.uri, suite)
	for _, f := range s.fields {
		fmt.Fprintf(&b, "%s: %s\n", f.name, f.value)
	}
	return b.String()
}
