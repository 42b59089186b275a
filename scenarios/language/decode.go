package language

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// maxSource is the size of the largest scenario file, in bytes. It is far
// above what a person writes, and small enough for any parser.
const maxSource = 64 << 10

// A kind of file is what a decoder reads, for its messages.
type fileKind struct {
	name string // "scenario"
	keys []string
}

var scenarioFile = fileKind{"scenario", scenarioKeys()}

// A decoder reads YAML nodes strictly and keeps the first thing that is
// wrong. It remembers where each value stands, so that what is only wrong
// together with another value gets a line, too.
type decoder struct {
	file string
	kind fileKind
	err  *Error
	at   map[string]*yaml.Node // path of a value ("stack[0].md.level") to its node
	from map[*yaml.Node]string // value of a parameter to where it stands ("matrix.length[1]")
	refs []reference
	line int // where failAt finds a mistake, where that is known better than by its path
}

func newDecoder(file string, kind fileKind) *decoder {
	return &decoder{file: file, kind: kind, at: map[string]*yaml.Node{}, from: map[*yaml.Node]string{}}
}

func (d *decoder) fail(line int, format string, args ...any) {
	if d.err == nil {
		d.err = &Error{File: d.file, Line: max(line, 1), Msg: fmt.Sprintf(format, args...)}
	}
}

// failAt says what is wrong with the value that stands at path or, when that
// one was left out, at the nearest one around it.
func (d *decoder) failAt(path, format string, args ...any) {
	line := 1
	for at := path; at != ""; at = parent(at) {
		if n := d.at[at]; n != nil {
			line = n.Line
			break
		}
	}
	if d.line > 0 {
		line = d.line
	}
	d.fail(line, "%s%s", d.where(path), fmt.Sprintf(format, args...))
}

// where says where a value stands; of a parameter's value both that and where
// it is used.
func (d *decoder) where(path string) string {
	if path == "" {
		return ""
	}
	for at := path; at != ""; at = parent(at) {
		if n := d.at[at]; n != nil && d.from[n] != "" {
			return fmt.Sprintf("%s%s, for %s: ", d.from[n], path[len(at):], path)
		}
	}
	return path + ": "
}

// parent is the path of what a value stands in.
func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

// said tells whether the file has a value there.
func (d *decoder) said(path string) bool { return d.at[path] != nil }

// document reads the only document of src. It refuses what a file of ours has no
// use for and a reader can trip over: anchors, aliases, tags.
func (d *decoder) document(src []byte) *yaml.Node {
	if len(src) > maxSource {
		d.fail(1, "the file has more than %s, the most a %s may have", scenarios.Bytes(maxSource), d.kind.name)
		return nil
	}
	if line, what := badText(src); line != 0 {
		d.fail(line, "%s", what)
		return nil
	}
	src = guard(src)
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		d.fail(1, "the file is empty; a %s is a mapping with the keys %s", d.kind.name, keyList(d.kind.keys))
		return nil
	case err != nil:
		d.fail(syntaxLine(src, err), "%s", syntaxMessage(err))
		return nil
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		d.fail(second.Line, "a second document begins here; a file holds one %s", d.kind.name)
	case !errors.Is(err, io.EOF):
		d.fail(syntaxLine(src, err), "%s", syntaxMessage(err))
	}
	if len(doc.Content) != 1 {
		d.fail(1, "the file is empty; a %s is a mapping with the keys %s", d.kind.name, keyList(d.kind.keys))
	}
	if d.err != nil {
		return nil
	}
	d.plain(doc.Content[0])
	if d.err != nil {
		return nil
	}
	return doc.Content[0]
}

// In a flow mapping, such as {length: ${length}}, YAML takes the braces of a
// parameter for its own. So they are other characters while YAML is read.
const openBrace, closeBrace = "\ue000", "\ue001"

var (
	parameterUse = regexp.MustCompile(`\$\{([A-Za-z0-9_]*)\}`)
	unguard      = strings.NewReplacer(openBrace, "{", closeBrace, "}")
)

func guard(src []byte) []byte {
	return parameterUse.ReplaceAll(src, []byte("$$"+openBrace+"$1"+closeBrace))
}

// plain refuses anchors, aliases and tags below n.
func (d *decoder) plain(n *yaml.Node) {
	n.Value = unguard.Replace(n.Value)
	switch {
	case n.Kind == yaml.AliasNode:
		d.fail(n.Line, "aliases (*%s) are not part of the %s language; write the value out", text.Escape(n.Value), d.kind.name)
	case n.Anchor != "":
		d.fail(n.Line, "anchors (&%s) are not part of the %s language; write the value out", text.Escape(n.Anchor), d.kind.name)
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(n.Line, "tags (%s) are not part of the %s language; write the value alone", text.Escape(n.Tag), d.kind.name)
	}
	for _, child := range n.Content {
		if d.err != nil {
			return
		}
		d.plain(child)
	}
}

// badText finds the first line that is no text, which yaml reports without a
// line.
func badText(src []byte) (line int, what string) {
	line = 1
	for len(src) > 0 {
		r, size := utf8.DecodeRune(src)
		switch {
		case r == utf8.RuneError && size <= 1:
			return line, "this is no UTF-8 text"
		case r == '\n':
			line++
		case r != '\t' && r != '\r' && (unicode.IsControl(r) || unicode.Is(unicode.Co, r)):
			return line, fmt.Sprintf("the control character %U is not allowed", r)
		}
		src = src[size:]
	}
	return 0, ""
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// syntaxHints say of what YAML's parser complains about how it mostly comes.
var syntaxHints = map[string]string{
	"mapping values are not allowed in this context": `; a text that has ": " in it stands in quotes, or on lines of its own below "|"`,
	"could not find expected ':'":                    `; a text below "|" stands further to the right than its key does`,
	"found character that cannot start any token":    "; indent with spaces, and put a text that begins with @, % or a backquote in quotes",
	"did not find expected ',' or '}'":               `; in braces, a text that has a comma, bracket, brace or ": " in it stands in quotes`,
	"did not find expected ',' or ']'":               `; in brackets, a text that has a comma, bracket, brace or ": " in it stands in quotes`,
}

func syntaxMessage(err error) string {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	msg = yamlLine.ReplaceAllString(msg, "")
	return "not valid YAML: " + unguard.Replace(msg) + syntaxHints[msg]
}

// syntaxLine finds the line of a syntax error. yaml.v3 gives the line before
// it, the start of what is around it, or none. The line after the longest
// part of the file that is valid by itself is where a person looks.
func syntaxLine(src []byte, err error) int {
	lines := bytes.SplitAfter(src, []byte("\n"))
	if len(lines) <= 300 { // each try costs a parse
		for n := len(lines) - 1; n >= 0; n-- {
			if validYAML(bytes.Join(lines[:n], nil)) {
				return n + 1
			}
		}
	}
	if m := yamlLine.FindStringSubmatch(strings.TrimPrefix(err.Error(), "yaml: ")); m != nil {
		if line, err := strconv.Atoi(m[1]); err == nil {
			return line
		}
	}
	return 1
}

func validYAML(src []byte) bool {
	dec := yaml.NewDecoder(bytes.NewReader(src))
	for {
		var n yaml.Node
		if err := dec.Decode(&n); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}
