package layer

import (
	"fmt"
	"strconv"

	"github.com/blockrig/blockrig/scenarios"
)

// Expand puts devices, folders and sizes in the place of their placeholders.
func (s *Stack) Expand(text string) (string, error) {
	return scenarios.Expand(text, func(h scenarios.Placeholder) (string, error) {
		p, err := s.Part(h.Name)
		if err != nil {
			return "", err
		}
		value, err := p.word(h.Part)
		if err != nil {
			return "", fmt.Errorf("%s: %w", h, err)
		}
		return value, nil
	})
}

// word is what a placeholder stands for.
func (p *Part) word(what string) (string, error) {
	switch {
	case what == "" && p.Path != "":
		return p.Path, nil
	case what == "" && p.Mount != "":
		return p.Mount, nil
	case what == "sys" && p.Device.Name != "":
		return p.Sys(), nil
	case what == "mount" && p.Mount != "":
		return p.Mount, nil
	case what == "sectors" && p.Device.Name != "":
		n, err := p.Bytes()
		return strconv.FormatInt(n/512, 10), err
	case what == "kernel" && p.Device.Name != "":
		return p.Device.Name, nil
	}
	return "", fmt.Errorf("%s has none", p.Name)
}

// ExpandAll is Expand for several texts.
func (s *Stack) ExpandAll(texts []string) ([]string, error) {
	out := make([]string, len(texts))
	for i, t := range texts {
		var err error
		if out[i], err = s.Expand(t); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// named are the parts that placeholders of a text name.
func (s *Stack) named(text string) []*Part {
	var out []*Part
	for _, h := range scenarios.Placeholders(text) {
		if p, err := s.Part(h.Name); err == nil {
			out = append(out, p)
		}
	}
	return out
}
