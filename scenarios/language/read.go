package language

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/sys/unix"
	"gopkg.in/yaml.v3"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// A field is one key of a mapping, as the tags of a struct's field have it;
// see package scenarios.
type field struct {
	key      string
	index    []int
	typ      reflect.Type
	required bool
	def      string   // the default as it would be written
	is       []string // words that are allowed, or kinds of text in capitals
	least    string
	most     string
	unit     string
	doc      string
	alone    bool // its value may stand in place of the whole mapping
}

var fieldCache sync.Map // reflect.Type to []field

// fieldsOf are the keys of a struct in its order. Those of a struct inside
// it without a key are its own.
func fieldsOf(t reflect.Type) []field {
	if known, ok := fieldCache.Load(t); ok {
		return known.([]field)
	}
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		if f.Anonymous {
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				out = append(out, inner)
			}
			continue
		}
		tag := f.Tag
		def, hasDefault := tag.Lookup("default")
		_, alone := tag.Lookup("alone")
		out = append(out, field{
			key: scenarios.JSONKey(f), index: []int{i}, typ: f.Type,
			required: !hasDefault && !strings.Contains(tag.Get("json"), ",omit"),
			def:      def, is: strings.Fields(tag.Get("is")), least: tag.Get("least"), most: tag.Get("most"), unit: tag.Get("unit"),
			doc: tag.Get("doc"), alone: alone,
		})
	}
	fieldCache.Store(t, out)
	return out
}

// isUnion says that a struct is one of several kinds: its pointers.
func isUnion(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && slices.ContainsFunc(fieldsOf(t), isKind)
}

func isKind(f field) bool {
	return f.typ.Kind() == reflect.Pointer && f.typ.Elem().Kind() == reflect.Struct && f.typ != nodeType
}

// Types that are read in a way of their own.
var (
	nodeType   = reflect.TypeFor[*yaml.Node]()
	bytesType  = reflect.TypeFor[scenarios.Bytes]()
	expectType = reflect.TypeFor[scenarios.Expect]()
)

// A slot is a field and where its value goes.
type slot struct {
	*field
	to reflect.Value
}

func slots(v reflect.Value) []slot {
	fields := fieldsOf(v.Type())
	out := make([]slot, len(fields))
	for i := range fields {
		out[i] = slot{&fields[i], v.FieldByIndex(fields[i].index)}
	}
	return out
}

// value reads what stands at path into v, as the tags of the field have it.
func (d *decoder) value(path string, n *yaml.Node, f *field, v reflect.Value) {
	if d.err != nil {
		return
	}
	d.at[path] = n
	switch t := v.Type(); {
	case t == nodeType:
		v.Set(reflect.ValueOf(n))
	case t == bytesType:
		v.SetInt(int64(d.size(path, n, f)))
	case t == expectType:
		d.expect(path, n, v.Addr().Interface().(*scenarios.Expect))
	case isUnion(t):
		d.union(path, n, v)
	case t.Kind() == reflect.Struct:
		d.object(path, n, slots(v))
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		d.value(path, n, f, v.Elem())
	case t.Kind() == reflect.Slice:
		d.list(path, n, f, v)
	case t.Kind() == reflect.Map:
		d.words(path, n, v)
	case t.Kind() == reflect.Bool:
		v.SetBool(d.boolean(path, n))
	case t.Kind() == reflect.Float64:
		v.SetFloat(d.fraction(path, n, f))
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		v.SetInt(d.integer(path, n, f))
	default:
		v.SetString(d.text(path, n, f))
	}
}

