package debian

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// A dependency is one alternative of a dependency field.
type dependency struct{ name, op, version string }

// parseDepends reads a dependency field: all of the outer list, one of each
// inner list. Architecture qualifiers (libc6:any) are dropped.
func parseDepends(field string) [][]dependency {
	var all [][]dependency
	for group := range strings.SplitSeq(field, ",") {
		var alternatives []dependency
		for one := range strings.SplitSeq(group, "|") {
			name, constraint, _ := strings.Cut(strings.TrimSpace(one), "(")
			name, _, _ = strings.Cut(strings.TrimSpace(name), ":")
			if name == "" {
				continue
			}
			d := dependency{name: name}
			d.op, d.version, _ = strings.Cut(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(constraint), ")")), " ")
			d.version = strings.TrimSpace(d.version)
			alternatives = append(alternatives, d)
		}
		if alternatives != nil {
			all = append(all, alternatives)
		}
	}
	return all
}

func (d dependency) allows(version string) bool {
	c := CompareVersions(version, d.version)
	switch d.op {
	case "":
		return true
	case "=":
		return c == 0
	case ">=":
		return c >= 0
	case "<=":
		return c <= 0
	case ">>":
		return c > 0
	case "<<":
		return c < 0
	}
	return false
}

// Depends gives the named packages and all that they depend on (Depends and
// Pre-Depends, not Recommends), each in its newest version, ordered so that a
// package comes after what it depends on (where that goes round in circles,
// in some fixed order). With suite "" all suites are looked into. Of
// alternatives the first to be had is taken, and a virtual package's first
// provider by name.
//
// It fails with ErrNotFound when a package or a dependency is not there.
func (a *Apt) Depends(ctx context.Context, suite string, names ...string) ([]Package, error) {
	candidates := map[string][]Package{} // by name, and by what they provide
	looked := map[string]bool{}
	next := slices.Clone(names)
	// A pass over the lists for each step from the roots costs tens of
	// milliseconds; holding all packages would cost a hundred megabytes.
	for len(next) > 0 {
		wanted := map[string]bool{}
		for _, name := range next {
			if !looked[name] {
				wanted[name], looked[name] = true, true
			}
		}
		next = nil
		if len(wanted) == 0 {
			break
		}
		err := a.scan(ctx, suite, func(in string, name, stanza []byte) error {
			real := wanted[string(name)]
			if !real && !strings.Contains(string(stanza), "\nProvides: ") {
				return nil
			}
			p, ok := parsePackage(stanza, in)
			if !ok {
				return nil
			}
			taken := real
			if real {
				candidates[p.Name] = append(candidates[p.Name], p)
			}
			for _, group := range parseDepends(p.Provides) {
				if virtual := group[0].name; wanted[virtual] && virtual != p.Name {
					candidates[virtual] = append(candidates[virtual], p)
					taken = true
				}
			}
			if taken {
				for _, group := range parseDepends(p.Depends) {
					for _, d := range group {
						next = append(next, d.name)
					}
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("find what %s depends on: %w", strings.Join(names, ", "), err)
		}
	}
	for name, found := range candidates {
		slices.SortStableFunc(found, func(p, q Package) int { return preferred(name, p, q) })
	}
	r := resolver{candidates: candidates, state: map[string]bool{}}
	for _, name := range names {
		if err := r.add([]dependency{{name: name}}, "what was asked for"); err != nil {
			return nil, fmt.Errorf("find what %s depends on: %w", strings.Join(names, ", "), err)
		}
	}
	return r.order, nil
}

// preferred orders candidates for name: the real package before providers,
// then by name, then newest first.
func preferred(name string, p, q Package) int {
	if pr, qr := p.Name == name, q.Name == name; pr != qr {
		if pr {
			return -1
		}
		return 1
	}
	if c := strings.Compare(p.Name, q.Name); c != 0 {
		return c
	}
	return CompareVersions(q.Version, p.Version)
}

type resolver struct {
	candidates map[string][]Package
	state      map[string]bool // by name: being added or added
	order      []Package
}

func (r *resolver) add(alternatives []dependency, by string) error {
	var p *Package
	for _, d := range alternatives {
		for i, c := range r.candidates[d.name] {
			// What provides a name seldom says which version of it.
			if c.Name == d.name && d.allows(c.Version) || c.Name != d.name && d.op == "" {
				p = &r.candidates[d.name][i]
				break
			}
		}
		if p != nil {
			break
		}
	}
	if p == nil {
		var names []string
		for _, d := range alternatives {
			names = append(names, strings.TrimSpace(d.name+" "+strings.TrimSpace(d.op+" "+d.version)))
		}
		return fmt.Errorf("%w: %s (needed by %s)", ErrNotFound, strings.Join(names, " or "), by)
	}
	if r.state[p.Name] {
		return nil
	}
	r.state[p.Name] = true
	for _, group := range parseDepends(p.Depends) {
		if err := r.add(group, p.Name); err != nil {
			return err
		}
	}
	r.order = append(r.order, *p)
	return nil
}
