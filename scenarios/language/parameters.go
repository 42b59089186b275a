package language

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// A parameter has one value in each case.
type parameter struct {
	name   string
	path   string
	varied bool // by the matrix
	named  bool // the values have names, which stand for them
	values []choice
}

// A choice is a value of a parameter: how a case's ID calls it, what it is, and
// where it stands.
type choice struct {
	name string
	node *yaml.Node
	from string
}

func (p parameter) names() []string {
	out := make([]string, len(p.values))
	for i, v := range p.values {
		out[i] = v.name
	}
	return out
}

// An exclusion is a combination of values without a case.
type exclusion map[string]string

var (
	paramPattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	// valuePattern is what a case's ID can hold.
	valuePattern = regexp.MustCompile(`^-?[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)
	usePattern   = regexp.MustCompile(`\$\$\{|\$\{([^{}]*)\}`)
)

const valueWords = "letters, digits and . _ + -, at most 64"

func (s *source) readParameters() {
	s.mapping("matrix", s.head.Matrix, s.varied)
	s.mapping("parameters", s.head.Parameters, s.fixed)
	if s.head.Exclude != nil && s.err == nil {
		s.readExclude(s.head.Exclude)
	}
}

// mapping reads a mapping of parameters.
func (s *source) mapping(path string, n *yaml.Node, read func(path, name string, n *yaml.Node) parameter) {
	if n == nil || s.err != nil {
		return
	}
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		s.fail(n.Line, "%s: a mapping of parameters to their values is wanted here, not %s", path, describe(n))
		return
	}
	for i := 0; i < len(n.Content) && s.err == nil; i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || !paramPattern.MatchString(key.Value) {
			s.fail(key.Line, "%s: a parameter's name has at most 32 small letters, digits and underscores and begins with a letter, not %s", path, describe(key))
			return
		}
		if s.parameter(key.Value) != nil {
			s.fail(key.Line, "%s: the key %s is here twice", path, key.Value)
			return
		}
		at := path + "." + key.Value
		s.at[at] = key
		p := read(at, key.Value, n.Content[i+1])
		p.name, p.path = key.Value, at
		s.parameters = append(s.parameters, p)
	}
}

func (s *source) parameter(name string) *parameter {
	for i := range s.parameters {
		if s.parameters[i].name == name {
			return &s.parameters[i]
		}
	}
	return nil
}

func (s *source) parameterNames() []string {
	var out []string
	for _, p := range s.parameters {
		out = append(out, p.name)
	}
	return out
}

// varied reads a parameter of the matrix.
func (s *source) varied(path, _ string, n *yaml.Node) parameter {
	p := parameter{varied: true}
	add := func(c choice, line int) {
		switch {
		case !valuePattern.MatchString(c.name):
			s.fail(line, "%s: %s can't be typed in a case's ID (%s); write {a-name: value, …} in place of the list", c.from, quote(c.name), valueWords)
		case slices.Contains(p.names(), c.name):
			s.fail(line, "%s: %s is here twice", c.from, c.name)
		}
		p.values = append(p.values, c)
	}
	switch {
	case n.Kind == yaml.MappingNode && len(n.Content) > 0:
		p.named = true
		for i := 0; i < len(n.Content) && s.err == nil; i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode {
				s.fail(key.Line, "%s: the name of a value is wanted here, not %s", path, describe(key))
				return p
			}
			add(choice{key.Value, n.Content[i+1], path + "." + text.Escape(key.Value)}, key.Line)
		}
	case n.Kind == yaml.SequenceNode && len(n.Content) > maxCases:
		s.fail(n.Line, "%s: at most %d values are allowed", path, maxCases)
	case n.Kind == yaml.SequenceNode && len(n.Content) > 0:
		for i, v := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			if v.Kind != yaml.ScalarNode || isEmpty(v) {
				s.fail(v.Line, "%s: a word or a number is wanted here, not %s; give other values names: {plain: […], mirror: […]}", at, describe(v))
				return p
			}
			add(choice{v.Value, v, at}, v.Line)
		}
	default:
		s.fail(n.Line, "%s: a list of values such as [512, 4096], or a mapping of names to values, is wanted here, not %s", path, describe(n))
	}
	cases := len(p.values)
	for _, other := range s.parameters {
		cases *= len(other.values)
	}
	if cases > maxCases {
		s.failAt(path, "the matrix has more than %d cases", maxCases)
	}
	return p
}

// fixed reads a parameter that the matrix does not vary.
func (s *source) fixed(path, _ string, n *yaml.Node) parameter {
	c := choice{"", n, path}
	if n.Kind == yaml.ScalarNode {
		c.name = n.Value
	}
	return parameter{values: []choice{c}}
}

func (s *source) readExclude(n *yaml.Node) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		s.fail(n.Line, "exclude: a list of combinations such as {length: 512, stack: mirror} is wanted here, not %s", describe(n))
		return
	}
	for i, item := range n.Content {
		path := fmt.Sprintf("exclude[%d]", i)
		s.at[path] = item
		if item.Kind != yaml.MappingNode || len(item.Content) == 0 {
			s.fail(item.Line, "%s: a combination such as {length: 512, stack: mirror} is wanted here, not %s", path, describe(item))
			return
		}
		e := exclusion{}
		for j := 0; j < len(item.Content) && s.err == nil; j += 2 {
			key, value := item.Content[j], item.Content[j+1]
			if _, twice := e[key.Value]; twice {
				s.fail(key.Line, "%s: the key %s is here twice", path, key.Value)
			}
			s.inMatrix(path, key, value)
			e[key.Value] = value.Value
		}
		s.excluded = append(s.excluded, e)
	}
}

// inMatrix refuses a parameter or a value that the matrix does not have.
func (s *source) inMatrix(path string, key, value *yaml.Node) {
	var names []string
	for _, p := range s.scenarioMatrix() {
		names = append(names, p.name)
	}
	p := s.parameter(key.Value)
	switch {
	case p == nil || !p.varied:
		s.fail(key.Line, "%s: the parameter %s is not in the matrix%s; it has: %s", path, quote(key.Value), text.DidYouMean(key.Value, names), orNone(names))
	case value.Kind != yaml.ScalarNode || !slices.Contains(p.names(), value.Value):
		s.fail(value.Line, "%s: %s is none of the values that the matrix has for %s%s: %s", path, describe(value), p.name, text.DidYouMean(value.Value, p.names()), keyList(p.names()))
	}
}

func (s *source) scenarioMatrix() []parameter {
	return slices.DeleteFunc(slices.Clone(s.parameters), func(p parameter) bool { return !p.varied })
}

// excludes gives the place of the exclusion that leaves out a case, or -1.
func (s *source) excludes(chosen []choice) int {
	return slices.IndexFunc(s.excluded, func(e exclusion) bool {
		for i, p := range s.parameters {
			if want, ok := e[p.name]; ok && chosen[i].name != want {
				return false
			}
		}
		return true
	})
}

// each calls do with the values of every case in order, the first parameter
// changing slowest, until it says no. A parameter in set has that value alone.
func (s *source) each(set map[string]choice, do func([]choice) bool) {
	place := make([]int, len(s.parameters))
	for {
		chosen := make([]choice, len(place))
		for i, p := range s.parameters {
			chosen[i] = p.values[place[i]]
			if c, ok := set[p.name]; ok {
				chosen[i] = c
			}
		}
		if !do(chosen) {
			return
		}
		i := len(place) - 1
		for ; i >= 0; i-- {
			place[i]++
			if _, fixed := set[s.parameters[i].name]; !fixed && place[i] < len(s.parameters[i].values) {
				break
			}
			place[i] = 0
		}
		if i < 0 {
			return
		}
	}
}

// A substitution replaces parameters in the nodes of one case.
type substitution struct {
	*decoder
	source *source
	chosen []choice
	used   map[string]bool
	inside []string // parameters whose values are being replaced
	size   int
}

// maxNodes bounds what one case is made of: values in values grow fast.
const maxNodes = 20_000

// replace gives n with its parameters replaced: n itself where there are none.
func (r *substitution) replace(n *yaml.Node) *yaml.Node {
	if r.size++; r.size > maxNodes {
		r.fail(n.Line, "the case has more than %d values", maxNodes)
	}
	if r.err != nil {
		return n
	}
	if n.Kind == yaml.ScalarNode {
		return r.scalar(n)
	}
	var out *yaml.Node
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			continue
		}
		if with := r.replace(child); with != child {
			if out == nil {
				c := *n
				c.Content = slices.Clone(n.Content)
				out = &c
				if from := r.from[n]; from != "" {
					r.from[out] = from
				}
			}
			out.Content[i] = with
		}
	}
	if out != nil {
		return out
	}
	return n
}

func (r *substitution) scalar(n *yaml.Node) *yaml.Node {
	uses := usePattern.FindAllStringSubmatchIndex(n.Value, -1)
	if len(uses) == 0 {
		return n
	}
	if m := uses[0]; m[0] == 0 && m[1] == len(n.Value) && m[2] >= 0 {
		if c := r.lookUp(n, n.Value[m[2]:m[3]]); c != nil {
			r.inside = append(r.inside, n.Value[m[2]:m[3]])
			r.from[c.node] = c.from
			with := r.replace(c.node)
			r.from[with] = c.from
			r.inside = r.inside[:len(r.inside)-1]
			return with
		}
		return n
	}
	out := *n
	var b strings.Builder
	last := 0
	for _, m := range uses {
		b.WriteString(n.Value[last:m[0]])
		last = m[1]
		if m[2] < 0 { // $${
			b.WriteString("${")
			continue
		}
		name := n.Value[m[2]:m[3]]
		c := r.lookUp(n, name)
		if c == nil {
			return n
		}
		r.inside = append(r.inside, name)
		with := r.replace(c.node)
		r.inside = r.inside[:len(r.inside)-1]
		if with.Kind != yaml.ScalarNode {
			r.fail(n.Line, "the parameter %s is %s, and can't stand inside a text", name, describe(with))
			return n
		}
		b.WriteString(with.Value)
	}
	b.WriteString(n.Value[last:])
	out.Value, out.Tag = b.String(), ""
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		out.Tag = "!!str"
	}
	if r.size += len(out.Value) / 64; len(out.Value) > maxSource {
		r.fail(n.Line, "with its parameters replaced, the text has more than %s", scenarios.Bytes(maxSource))
	}
	return &out
}

// lookUp gives the value of the parameter that n names.
func (r *substitution) lookUp(n *yaml.Node, name string) *choice {
	names := r.source.parameterNames()
	i := slices.Index(names, name)
	switch {
	case i < 0:
		hint := ""
		if n.Value != "${"+name+"}" {
			hint = "; write $${ where ${ is the shell's own"
		}
		r.fail(n.Line, "the parameter %s is not declared in matrix or parameters%s; declared: %s%s", quote(name), text.DidYouMean(name, names), orNone(names), hint)
		return nil
	case slices.Contains(r.inside, name):
		r.fail(n.Line, "the value of the parameter %s holds the parameter itself", name)
		return nil
	}
	r.used[name] = true
	return &r.chosen[i]
}