// object reads a mapping with the given keys, and no others, no key twice.
// The value of a key that may stand alone may be there in its place.
func (d *decoder) object(path string, n *yaml.Node, fields []slot) {
	if i := slices.IndexFunc(fields, func(f slot) bool { return f.alone }); i >= 0 && n.Kind != yaml.MappingNode && !isEmpty(n) {
		n = &yaml.Node{Kind: yaml.MappingNode, Line: n.Line, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: fields[i].key, Line: n.Line}, n}}
	}
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	if n.Kind != yaml.MappingNode {
		d.fail(n.Line, "%sa mapping with the keys %s is wanted here, not %s", d.where(path), keyList(keys), describe(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content) && d.err == nil; i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		k := slices.Index(keys, key.Value)
		switch {
		case key.Kind != yaml.ScalarNode || k < 0:
			d.fail(key.Line, "%sunknown key %s%s; allowed: %s", d.where(path), quote(key.Value), text.DidYouMean(key.Value, keys), keyList(keys))
		case seen[key.Value]:
			d.fail(key.Line, "%sthe key %s is here twice", d.where(path), key.Value)
		default:
			seen[key.Value] = true
			d.value(below(path, key.Value), value, fields[k].field, fields[k].to)
		}
	}
	for _, f := range fields {
		if d.err != nil || seen[f.key] {
			continue
		}
		at := below(path, f.key)
		switch {
		case f.required:
			d.fail(n.Line, "%sthe key %s is missing", d.where(path), f.key)
		case f.def != "":
			d.value(at, &yaml.Node{Kind: yaml.ScalarNode, Value: f.def, Line: n.Line}, f.field, f.to)
		case f.typ.Kind() == reflect.Struct && f.typ != expectType:
			d.value(at, &yaml.Node{Kind: yaml.MappingNode, Line: n.Line}, f.field, f.to)
		}
		delete(d.at, at) // the file doesn't say it
	}
}

func below(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// union reads a mapping with one key, the kind of what it holds. What all
// kinds have in common stands among the keys of the kind.
func (d *decoder) union(path string, n *yaml.Node, v reflect.Value) {
	var kinds []string
	var common []slot
	all := slots(v)
	for _, f := range all {
		if isKind(*f.field) {
			kinds = append(kinds, f.key)
		} else {
			common = append(common, f)
		}
	}
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		d.fail(n.Line, "%sa mapping with one of the keys %s is wanted here, not %s", d.where(path), keyList(kinds), describe(n))
		return
	}
	key := n.Content[0]
	k := slices.IndexFunc(all, func(f slot) bool { return key.Kind == yaml.ScalarNode && isKind(*f.field) && f.key == key.Value })
	switch {
	case k < 0 && slices.ContainsFunc(common, func(f slot) bool { return f.key == key.Value }):
		d.fail(key.Line, "%s%s stands among the keys of the kind, such as - %s: {%s: …}", d.where(path), key.Value, kinds[0], key.Value)
		return
	case k < 0:
		d.fail(key.Line, "%sunknown kind %s%s; allowed: %s", d.where(path), quote(key.Value), kindOf(key.Value, kinds, all), keyList(kinds))
		return
	case len(n.Content) > 2:
		d.fail(n.Content[2].Line, "%s%s stands beside %s; each is an item of its own, with a dash before it, and its keys stand below it", d.where(path), quote(n.Content[2].Value), key.Value)
		return
	}
	kind := reflect.New(all[k].typ.Elem())
	all[k].to.Set(kind)
	at, value := below(path, key.Value), n.Content[1]
	d.at[at] = value
	if isEmpty(value) {
		value = &yaml.Node{Kind: yaml.MappingNode, Line: value.Line}
	}
	d.object(at, value, append(common, slots(kind.Elem())...))
}

// kindOf says which kind an unknown one may stand for: that of which it is a
// word, such as raid1 of md's level, or else one with a similar name.
func kindOf(word string, kinds []string, all []slot) string {
	for _, f := range all {
		if !isKind(*f.field) {
			continue
		}
		for _, key := range fieldsOf(f.typ.Elem()) {
			if key.required && slices.Contains(key.is, word) {
				return fmt.Sprintf("; write - %s: {%s: %s}", f.key, key.key, word)
			}
		}
	}
	return text.DidYouMean(word, kinds)
}

// maxList is the length of the longest list.
const maxList = 256

