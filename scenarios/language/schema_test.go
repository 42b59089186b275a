package language

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/blockrig/blockrig/scenarios"
)

// obj is an object of JSON.
type obj = map[string]any

// A schemaMaker makes a JSON Schema of the tags: each struct is a definition.
type schemaMaker struct{ defs obj }

// use is how a parameter is written in place of a value.
var use = obj{"type": "string", "pattern": `\$\{[a-z][a-z0-9_]*\}`}

const sizeForm = `^[0-9]+([KMG]iB)?$`

// schema is that of a scenario.
func schema() obj {
	m := schemaMaker{defs: obj{"parameter": use}}
	properties := obj{}
	for _, f := range scenarioFields() {
		if f.key == "parameters" || f.key == "matrix" || f.key == "exclude" {
			properties[f.key] = obj{"description": f.doc, "type": map[bool]string{true: "array", false: "object"}[f.key == "exclude"]}
			continue
		}
		properties[f.key] = m.value(f)
	}
	return obj{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "blockrig scenario",
		"type": "object", "properties": properties, "required": []string{"name", "about", "steps"}, "additionalProperties": false,
		"$defs": m.defs,
	}
}

// scenarioFields are the keys of a scenario.
func scenarioFields() []field {
	all := append(fieldsOf(reflect.TypeFor[head]()), fieldsOf(reflect.TypeFor[body]())...)
	var out []field
	for _, key := range scenarioKeys() {
		for _, f := range all {
			if f.key == key {
				out = append(out, f)
			}
		}
	}
	return out
}

// value is the schema of a key's value, in place of which a parameter may
// stand.
func (m schemaMaker) value(f field) obj {
	out := obj{"anyOf": []any{m.plain(f, f.typ), obj{"$ref": "#/$defs/parameter"}}}
	if f.doc != "" {
		out["description"] = f.doc
	}
	if f.def != "" {
		out["default"] = defaultOf(f)
	}
	return out
}

func defaultOf(f field) any {
	if f.typ.Kind() == reflect.Bool {
		return f.def == "true"
	}
	if n, err := strconv.Atoi(f.def); err == nil && f.typ.Kind() != reflect.String {
		return n
	}
	return f.def
}

func (m schemaMaker) plain(f field, t reflect.Type) obj {
	switch {
	case t == expectType:
		list := m.plain(f, reflect.TypeFor[[]string]())
		list["items"] = m.value(fieldsOf(t)[0].elem())
		return obj{"anyOf": []any{list, m.ref(t)}}
	case t == bytesType:
		return obj{"type": []string{"string", "integer"}, "pattern": sizeForm, "minimum": 0}
	case t.Kind() == reflect.Pointer:
		return m.plain(f, t.Elem())
	case t.Kind() == reflect.Struct:
		return m.ref(t)
	case t.Kind() == reflect.Slice:
		inner := f
		inner.typ, inner.doc, inner.def = t.Elem(), "", ""
		out := obj{"type": "array", "items": m.value(inner)}
		if f.least != "0" {
			out["minItems"] = 1
		}
		return out
	case t.Kind() == reflect.Map:
		return obj{"type": "object", "additionalProperties": obj{"type": []string{"string", "number", "boolean"}}}
	case t.Kind() == reflect.Bool:
		return obj{"type": "boolean"}
	case t.Kind() == reflect.Float64:
		return obj{"type": "number", "minimum": 0, "maximum": 1}
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		out := obj{"type": "integer", "minimum": int64(limit(f.least, 0))}
		if f.most != "" {
			out["maximum"] = int64(limit(f.most, 0))
		}
		if len(f.is) > 0 {
			var numbers []int
			for _, w := range f.is {
				n, _ := strconv.Atoi(w)
				numbers = append(numbers, n)
			}
			return obj{"enum": numbers}
		}
		if f.unit == "bytes" {
			out["type"], out["pattern"] = []string{"string", "integer"}, sizeForm
		}
		return out
	}
	return words(f)
}

// elem is a field of the values of a list.
func (f field) elem() field {
	f.typ, f.doc, f.def = f.typ.Elem(), "", ""
	return f
}

// words is the schema of a text.
func words(f field) obj {
	var fixed []string
	var any []any
	for _, is := range f.is {
		switch kind, ok := kindsOfText[is]; {
		case !ok:
			fixed = append(fixed, is)
		case is == "ERRNO":
			any = append(any, obj{"type": "string", "pattern": "^E[A-Z0-9]+$"})
		case kind.pattern != nil:
			any = append(any, obj{"type": "string", "pattern": strings.ReplaceAll(kind.pattern.String(), "[:cntrl:]", `\x00-\x1f`)})
		default:
			any = append(any, obj{"type": []string{"string", "number", "boolean"}})
		}
	}
	switch {
	case len(any) == 0 && len(fixed) == 0:
		least := 1
		if f.least == "0" {
			least = 0
		}
		return obj{"type": []string{"string", "number", "boolean"}, "minLength": least}
	case len(any) == 0:
		return obj{"enum": fixed}
	case len(fixed) > 0:
		any = append(any, obj{"enum": fixed})
	}
	if len(any) == 1 {
		return any[0].(obj)
	}
	return obj{"anyOf": any}
}

// ref refers to the definition of a struct.
func (m schemaMaker) ref(t reflect.Type) obj {
	ref := obj{"$ref": "#/$defs/" + t.Name()}
	if m.defs[t.Name()] != nil {
		return ref
	}
	m.defs[t.Name()] = obj{} // while it is made: a step holds steps
	if !isUnion(t) {
		m.defs[t.Name()] = m.object(fieldsOf(t))
		return ref
	}
	kinds := obj{}
	var common []field
	for _, f := range fieldsOf(t) {
		if !isKind(f) {
			common = append(common, f)
		}
	}
	for _, f := range fieldsOf(t) {
		if isKind(f) {
			kind := m.object(append(common[:len(common):len(common)], fieldsOf(f.typ.Elem())...))
			kind["description"] = f.doc
			kinds[f.key] = kind
		}
	}
	m.defs[t.Name()] = obj{"type": "object", "properties": kinds, "additionalProperties": false, "minProperties": 1, "maxProperties": 1}
	return ref
}

// object is the schema of a mapping, or of what may stand in its place.
func (m schemaMaker) object(fields []field) obj {
	properties := obj{}
	required := []string{}
	forms := []any{}
	for _, f := range fields {
		properties[f.key] = m.value(f)
		if f.required {
			required = append(required, f.key)
		}
		if f.alone {
			forms = append(forms, m.plain(f, f.typ))
		}
	}
	object := obj{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		object["required"] = required
	} else {
		forms = append(forms, obj{"type": "null"})
	}
	if len(forms) == 0 {
		return object
	}
	return obj{"anyOf": append([]any{object}, append(forms, obj{"$ref": "#/$defs/parameter"})...)}
}

// TestSchemaIsThatOfTheTags holds scenarios/schema.json against the code, and
// scenarios against it.
func TestSchemaIsThatOfTheTags(t *testing.T) {
	golden(t, "../schema.json", inLines(t, schema(), 2)+"\n")
	if *update {
		return // the one that is embedded is older
	}
	compiled := compile(t)
	files, err := filepath.Glob("../*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatal(files, err)
	}
	for _, file := range append(files, "testdata/good.yaml", "testdata/wide.yaml") {
		if filepath.Base(file) == scenarios.KnownFile {
			continue
		}
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(plainValue(t, src)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, row := range broken {
		if !strings.Contains("unknown key, misspelt key inside, missing key inside, unknown op, direct is a number, dmeventd in quotes, unknown verdict, mapping for a list", row.name) {
			continue
		}
		src, err := os.ReadFile("testdata/good.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if compiled.Validate(plainValue(t, []byte(strings.Replace(string(src), row.old, row.new, 1)))) == nil {
			t.Errorf("%s: the schema takes it", row.name)
		}
	}
}

// inLines writes a value with its keys on lines of their own down to a depth.
func inLines(t *testing.T, v any, depth int) string {
	t.Helper()
	m, ok := v.(obj)
	if !ok || depth == 0 {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(b.String())
	}
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, inLines(t, key, 0)+": "+inLines(t, m[key], depth-1))
	}
	return "{\n" + strings.Join(lines, ",\n") + "\n}"
}

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(scenarios.Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// plainValue is a scenario as an editor sees it.
func plainValue(t *testing.T, src []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(guard(src), &v); err != nil {
		t.Fatal(err)
	}
	return ungarded(v)
}

func ungarded(v any) any {
	switch v := v.(type) {
	case string:
		return unguard.Replace(v)
	case []any:
		for i := range v {
			v[i] = ungarded(v[i])
		}
	case map[string]any:
		for k := range maps.Clone(v) {
			v[k] = ungarded(v[k])
		}
	}
	return v
}
