package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/blockrig/blockrig/scenarios"
)

var update = flag.Bool("update", false, "write the files that are compared with")

// compareFile compares with a file, or writes it.
func compareFile(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; go test -update writes it):\n%s", path, diff)
	}
}

func validate(t *testing.T, schema, document []byte) {
	t.Helper()
	in, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", in); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(doc); err != nil {
		t.Errorf("it does not fit its schema: %v", err)
	}
}

func TestTheSchemaIsThatOfTheTypes(t *testing.T) {
	docs := fieldDocs(t, "report.go")
	defs := map[string]any{}
	root := schemaOf(reflect.TypeFor[Report](), docs, defs)
	src, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "blockrig report", "$ref": root["$ref"], "$defs": defs,
	}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	compareFile(t, "report.schema.json", append(src, '\n'))
}

// schemaOf is the schema of a type; named structs go to defs.
func schemaOf(typ reflect.Type, docs map[string]string, defs map[string]any) map[string]any {
	switch {
	case typ == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case typ == reflect.TypeFor[scenarios.Verdict]():
		return map[string]any{"enum": slices.Concat(scenarios.Verdicts, []scenarios.Verdict{scenarios.Error})}
	case typ == reflect.TypeFor[Kind]():
		return map[string]any{"enum": Kinds}
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return schemaOf(typ.Elem(), docs, defs)
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(typ.Elem(), docs, defs)}
	}
	ref := map[string]any{"$ref": "#/$defs/" + typ.Name()}
	if defs[typ.Name()] != nil {
		return ref
	}
	properties, required := map[string]any{}, []string{}
	defs[typ.Name()] = map[string]any{"type": "object", "properties": properties}
	var add func(reflect.Type)
	add = func(typ reflect.Type) {
		for f := range typ.Fields() {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous {
				add(f.Type)
				continue
			}
			s := schemaOf(f.Type, docs, defs)
			if doc := docs[typ.Name()+"."+f.Name]; doc != "" {
				s["description"] = doc
			}
			properties[name] = s
			if !strings.Contains(options, "omit") {
				required = append(required, name)
			}
		}
	}
	add(typ)
	def := defs[typ.Name()].(map[string]any)
	def["required"] = required
	if doc := docs[typ.Name()]; doc != "" {
		def["description"] = doc
	}
	return ref
}

// fieldDocs are the comments of types and fields, by TYPE and TYPE.FIELD.
func fieldDocs(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	line := func(g *ast.CommentGroup) string { return strings.Join(strings.Fields(g.Text()), " ") }
	for _, d := range file.Decls {
		gen, ok := d.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		spec := gen.Specs[0].(*ast.TypeSpec)
		out[spec.Name.Name] = line(gen.Doc)
		typ, ok := spec.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range typ.Fields.List {
			for _, n := range f.Names {
				out[spec.Name.Name+"."+n.Name] = strings.TrimSpace(line(f.Doc) + " " + line(f.Comment))
			}
		}
	}
	return out
}