// list reads a list. A list that is a parameter's value may stand for several
// values of another one.
func (d *decoder) list(path string, n *yaml.Node, f *field, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n.Line, "%sa list is wanted here, not %s%s", d.where(path), describe(n), asList(n))
		return
	}
	elem := v.Type().Elem()
	var items []*yaml.Node
	for _, item := range n.Content {
		if origin := d.from[item]; origin != "" && item.Kind == yaml.SequenceNode && elem.Kind() != reflect.Slice {
			for i, inner := range item.Content {
				if d.from[inner] == "" {
					d.from[inner] = fmt.Sprintf("%s[%d]", origin, i)
				}
			}
			items = append(items, item.Content...)
			continue
		}
		items = append(items, item)
	}
	switch {
	case len(items) == 0 && f.least != "0":
		d.fail(n.Line, "%sthe list is empty", d.where(path))
		return
	case len(items) > maxList:
		d.fail(items[maxList].Line, "%sat most %d values are allowed", d.where(path), maxList)
		return
	}
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		d.value(fmt.Sprintf("%s[%d]", path, i), item, f, list.Index(i))
	}
	v.Set(list)
	if len(f.is) == 0 || f.is[0] == "ARGUMENT" || d.err != nil {
		return
	}
	for i := range items {
		for j := range i {
			if reflect.DeepEqual(list.Index(i).Interface(), list.Index(j).Interface()) {
				d.failAt(fmt.Sprintf("%s[%d]", path, i), "%s is here twice", items[i].Value)
				return
			}
		}
	}
}

