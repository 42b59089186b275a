package language

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

const (
	readme         = "../README.md"
	referenceBegin = "<!-- From here on made by: go test ./scenarios/language -update -->\n"
)

// TestReferenceIsThatOfTheTags holds the second part of scenarios/README.md
// against the code.
func TestReferenceIsThatOfTheTags(t *testing.T) {
	have, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	prose, _, ok := strings.Cut(string(have), referenceBegin)
	if !ok {
		t.Fatalf("%s has no line %q", readme, referenceBegin)
	}
	golden(t, readme, prose+referenceBegin+makeReference())
}

var fence = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// TestExamplesOfTheReferenceAreSound reads each one, also those that show a part
// of a scenario, with the rest added.
func TestExamplesOfTheReferenceAreSound(t *testing.T) {
	src, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	examples := fence.FindAllSubmatch(src, -1)
	if len(examples) < 8 {
		t.Fatalf("only %d examples", len(examples))
	}
	for _, m := range examples {
		example := string(m[1])
		for _, part := range []struct{ key, text string }{
			{"name", "name: example\n"},
			{"about", "about: An example.\n"},
			{"disks", "disks: [{id: a}, {id: b}, {id: c}, {id: d}]\n"},
			{"steps", "steps: [wait: 1s]\n"},
		} {
			if !regexp.MustCompile("(?m)^" + part.key + ":").MatchString(example) {
				example += part.text
			}
		}
		if _, err := Parse("README.md", []byte(example)); err != nil {
			t.Errorf("%v in\n%s", err, example)
		}
	}
}

func makeReference() string {
	var b strings.Builder
	section := func(level int, title, about string, fields []field) {
		fmt.Fprintf(&b, "\n%s %s\n\n", strings.Repeat("#", level), title)
		if about != "" {
			fmt.Fprintf(&b, "%s\n\n", about)
		}
		if len(fields) > 0 {
			table(&b, fields)
		}
	}
	of := func(v any) []field { return fieldsOf(reflect.TypeOf(v)) }

	section(2, "Keys of a scenario", "", scenarioFields())
	section(3, "machine", "", of(scenarios.Machine{}))
	section(3, "disks", "", of(scenarios.Disk{}))
	section(4, "zones of a disk", "", of(scenarios.Zones{}))
	section(3, "require", "A case whose preconditions do not hold says nothing, and is an `error`.", of(scenarios.Require{}))
	section(3, "expect", "A list holds for both.", of(scenarios.Expect{}))
	section(3, "story", "", of(scenarios.Story{}))
	section(4, "kernels of a story", "", of(scenarios.StoryKernel{}))
	section(4, "expect of a kernel", "", of(scenarios.StoryExpect{}))
	union(&b, section, "Layers", "Every layer may have:", reflect.TypeFor[scenarios.Layer]())
	union(&b, section, "Steps", "Every step may have:", reflect.TypeFor[scenarios.Step]())
	section(4, "vectors of io", "", of(scenarios.Vector{}))
	var lines []string
	for _, do := range fieldsOf(reflect.TypeFor[scenarios.Act]())[0].is {
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s | %s |", do, strings.ReplaceAll(acts[do].kinds, " ", ", "), acts[do].member, acts[do].does))
	}
	section(4, "what act does, and to what", "ARGS are those of the step, MEMBER the member's device, and DEVICE that of the layer, which commands of LVM and dmsetup get as well.\n\n| do | to | needs a member | what is done |\n|---|---|---|---|\n"+strings.Join(lines, "\n"), nil)
	section(2, "Tools of the guest", "LVM's tools, and "+codes(scenarios.ToolNames())+". Besides them u-root's shell, gosh, and its commands: "+codes(scenarios.ShellCommands)+".\n\nThere is no awk, no sed, and nothing else. A static executable of one's own may stand beside the scenario: `exec: {file: NAME, args: [NAME, …]}`.", nil)
	section(2, "Targets of dm tables", "A kernel must have the option of those that a table names.\n\n"+targets(), nil)
	return b.String()
}

// union writes what the kinds of layers or steps have in common, and each kind.
func union(b *strings.Builder, section func(int, string, string, []field), title, intro string, t reflect.Type) {
	var common []field
	for _, f := range fieldsOf(t) {
		if !isKind(f) {
			common = append(common, f)
		}
	}
	section(2, title, intro, common)
	for _, f := range fieldsOf(t) {
		if isKind(f) {
			section(3, f.key, strings.ToUpper(f.doc[:1])+f.doc[1:]+".", fieldsOf(f.typ.Elem()))
		}
	}
}

func targets() string {
	var lines []string
	for _, name := range scenarios.Targets() {
		var options []string
		for _, n := range scenarios.TargetNeeds[name] {
			if o := "`" + n.Option + "`"; !slices.Contains(options, o) {
				options = append(options, o)
			}
		}
		if options == nil {
			options = []string{"`CONFIG_BLK_DEV_DM`"}
		}
		lines = append(lines, fmt.Sprintf("| `%s` | %s |", name, strings.Join(options, ", ")))
	}
	return "| target | option |\n|---|---|\n" + strings.Join(lines, "\n")
}

func table(b *strings.Builder, fields []field) {
	b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
	for _, f := range fields {
		def := ""
		switch {
		case f.def != "":
			def = "`" + f.def + "`"
		case f.required:
			def = "**must be there**"
		}
		alone := ""
		if f.alone {
			alone = " May stand alone, without the key."
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s.%s |\n", f.key, valueOf(f, f.typ), def, strings.ReplaceAll(strings.ToUpper(f.doc[:1])+f.doc[1:], "|", `\|`), alone)
	}
}

// valueOf says what a key's value may be.
func valueOf(f field, t reflect.Type) string {
	span := ""
	if f.least != "" || f.most != "" {
		least := f.least
		if least == "" {
			least = "0"
		}
		span = ", from " + least
		if f.most != "" {
			span += " to " + f.most
		}
	}
	switch {
	case t == nodeType:
		return "see above"
	case t == expectType:
		return "list of outcomes, or both lists"
	case t == bytesType:
		if f.unit != "" {
			span += ", a multiple of " + f.unit
		}
		return "size" + span
	case t.Kind() == reflect.Pointer:
		return valueOf(f, t.Elem())
	case t.Kind() == reflect.Struct:
		return "mapping"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Slice:
		return "list of lists of " + plural(t.Elem().Elem())
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return "list of " + plural(t.Elem())
	case t.Kind() == reflect.Slice:
		return "list: " + valueOf(f, t.Elem())
	case t.Kind() == reflect.Map:
		return "mapping of names to texts"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Float64:
		return "number" + span
	case len(f.is) > 0:
		var out []string
		for _, is := range f.is {
			if kind, ok := kindsOfText[is]; ok {
				out = append(out, kind.words)
			} else {
				out = append(out, "`"+is+"`")
			}
		}
		unit := ""
		if f.unit != "" {
			unit = " " + f.unit
		}
		return strings.Join(out, ", ") + unit
	case t.Kind() == reflect.String:
		return "text"
	case f.unit == "bytes":
		return "bytes, as a number or a size" + span
	}
	return "number" + span
}

// plural is what the values of a list of structs are called.
func plural(t reflect.Type) string {
	return strings.ToLower(strings.TrimPrefix(t.Name(), "Story")) + "s"
}

// codes are names as they stand in a text.
func codes(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }
