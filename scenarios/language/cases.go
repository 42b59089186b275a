package language

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// makeCase reads the case with the chosen values. size is what it is made of,
// in YAML nodes.
func (s *source) makeCase(chosen []choice, used map[string]bool) (c scenarios.Case, size int, err *Error) {
	c = scenarios.Case{Scenario: s.scenario}
	var id []string
	for i, p := range s.parameters {
		if v := chosen[i].name; p.varied || v != p.values[0].name {
			c.Params = append(c.Params, scenarios.Setting{Name: p.name, Value: v})
			id = append(id, p.name+"="+v)
		}
	}
	c.ID = strings.Join(id, ",")

	d := newDecoder(s.file, scenarioFile)
	r := &substitution{decoder: d, source: s, chosen: chosen, used: used}
	root := r.replace(s.body)
	if d.err != nil {
		return c, r.size, d.err
	}
	var b body
	d.object("", root, slots(reflect.ValueOf(&b).Elem()))
	if d.err == nil {
		d.rules(&b)
	}
	if d.err != nil {
		return c, r.size, d.err
	}
	c.Setup = scenarios.Setup{Machine: b.Machine, Disks: b.Disks, Require: b.Require, Stack: b.Stack}
	c.Steps = scenarios.Unrolled(b.Steps)
	return c, r.size, nil
}

// Cases gives the cases of a scenario: every combination of its matrix that is
// not excluded, the first parameter changing slowest. A parameter in set has
// that value alone, which may be one outside the matrix.
func Cases(s *scenarios.Scenario, set map[string]string) ([]scenarios.Case, error) {
	src, err := reopen(s)
	if err != nil {
		return nil, err
	}
	return src.cases(set)
}

// reopen reads again what all cases share, for cases of s.
func reopen(s *scenarios.Scenario) (*source, error) {
	src := open(s.Name, s.Source)
	if src.err != nil {
		return nil, src.err
	}
	src.scenario = s
	return src, nil
}

func (s *source) cases(set map[string]string) ([]scenarios.Case, error) {
	name := s.scenario.Name
	choices, err := s.settings(set)
	if err != nil {
		return nil, fmt.Errorf("scenario %s %w", name, err)
	}
	var cases []scenarios.Case
	s.each(choices, func(chosen []choice) bool {
		if s.excludes(chosen) >= 0 {
			return true
		}
		c, _, bad := s.makeCase(chosen, map[string]bool{})
		if bad != nil {
			err = fmt.Errorf("scenario %s, case %s: %s", name, label(c), bad.Msg)
			return false
		}
		cases = append(cases, c)
		return true
	})
	if err == nil && len(cases) == 0 {
		err = fmt.Errorf("scenario %s: its exclude leaves out every such case", name)
	}
	if err != nil {
		return nil, err
	}
	return cases, nil
}

// settings are the values that parameters are set to.
func (s *source) settings(set map[string]string) (map[string]choice, error) {
	out := map[string]choice{}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		value, p := set[name], s.parameter(name)
		if p == nil {
			names := s.parameterNames()
			return nil, fmt.Errorf("has no parameter %s%s; it has: %s", quote(name), text.DidYouMean(name, names), orNone(names))
		}
		i := slices.Index(p.names(), value)
		switch {
		case i >= 0:
			out[name] = p.values[i]
		case p.named:
			return nil, fmt.Errorf("has no value %s for the parameter %s%s; it has: %s", quote(value), name, text.DidYouMean(value, p.names()), keyList(p.names()))
		case p.values[0].node.Kind != yaml.ScalarNode:
			return nil, fmt.Errorf("has %s for the parameter %s, which can't be set to a word", describe(p.values[0].node), name)
		case !valuePattern.MatchString(value):
			return nil, fmt.Errorf("can't have %s for the parameter %s: a value is made of %s", quote(value), name, valueWords)
		default:
			if err := sameType(p.values[0].node.Value, value); err != nil {
				return nil, fmt.Errorf("can't have %s for the parameter %s: %w", quote(value), name, err)
			}
			out[name] = choice{value, &yaml.Node{Kind: yaml.ScalarNode, Value: value}, name}
		}
	}
	return out, nil
}

// sameType refuses a value of another type than that which the file has.
func sameType(have, value string) error {
	types := []struct {
		name string
		is   func(string) bool
	}{
		{"true or false", func(s string) bool { return s == "true" || s == "false" }},
		{"a decimal integer or a size", func(s string) bool {
			_, err := scenarios.ParseBytes(strings.TrimPrefix(s, "-"))
			return err == nil
		}},
	}
	for _, t := range types {
		if t.is(have) && !t.is(value) {
			return fmt.Errorf("it is %s, such as %s", t.name, have)
		}
	}
	return nil
}

// label names a case for people.
func label(c scenarios.Case) string {
	if c.ID == "" {
		return "without parameters"
	}
	return c.ID
}

// ParseSet reads settings written name=value, as --set takes them and a
// Case's ID has them, for Cases.
func ParseSet(settings []string) (map[string]string, error) {
	set := map[string]string{}
	for _, setting := range settings {
		name, value, ok := strings.Cut(setting, "=")
		if !ok || name == "" || value == "" {
			return nil, fmt.Errorf("%s is no setting; write parameter=value", quote(setting))
		}
		if old, twice := set[name]; twice && old != value {
			return nil, fmt.Errorf("the parameter %s is set to %s and to %s", quote(name), text.Escape(old), text.Escape(value))
		}
		set[name] = value
	}
	return set, nil
}

// ErrNoCase says that a scenario has no case of that name.
var ErrNoCase = errors.New("no such case")

// OneCase gives the case of a scenario with that ID; see CasesByID.
func OneCase(s *scenarios.Scenario, id string) (scenarios.Case, error) {
	cases, err := CasesByID(s, id)
	if err != nil {
		return scenarios.Case{}, err
	}
	return cases[0], nil
}

// CasesByID gives the cases of a scenario with these IDs. Their parameters may
// be in any order, and the values may lie outside the matrix, but all that the
// matrix varies must be there.
func CasesByID(s *scenarios.Scenario, ids ...string) ([]scenarios.Case, error) {
	src, err := reopen(s)
	if err != nil {
		return nil, err
	}
	var out []scenarios.Case
	for _, id := range ids {
		var settings []string
		if id != "" {
			settings = strings.Split(id, ",")
		}
		set, err := ParseSet(settings)
		if err != nil {
			return nil, fmt.Errorf("case %s: %w", quote(id), err)
		}
		for _, p := range s.Matrix {
			if _, ok := set[p.Name]; !ok {
				return nil, fmt.Errorf("case %s of scenario %s: parameter %s is missing: %w", quote(id), s.Name, p.Name, ErrNoCase)
			}
		}
		cases, err := src.cases(set)
		if err != nil {
			return nil, err
		}
		out = append(out, cases[0])
	}
	return out, nil
}