// words reads a mapping of texts to texts.
func (d *decoder) words(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		d.fail(n.Line, "%sa mapping of names to values is wanted here, not %s", d.where(path), describe(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i < len(n.Content) && d.err == nil; i += 2 {
		key := n.Content[i]
		name := reflect.ValueOf(key.Value)
		switch {
		case key.Kind != yaml.ScalarNode || !keyPattern.MatchString(key.Value):
			d.fail(key.Line, "%sa name of small letters, digits and underscores is wanted here, not %s", d.where(path), describe(key))
			return
		case v.MapIndex(name).IsValid():
			d.fail(key.Line, "%sthe key %s is here twice", d.where(path), key.Value)
			return
		}
		at := below(path, key.Value)
		d.at[at] = n.Content[i+1]
		v.SetMapIndex(name, reflect.ValueOf(d.text(at, n.Content[i+1], &field{})))
	}
}

// expect reads outcomes: for each class, or one list for both.
func (d *decoder) expect(path string, n *yaml.Node, to *scenarios.Expect) {
	fields := slots(reflect.ValueOf(to).Elem())
	if n.Kind == yaml.ScalarNode {
		d.fail(n.Line, "%sa list of outcomes is wanted here, not %s%s", d.where(path), describe(n), asList(n))
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.object(path, n, fields)
		if d.err == nil && len(to.Aligned)+len(to.Misaligned) == 0 {
			d.failAt(path, "nothing is expected; write [data], or aligned: and misaligned:")
		}
		return
	}
	d.list(path, n, fields[0].field, fields[0].to)
	to.Misaligned = to.Aligned
}

// size reads a size within its limits.
func (d *decoder) size(path string, n *yaml.Node, f *field) scenarios.Bytes {
	if n.Kind != yaml.ScalarNode {
		d.fail(n.Line, "%s%s %v", d.where(path), describe(n), scenarios.ErrSize)
		return 0
	}
	b, err := scenarios.ParseBytes(n.Value)
	if err != nil {
		d.fail(n.Line, "%s%s %v", d.where(path), describe(n), err)
		return 0
	}
	least, most := limit(f.least, 0), limit(f.most, 1<<62)
	switch unit := limit(f.unit, 1); {
	case b < least || b > most:
		d.fail(n.Line, "%s%s is not allowed; %s", d.where(path), b, span(f, least.String(), most.String()))
	case b%unit != 0:
		d.fail(n.Line, "%s%s is not allowed; it must be a multiple of %s", d.where(path), b, unit)
	}
	return b
}

// limit reads a limit of a field's tags.
func limit(text string, otherwise scenarios.Bytes) scenarios.Bytes {
	if b, err := scenarios.ParseBytes(text); err == nil {
		return b
	}
	return otherwise
}

func span(f *field, least, most string) string {
	if f.most == "" {
		return "the least is " + least
	}
	return "it may be from " + least + " to " + most
}

// integer reads a whole number within its limits. A number of bytes may be
// written as a size.
func (d *decoder) integer(path string, n *yaml.Node, f *field) int64 {
	v, ok := scenarios.ParseInt(n.Value)
	if f.unit == "bytes" && len(f.is) == 0 && !ok {
		return int64(d.size(path, n, f))
	}
	if n.Kind != yaml.ScalarNode || n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 || !ok {
		d.fail(n.Line, "%sa decimal integer is wanted here, not %s", d.where(path), describe(n))
		return 0
	}
	least, most := int64(limit(f.least, 0)), int64(limit(f.most, 1<<62))
	switch {
	case len(f.is) > 0 && !slices.Contains(f.is, fmt.Sprint(v)):
		d.fail(n.Line, "%s%d is not allowed; allowed: %s", d.where(path), v, keyList(f.is))
	case v < least || v > most:
		d.fail(n.Line, "%s%d is not allowed; %s", d.where(path), v, span(f, fmt.Sprint(least), fmt.Sprint(most)))
	}
	return v
}

// fraction reads a number such as 0.25.
func (d *decoder) fraction(path string, n *yaml.Node, f *field) float64 {
	var v float64
	if n.Kind != yaml.ScalarNode || !fractionPattern.MatchString(n.Value) || n.Decode(&v) != nil {
		d.fail(n.Line, "%sa number such as 0.25 is wanted here, not %s", d.where(path), describe(n))
		return 0
	}
	if most := float64(limit(f.most, 1<<52)); v > most {
		d.fail(n.Line, "%s%g is not allowed; it may be from 0 to %g", d.where(path), v, most)
	}
	return v
}

// boolean reads true or false.
func (d *decoder) boolean(path string, n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.Style != 0 || n.Value != "true" && n.Value != "false" {
		d.fail(n.Line, "%strue or false is wanted here, not %s", d.where(path), describe(n))
	}
	return n.Value == "true"
}

var (
	keyPattern      = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	fractionPattern = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
	namePattern     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`)
)

// A kind of text is what a text may be, besides one of some words. A field's
// tag names it in capitals.
type kindOfText struct {
	words   string // what it is, for people
	pattern *regexp.Regexp
	refers  bool // to a disk or layer; see references
}

var kindsOfText = map[string]kindOfText{
	"SCENARIO":   {"a name of at most 64 small letters, digits and hyphens", namePattern, false},
	"NAME":       {"a name of at most 16 small letters, digits, hyphens and underscores that begins with a letter", regexp.MustCompile(`^` + scenarios.NamePattern + `$`), false},
	"DISK":       {"the id of a disk", nil, true},
	"LAYER":      {"the name of a layer", nil, true},
	"DEVICE":     {"the id of a disk or the name of a layer", nil, true},
	"FILESYSTEM": {"the name of a layer that is a file system", nil, true},
	"ARGUMENT":   {"text, in which {name} stands for a disk or layer", nil, true},
	"PATH":       {"a path below /sys or /proc, or one that begins with {name.sys}", regexp.MustCompile(`^(/sys/|/proc/|\{` + scenarios.NamePattern + `\.sys\}/)[^[:cntrl:]]+$`), true},
	"TIME":       {"a time such as 500ms or 2s", regexp.MustCompile(`^[0-9]{1,6}(\.[0-9]{1,3})?(ms|s|m)$`), false},
	"SPAN":       {"a time such as 90m or 8h", regexp.MustCompile(`^[1-9][0-9]{0,4}[mh]$`), false},
	"SERIAL":     {"a serial number of at most 20 letters, digits, hyphens and underscores", regexp.MustCompile(`^[A-Za-z0-9_-]{1,20}$`), false},
	"SYSCTL":     {"a name as sysctl(8) has it, such as vm.dirty_ratio", regexp.MustCompile(`^[a-z0-9_-]+(\.[A-Za-z0-9_-]+)+$`), false},
	"PROGRAM":    {"the name of a file beside the scenario", regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`), false},
	"KERNEL":     {"a kernel reference (debian:VERSION, file:PATH or git:REPO@REV)", regexp.MustCompile(`^(debian|file|git):[^\s[:cntrl:]]{1,500}$`), false},
	"LABEL":      {"a line of at most 64 characters", regexp.MustCompile(`^[^[:cntrl:]]{1,64}$`), false},
	"TITLE":      {"a finding's title, in which * stands for anything beside four other characters or more", regexp.MustCompile(`^[^[:cntrl:]]*[^*[:cntrl:]]{4}[^[:cntrl:]]*$`), false},
	"ERRNO":      {"the name of an errno, such as EINVAL", nil, false},
}

