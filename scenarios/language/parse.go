// Package language reads scenarios: YAML in, a scenarios.Scenario and its
// cases out, and for every mistake the place where it stands. What may be said
// of a disk, a layer or a step stands in the tags of package scenarios; what
// must hold between them, in this package's rules.
package language

import (
	"fmt"
	"reflect"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

const (
	maxCases = 4096
	// maxWork bounds what all cases together are made of, in YAML nodes.
	maxWork = 4_000_000
)

// head is what all cases of a scenario share.
type head struct {
	Name       string           `json:"name" is:"SCENARIO" doc:"the scenario's name"`
	About      string           `json:"about" doc:"what it shows, for people"`
	Parameters *yaml.Node       `json:"parameters,omitempty" doc:"parameters that the matrix does not vary, with their values; --set gives others"`
	Matrix     *yaml.Node       `json:"matrix,omitempty" doc:"parameters and the values that each takes: every combination is a case. Values that are no words or numbers have names: {plain: […], mirror: […]}"`
	Exclude    *yaml.Node       `json:"exclude,omitempty" doc:"combinations of the matrix that are left out, such as {length: 512, stack: mirror}"`
	Story      *scenarios.Story `json:"story,omitempty" doc:"what is seen on which kernels"`
	Allow      []string         `json:"allow,omitempty" is:"TITLE" doc:"titles of what the console may show without a failure, such as \"WARNING in bio_add_page\"; * stands for anything"`
	Trace      string           `json:"trace,omitempty" is:"block" doc:"every trial records what the block layer did, so that its result names the layer that failed first; without it that is done in one more run of a trial that did not pass"`
	Cold       string           `json:"cold,omitempty" doc:"why its trials must begin from power-on and not from a saved machine"`
}

// body is what a case is made of. ${name} may stand for any value in it.
type body struct {
	Machine scenarios.Machine `json:"machine,omitempty" doc:"what the guest has besides disks"`
	Disks   []scenarios.Disk  `json:"disks,omitempty" least:"0" doc:"the disks; at least one, unless a layer lies on nothing"`
	Require scenarios.Require `json:"require,omitempty" doc:"what must hold for the case to mean anything"`
	Stack   []scenarios.Layer `json:"stack,omitempty" least:"0" doc:"the layers, from the bottom up"`
	Steps   []scenarios.Step  `json:"steps" doc:"what is done, in order"`
	Expect  scenarios.Expect  `json:"expect,omitempty" doc:"outcomes that pass, for every io that does not say its own"`
}

// scenarioKeys are the keys of a scenario, in the order in which people write
// them.
func scenarioKeys() []string {
	return []string{"name", "about", "machine", "disks", "require", "stack", "steps", "expect", "parameters", "matrix", "exclude", "allow", "story", "trace", "cold"}
}

// A source is a scenario as it was read, of which cases can be made.
type source struct {
	*decoder
	head       head
	body       *yaml.Node
	parameters []parameter // those of the matrix first
	excluded   []exclusion
	scenario   *scenarios.Scenario
}

// Parse reads one scenario from src. It is strict: an unknown or missing key,
// a wrong type, a value that can't work, or a second document is an *Error
// with the line and what is allowed. Every case of the matrix is read. name
// stands in the error and is where the source came from.
func Parse(name string, src []byte) (*scenarios.Scenario, error) {
	s := open(name, src)
	if s.err == nil {
		s.check()
	}
	if s.err != nil {
		return nil, s.err
	}
	return s.scenario, nil
}

// open reads what all cases share.
func open(name string, src []byte) *source {
	s := &source{decoder: newDecoder(name, scenarioFile), scenario: &scenarios.Scenario{Source: slices.Clone(src)}}
	root := s.document(src)
	if s.err != nil {
		return s
	}
	if root.Kind == yaml.MappingNode {
		s.modernize(root)
	}
	keys := slots(reflect.ValueOf(&s.head).Elem())
	rest := &yaml.Node{Kind: yaml.MappingNode, Line: root.Line}
	s.split(root, keys, rest)
	if s.err != nil {
		return s
	}
	s.body = rest
	s.readParameters()
	h := s.head
	s.scenario.Name, s.scenario.About, s.scenario.Story, s.scenario.Allow, s.scenario.Trace, s.scenario.Cold = h.Name, h.About, h.Story, h.Allow, h.Trace, h.Cold
	for _, p := range s.parameters {
		if p.varied {
			s.scenario.Matrix = append(s.scenario.Matrix, scenarios.Param{Name: p.name, Values: p.names()})
		} else {
			s.scenario.Parameters = append(s.scenario.Parameters, scenarios.Setting{Name: p.name, Value: p.values[0].name})
		}
	}
	return s
}

// split reads the keys of the head, and puts the others into rest.
func (s *source) split(root *yaml.Node, keys []slot, rest *yaml.Node) {
	known := scenarioKeys()
	if root.Kind != yaml.MappingNode {
		s.fail(root.Line, "a mapping with the keys %s is wanted here, not %s", keyList(known), describe(root))
		return
	}
	mine := &yaml.Node{Kind: yaml.MappingNode, Line: root.Line}
	seen := map[string]bool{}
	for i := 0; i < len(root.Content); i += 2 {
		key := root.Content[i]
		to := rest
		switch {
		case key.Kind != yaml.ScalarNode || !slices.Contains(known, key.Value):
			s.fail(key.Line, "unknown key %s%s; allowed: %s", quote(key.Value), text.DidYouMean(key.Value, known), keyList(known))
			return
		case seen[key.Value]:
			s.fail(key.Line, "the key %s is here twice", key.Value)
			return
		case slices.ContainsFunc(keys, func(f slot) bool { return f.key == key.Value }):
			to = mine
		}
		seen[key.Value] = true
		to.Content = append(to.Content, key, root.Content[i+1])
	}
	s.object("", mine, keys)
}

// check reads every case and refuses what can't be, with the line of the value
// that is to blame.
func (s *source) check() {
	used := map[string]bool{}
	var cases []scenarios.Case
	hits := make([]bool, len(s.excluded))
	work := 0
	s.each(nil, func(chosen []choice) bool {
		if i := s.excludes(chosen); i >= 0 {
			hits[i] = true
			return true
		}
		c, size, err := s.makeCase(chosen, used)
		if err != nil {
			if len(cases) > 0 {
				err.Msg += " (in the case " + label(c) + ")"
			}
			s.err = err
			return false
		}
		if work += size; work > maxWork {
			s.failAt("matrix", "the cases are too large together; have fewer of them, or a smaller stack")
			return false
		}
		cases = append(cases, c)
		return true
	})
	for i, hit := range hits {
		if !hit {
			s.failAt(fmt.Sprintf("exclude[%d]", i), "no case is left out by it")
		}
	}
	if len(cases) == 0 {
		s.failAt("exclude", "every case is left out")
	}
	for _, p := range s.parameters {
		if !used[p.name] {
			s.failAt(p.path, "the parameter is not used; write ${%s} where it is to stand", p.name)
		}
	}
	if s.err == nil {
		s.checkStory(cases)
	}
}
