package language

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// stepKeys are the keys of a step for which a parameter can stand.
var stepKeys = []string{"offset", "length", "memory_offset"}

// pageSize is that of the only architecture that there is, in bytes.
const pageSize = 4096

// Cases gives the cases of a scenario: every combination of its matrix, the
// first parameter changing slowest. A parameter in set has that value alone,
// which may be one outside the matrix.
func Cases(s *scenarios.Scenario, set map[string]int64) ([]scenarios.Case, error) {
	for _, name := range slices.Sorted(maps.Keys(set)) {
		var declared []string
		for _, p := range s.Matrix {
			declared = append(declared, p.Name)
		}
		if !slices.Contains(declared, name) {
			return nil, fmt.Errorf("scenario %s has no parameter %s%s; it has: %s", s.Name, quote(name), text.DidYouMean(name, declared), orNone(declared))
		}
	}
	var cases []scenarios.Case
	err := eachCase(s, set, func(c scenarios.Case) error {
		if bad := checkStep(s, c.Step); bad != nil {
			return fmt.Errorf("scenario %s, case %s: %s: %s", s.Name, label(c), bad.key, bad.msg)
		}
		if len(c.Expect) == 0 {
			return fmt.Errorf("scenario %s, case %s: the scenario does not say what to expect of it", s.Name, label(c))
		}
		cases = append(cases, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return cases, nil
}

// eachCase calls do with every case in order, until it fails.
func eachCase(s *scenarios.Scenario, set map[string]int64, do func(scenarios.Case) error) error {
	params := make([]scenarios.Param, len(s.Matrix))
	for i, p := range s.Matrix {
		params[i] = p
		if v, ok := set[p.Name]; ok {
			params[i].Values = []int64{v}
		}
		if len(params[i].Values) == 0 {
			return fmt.Errorf("parameter %s has no values", p.Name)
		}
	}
	place := make([]int, len(params))
	for {
		if err := do(makeCase(s, params, place)); err != nil {
			return err
		}
		i := len(place) - 1
		for ; i >= 0; i-- {
			if place[i]++; place[i] < len(params[i].Values) {
				break
			}
			place[i] = 0
		}
		if i < 0 {
			return nil
		}
	}
}

func makeCase(s *scenarios.Scenario, params []scenarios.Param, place []int) scenarios.Case {
	c := scenarios.Case{Scenario: s, Step: s.Step}
	var id []string
	value := map[string]int64{}
	for i, p := range params {
		v := p.Values[place[i]]
		value[p.Name] = v
		c.Params = append(c.Params, scenarios.Setting{Name: p.Name, Value: v})
		id = append(id, fmt.Sprintf("%s=%d", p.Name, v))
	}
	c.ID = strings.Join(id, ",")
	for key, name := range s.StepParams {
		switch key {
		case "offset":
			c.Step.Offset = value[name]
		case "length":
			c.Step.Length = value[name]
		case "memory_offset":
			c.Step.MemoryOffset = value[name]
		}
	}
	unit := alignment(s)
	c.Aligned = c.Step.Offset%unit == 0 && c.Step.Length%unit == 0 && c.Step.MemoryOffset%unit == 0
	c.Expect = s.Expect.Misaligned
	if c.Aligned {
		c.Expect = s.Expect.Aligned
	}
	return c
}

// alignment is what an address, an offset and a length have to be multiples
// of to be aligned, in bytes.
func alignment(s *scenarios.Scenario) int64 {
	if s.Require.DMAAlignment != nil {
		return int64(*s.Require.DMAAlignment) + 1
	}
	return 512
}

// label names a case for people.
func label(c scenarios.Case) string {
	if c.ID == "" {
		return "without parameters"
	}
	return c.ID
}

// A badStep is what a step can't do, and the key that is to blame.
type badStep struct{ key, msg string }

func checkStep(s *scenarios.Scenario, step scenarios.Step) *badStep {
	file := int64(s.Stack.File.Size)
	// The buffer has to fit into the guest beside everything else.
	buffer := int64(s.Machine.Memory) / 4
	switch {
	case step.Offset < 0 || step.Offset >= file:
		return &badStep{"offset", fmt.Sprintf("%d is not allowed; it may be from 0 to %d, inside the file of %s", step.Offset, file-1, s.Stack.File.Size)}
	case step.Length < 1 || step.Length > file:
		return &badStep{"length", fmt.Sprintf("%d is not allowed; it may be from 1 to %d, the size of the file", step.Length, file)}
	case step.Length > file-step.Offset:
		return &badStep{"length", fmt.Sprintf("%d bytes from offset %d go beyond the end of the file of %s", step.Length, step.Offset, s.Stack.File.Size)}
	case step.Length > buffer:
		return &badStep{"length", fmt.Sprintf("%d is not allowed; a buffer may have at most a quarter of the machine's memory, %d", step.Length, buffer)}
	case step.MemoryOffset < 0 || step.MemoryOffset >= pageSize:
		return &badStep{"memory_offset", fmt.Sprintf("%d is not allowed; it may be from 0 to %d, inside a page", step.MemoryOffset, pageSize-1)}
	}
	return nil
}

// ParseSet reads settings written name=value, as --set takes them and a
// Case's ID has them, for Cases.
func ParseSet(settings []string) (map[string]int64, error) {
	set := map[string]int64{}
	for _, text := range settings {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s is no setting; write parameter=value", quote(text))
		}
		v, ok := scenarios.ParseInt(value)
		if !ok {
			return nil, fmt.Errorf("%s: the value must be a decimal integer", quote(text))
		}
		if old, twice := set[name]; twice && old != v {
			return nil, fmt.Errorf("the parameter %s is set to %d and to %d", quote(name), old, v)
		}
		set[name] = v
	}
	return set, nil
}

// ErrNoCase says that a scenario has no case of that name.
var ErrNoCase = errors.New("no such case")

// OneCase gives the case of a scenario with that ID. Its parameters may be in any order,
// and their values may lie outside the matrix, but all must be there.
func OneCase(s *scenarios.Scenario, id string) (scenarios.Case, error) {
	var settings []string
	if id != "" {
		settings = strings.Split(id, ",")
	}
	set, err := ParseSet(settings)
	if err != nil {
		return scenarios.Case{}, fmt.Errorf("case %s: %w", quote(id), err)
	}
	for _, p := range s.Matrix {
		if _, ok := set[p.Name]; !ok {
			return scenarios.Case{}, fmt.Errorf("case %s of scenario %s: parameter %s is missing: %w", quote(id), s.Name, p.Name, ErrNoCase)
		}
	}
	cases, err := Cases(s, set)
	if err != nil {
		return scenarios.Case{}, err
	}
	return cases[0], nil
}
