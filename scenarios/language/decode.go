package language

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
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

// A decoder reads YAML nodes strictly and keeps the first thing that is
// wrong. It remembers where each value stands, so that what is only wrong
// together with another value gets a line, too.
type decoder struct {
	file string
	err  *Error
	at   map[string]*yaml.Node // path of a value ("stack.lvm.size") to its node
}

// A reader reads the value that stands at path.
type reader func(path string, n *yaml.Node)

// A field is one key of a mapping and what reads its value.
type field struct {
	key      string
	required bool
	read     reader
}

func (d *decoder) fail(line int, format string, args ...any) {
	if d.err == nil {
		d.err = &Error{File: d.file, Line: max(line, 1), Msg: fmt.Sprintf(format, args...)}
	}
}

// failAt is fail at the value that stands at path or, when that one was left
// out, at the nearest one around it.
func (d *decoder) failAt(path, format string, args ...any) {
	for at := path; ; {
		if n := d.at[at]; n != nil {
			d.fail(n.Line, path+": "+format, args...)
			return
		}
		i := strings.LastIndexAny(at, ".[")
		if i < 0 {
			d.fail(1, path+": "+format, args...)
			return
		}
		at = at[:i]
	}
}

// document reads the only document of src. It refuses what a scenario has no
// use for and a reader can trip over: anchors, aliases, tags.
func (d *decoder) document(src []byte) *yaml.Node {
	if len(src) > maxSource {
		d.fail(1, "the file has more than %s, the most a scenario may have", scenarios.Bytes(maxSource))
		return nil
	}
	if line, what := badText(src); line != 0 {
		d.fail(line, "%s", what)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		d.fail(1, "the file is empty; a scenario is a mapping with the keys %s", keyList(scenarioKeys))
		return nil
	case err != nil:
		d.fail(syntaxLine(src, err), "%s", syntaxMessage(err))
		return nil
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		d.fail(second.Line, "a second document begins here; a file holds one scenario")
	case !errors.Is(err, io.EOF):
		d.fail(syntaxLine(src, err), "%s", syntaxMessage(err))
	}
	if len(doc.Content) != 1 {
		d.fail(1, "the file is empty; a scenario is a mapping with the keys %s", keyList(scenarioKeys))
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

// plain refuses anchors, aliases and tags below n.
func (d *decoder) plain(n *yaml.Node) {
	switch {
	case n.Kind == yaml.AliasNode:
		d.fail(n.Line, "aliases (*%s) are not part of the scenario language; write the value out", text.Escape(n.Value))
	case n.Anchor != "":
		d.fail(n.Line, "anchors (&%s) are not part of the scenario language; write the value out", text.Escape(n.Anchor))
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(n.Line, "tags (%s) are not part of the scenario language; write the value alone", text.Escape(n.Tag))
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
		case r != '\t' && r != '\r' && unicode.IsControl(r):
			return line, fmt.Sprintf("the control character %U is not allowed", r)
		}
		src = src[size:]
	}
	return 0, ""
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

func syntaxMessage(err error) string {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	return "not valid YAML: " + yamlLine.ReplaceAllString(msg, "")
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

// mapping reads a mapping with the given fields.
func (d *decoder) mapping(fields ...field) reader {
	return func(path string, n *yaml.Node) { d.object(path, n, fields) }
}

// object reads a mapping with the given fields, and no others, no key twice.
func (d *decoder) object(path string, n *yaml.Node, fields []field) {
	if d.err != nil {
		return
	}
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	if n.Kind != yaml.MappingNode {
		d.fail(n.Line, "%sa mapping with the keys %s is wanted here, not %s", prefix(path), keyList(keys), describe(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content) && d.err == nil; i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		k := slices.Index(keys, key.Value)
		switch {
		case key.Kind != yaml.ScalarNode || k < 0:
			d.fail(key.Line, "%sunknown key %s%s; allowed: %s", prefix(path), quote(key.Value), text.DidYouMean(key.Value, keys), keyList(keys))
		case seen[key.Value]:
			d.fail(key.Line, "%sthe key %s is here twice", prefix(path), key.Value)
		default:
			seen[key.Value] = true
			at := key.Value
			if path != "" {
				at = path + "." + key.Value
			}
			d.at[at] = value
			fields[k].read(at, value)
		}
	}
	for _, f := range fields {
		if f.required && !seen[f.key] {
			d.fail(n.Line, "%sthe key %s is missing", prefix(path), f.key)
		}
	}
}

func prefix(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

func keyList(keys []string) string { return strings.Join(keys, ", ") }

// list reads a sequence of at least one and at most limit values.
func (d *decoder) list(path string, n *yaml.Node, limit int, read reader) {
	if d.err != nil {
		return
	}
	switch {
	case n.Kind != yaml.SequenceNode:
		d.fail(n.Line, "%s: a list is wanted here, not %s", path, describe(n))
	case len(n.Content) == 0:
		d.fail(n.Line, "%s: the list is empty", path)
	case len(n.Content) > limit:
		d.fail(n.Content[limit].Line, "%s: at most %d values are allowed", path, limit)
	}
	for i, child := range n.Content {
		if d.err != nil {
			return
		}
		at := fmt.Sprintf("%s[%d]", path, i)
		d.at[at] = child
		read(at, child)
	}
}

// describe says in a few words what is there instead of what is wanted.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!null" && n.Value == "":
		return "an empty value"
	default:
		return quote(n.Value)
	}
}

// text reads a non-empty string.
func (d *decoder) text(to *string) reader {
	return func(path string, n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
			d.fail(n.Line, "%s: text is wanted here, not %s", path, describe(n))
			return
		}
		value := strings.TrimSpace(n.Value)
		if value == "" {
			d.fail(n.Line, "%s: the text is empty", path)
			return
		}
		for _, r := range value {
			// An escape in double quotes can still bring in what badText refuses.
			if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
				d.fail(n.Line, "%s: the character %U is not allowed", path, r)
				return
			}
		}
		*to = value
	}
}

// name reads a string that matches pattern; allowed says so in words.
func (d *decoder) name(to *string, pattern *regexp.Regexp, allowed string) reader {
	return func(path string, n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || !pattern.MatchString(n.Value) {
			d.fail(n.Line, "%s: %s is wanted here, not %s", path, allowed, describe(n))
			return
		}
		*to = n.Value
	}
}

// choice reads one of the allowed words.
func choice[T ~string](d *decoder, to *T, allowed ...T) reader {
	words := make([]string, len(allowed))
	for i, word := range allowed {
		words[i] = string(word)
	}
	return func(path string, n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || !slices.Contains(words, n.Value) {
			d.fail(n.Line, "%s: %s is not known%s; allowed: %s", path, describe(n), text.DidYouMean(n.Value, words), keyList(words))
			return
		}
		*to = T(n.Value)
	}
}

// boolean reads true or false.
func (d *decoder) boolean(to *bool) reader {
	return func(path string, n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.Style != 0 || n.Value != "true" && n.Value != "false" {
			d.fail(n.Line, "%s: true or false is wanted here, not %s", path, describe(n))
			return
		}
		*to = n.Value == "true"
	}
}

// size reads a size from least to most bytes, a multiple of unit.
func (d *decoder) size(to *scenarios.Bytes, least, most, unit scenarios.Bytes) reader {
	return func(path string, n *yaml.Node) {
		if n.Kind != yaml.ScalarNode {
			d.fail(n.Line, "%s: %s %v", path, describe(n), scenarios.ErrSize)
			return
		}
		b, err := scenarios.ParseBytes(n.Value)
		switch {
		case err != nil:
			d.fail(n.Line, "%s: %s %v", path, describe(n), err)
		case b < least || b > most:
			d.fail(n.Line, "%s: %s is not allowed; it may be from %s to %s", path, b, least, most)
		case b%unit != 0:
			d.fail(n.Line, "%s: %s is not allowed; it must be a multiple of %s", path, b, unit)
		default:
			*to = b
		}
	}
}

// integer reads a decimal integer.
func (d *decoder) integer(to *int64) reader {
	return func(path string, n *yaml.Node) {
		v, ok := scenarios.ParseInt(n.Value)
		if n.Kind != yaml.ScalarNode || n.Style != 0 || !ok {
			d.fail(n.Line, "%s: a decimal integer is wanted here, not %s", path, describe(n))
			return
		}
		*to = v
	}
}