// text reads a text that is not empty: as it is written, also one that looks
// like a number.
func (d *decoder) text(path string, n *yaml.Node, f *field) string {
	if n.Kind != yaml.ScalarNode || isEmpty(n) {
		hint := ""
		if n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle != 0 && len(n.Content) == 2 && isEmpty(n.Content[1]) {
			hint = fmt.Sprintf(`; put "{%s}" in quotes`, text.Escape(n.Content[0].Value))
		}
		d.fail(n.Line, "%stext is wanted here, not %s%s", d.where(path), describe(n), hint)
		return ""
	}
	value := n.Value
	if len(f.is) > 0 {
		d.allowed(path, n, f, value)
		if same := errnoAliases[value]; same != "" && slices.Contains(f.is, "ERRNO") {
			return same
		}
		return value
	}
	value = strings.TrimSpace(value)
	if value == "" && f.least != "0" {
		d.fail(n.Line, "%sthe text is empty", d.where(path))
		return ""
	}
	d.printable(path, n, value)
	return value
}

func (d *decoder) printable(path string, n *yaml.Node, value string) {
	for _, r := range value {
		// An escape in double quotes can still bring in what badText refuses.
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			d.fail(n.Line, "%sthe character %U is not allowed", d.where(path), r)
			return
		}
	}
}

// allowed holds a text against the words and kinds that its field may have.
func (d *decoder) allowed(path string, n *yaml.Node, f *field, value string) {
	if _, kind := kindsOfText[value]; slices.Contains(f.is, value) && !kind {
		return
	}
	var words, forms []string
	for _, is := range f.is {
		kind, ok := kindsOfText[is]
		switch {
		case !ok:
			words = append(words, is)
			continue
		case is == "ERRNO" && isErrno(value), kind.refers && kind.pattern == nil && value != "", kind.pattern != nil && kind.pattern.MatchString(value):
			d.printable(path, n, value)
			if kind.refers {
				d.refs = append(d.refs, reference{path, is, value})
			}
			return
		}
		forms = append(forms, kind.words)
	}
	if len(words) == 0 {
		d.fail(n.Line, "%s%s is wanted here, not %s", d.where(path), strings.Join(forms, " or "), describe(n))
		return
	}
	d.fail(n.Line, "%s%s is not known%s; allowed: %s", d.where(path), describe(n), text.DidYouMean(value, words), strings.Join(append([]string{keyList(words)}, forms...), " or "))
}

// errnoAliases are the other names of errnos that have two on Linux, and the one
// that reports use.
var errnoAliases = map[string]string{"EOPNOTSUPP": "ENOTSUP", "EWOULDBLOCK": "EAGAIN", "EDEADLOCK": "EDEADLK"}

// isErrno knows the names of errno(3). The largest number of Linux is 133
// (EHWPOISON).
func isErrno(name string) bool {
	if errnoAliases[name] != "" {
		return true
	}
	for n := unix.Errno(1); n <= 133 && name != ""; n++ {
		if unix.ErrnoName(n) == name {
			return true
		}
	}
	return false
}

// asList says how a single value is written where a list is wanted.
func asList(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || isEmpty(n) {
		return ""
	}
	return fmt.Sprintf("; write [%s]", strings.Trim(quote(n.Value), `"`))
}

func isEmpty(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && n.Value == ""
}

// describe says in a few words what is there instead of what is wanted.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode && len(n.Content) == 0:
		return "an empty mapping"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		return "an empty list"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isEmpty(n):
		return "an empty value"
	default:
		return quote(n.Value)
	}
}

func keyList(keys []string) string { return strings.Join(keys, ", ") }

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return keyList(names)
}
