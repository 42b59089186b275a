package hunt

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
	"github.com/blockrig/blockrig/scenarios/programs"
)

// machineMemory is the guest's: each stack takes a process.
const machineMemory scenarios.Bytes = 512 << 20

// dmaAlignment is that of an AHCI disk (libata), the alignment minus one.
const dmaAlignment = 511

// newSetup is a machine with stacks, and gives what programs on each go to.
func newSetup(stacks []Stack, prefix func(i int) string) (setup scenarios.Setup, tops []string) {
	setup.Machine.Memory = machineMemory
	for i, s := range stacks {
		tops = append(tops, s.Build(&setup, prefix(i)))
		setup.Machine.Memory = max(setup.Machine.Memory, s.memory())
	}
	if alignment := dmaAlignment; len(setup.Disks) > 0 {
		setup.Require.DMAAlignment = &alignment
	}
	return setup, tops
}

// scenario writes a scenario as YAML. What it gives package language can read.
func scenario(name, about string, s scenarios.Setup, steps []scenarios.Step) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nabout: |\n", name)
	for line := range strings.Lines(about) {
		b.WriteString("  " + strings.TrimRight(line, "\n") + "\n")
	}
	fmt.Fprintf(&b, "\nmachine: {memory: %dMiB}\n", s.Machine.Memory>>20)
	if len(s.Disks) > 0 {
		if err := list(&b, "disks", s.Disks); err != nil {
			return "", err
		}
	}
	if s.Require.DMAAlignment != nil || len(s.Require.Queue) > 0 {
		require, err := flow(s.Require)
		if err != nil {
			return "", err
		}
		b.WriteString("\nrequire: " + require + "\n")
	}
	if len(s.Stack) > 0 {
		if err := list(&b, "stack", s.Stack); err != nil {
			return "", err
		}
	}
	err := list(&b, "steps", steps)
	return b.String(), err
}

func list[T any](b *strings.Builder, key string, items []T) error {
	fmt.Fprintf(b, "\n%s:\n", key)
	for _, item := range items {
		line, err := flow(item, inKind)
		if err != nil {
			return fmt.Errorf("write %s: %w", key, err)
		}
		b.WriteString("  - " + line + "\n")
	}
	return nil
}

// flow is a value on one line, without what says nothing.
func flow(v any, then ...func(*yaml.Node)) (string, error) {
	src, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil { // JSON is YAML
		return "", err
	}
	root := doc.Content[0]
	tidy(root)
	for _, f := range then {
		f(root)
	}
	out, err := yaml.Marshal(root)
	line := strings.TrimSpace(string(out))
	if err == nil && strings.Contains(line, "\n") {
		err = fmt.Errorf("it takes several lines: %s", text.Excerpt(out, 200))
	}
	return line, err
}

// inKind moves the name and the place of a layer or step to the keys of its kind,
// where scenarios have them.
func inKind(n *yaml.Node) {
	kind := slices.IndexFunc(n.Content, func(c *yaml.Node) bool { return c.Kind == yaml.MappingNode })
	if kind < 1 {
		return
	}
	key, value := n.Content[kind-1], n.Content[kind]
	if key.Value == "parallel" { // the same of its steps
		for _, groups := range value.Content {
			for _, group := range groups.Content {
				for _, step := range group.Content {
					inKind(step)
				}
			}
		}
	}
	rest := slices.Delete(slices.Clone(n.Content), kind-1, kind+1)
	value.Content = append(rest, value.Content...)
	n.Content, n.Style = []*yaml.Node{key, value}, 0
}

// tidy drops what an I/O has by default, and the quotes that YAML does not need.
func tidy(n *yaml.Node) {
	n.Style &^= yaml.DoubleQuotedStyle
	if n.Kind != yaml.MappingNode {
		for _, c := range n.Content {
			tidy(c)
		}
		return
	}
	var kept []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if value.Kind == yaml.ScalarNode && idle(key.Value, value.Value) {
			continue
		}
		tidy(key)
		tidy(value)
		kept = append(kept, key, value)
	}
	n.Content = kept
}

// idle says whether a key's value is what it is without the key.
func idle(key, value string) bool {
	switch key {
	case "offset", "memory_offset", "seed":
		return value == "0"
	case "count", "depth":
		return value == "1"
	case "expect": // of an act
		return value == "" || value == "ok"
	case "verdict":
		return value == "" || value == "error"
	case "limit": // of a wait
		return value == "30s"
	case "at": // of a power cut
		return value == "now"
	case "errno": // of a fault
		return value == "EIO"
	case "after": // of a fault
		return value == "0"
	case "threads":
		return value == "0" || value == "1"
	case "random", "unmapped", "sparse", "polled", "changing":
		return value == "false"
	}
	return false
}

// parse makes the only case of what scenario wrote.
func parse(name, src string) (scenarios.Case, error) {
	sc, err := language.Parse(name+".yaml", []byte(src))
	if err != nil {
		return scenarios.Case{}, err
	}
	cases, err := language.Cases(sc, nil)
	if err != nil {
		return scenarios.Case{}, err
	}
	return cases[0], nil
}

// A field is a machine with all stacks of a hunt.
type field struct {
	Case scenarios.Case
	Tops map[string]string // by stack: what its programs go to
}

// newField puts stacks side by side.
func newField(stacks []Stack) (field, error) {
	f := field{Tops: map[string]string{}}
	setup, tops := newSetup(stacks, func(i int) string { return fmt.Sprintf("s%d", i) })
	var names []string
	for i, s := range stacks {
		f.Tops[s.Name] = tops[i]
		names = append(names, s.Name)
	}
	step := scenarios.Step{IO: &scenarios.IO{Op: "pread", On: f.Tops[stacks[0].Name], Direct: true, Length: 4096, Count: 1, Depth: 1}}
	src, err := scenario("hunt-field", "Stacks side by side: "+strings.Join(names, ", ")+".", setup, []scenarios.Step{step})
	if err != nil {
		return f, err
	}
	f.Case, err = parse("hunt-field", src)
	return f, err
}

// A setting is in what a program is done as a scenario, beside its stack.
type setting struct {
	filled bool // it begins with a write of all that programs use, so that what is read can be known
	// unwritten: it begins with zeroes in all of the file that programs use, that
	// stand nowhere, as programs leave them behind
	unwritten bool
	held      bool // the device is open all the time, as in a sweep: its last close writes back
	agree     bool // at its end the copies that layers keep are compared
	twist     *Twist
}

// What a setting begins with.
var (
	fill    = scenarios.IO{Op: "pwrite", Direct: true, Length: programs.Space, Count: 1, Depth: 1}
	unwrite = scenarios.IO{Op: "fallocate", Mode: "zero-range", Length: programs.Space, Count: 1, Depth: 1}
)

// begins says what is done before a program, a line each.
func (in setting) begins(s Stack) (lines []string) {
	if in.held && !s.OnFile() {
		lines = append(lines, "open, until the end")
	}
	if in.filled && !s.OnFile() {
		lines = append(lines, programs.Say(fill))
	}
	if in.unwritten && s.OnFile() {
		lines = append(lines, programs.Say(unwrite))
	}
	return lines
}

// keepsCopies says whether a layer keeps the same on several devices.
func keepsCopies(l scenarios.Layer) bool {
	return l.MD != nil && l.MD.Level == "raid1" || l.LVM != nil && (l.LVM.Type == "mirror" || l.LVM.Type == "raid1")
}

// single writes a program on one stack as a scenario.
func single(name, about string, s Stack, p Program, in setting) (src string, c scenarios.Case, err error) {
	setup, tops := newSetup([]Stack{s}, func(int) string { return "" })
	top := tops[0]
	var steps []scenarios.Step
	if in.held && !s.OnFile() {
		steps = append(steps, scenarios.Step{Act: &scenarios.Act{Do: "hold", To: top}})
	}
	if in.filled && !s.OnFile() {
		o := fill
		o.On = top
		steps = append(steps, scenarios.Step{Name: "fill", IO: &o})
	}
	if in.unwritten && s.OnFile() {
		o := unwrite
		o.On, o.Expect = top, expectOf(unwrite, s)
		steps = append(steps, scenarios.Step{Name: "unwritten", IO: &o})
	}
	twist := func(at int) {
		if in.twist != nil && min(in.twist.At, len(p)) == at {
			steps = append(steps, in.twist.step())
		}
	}
	for i, o := range p {
		twist(i)
		o.On, o.Count, o.Depth = top, 1, 1
		o.Expect = expectOf(o, s)
		if len(o.Vectors) > 0 {
			o.Vectors = slices.Clone(o.Vectors)
		}
		steps = append(steps, scenarios.Step{IO: &o})
	}
	twist(len(p))
	if p.Changes() {
		steps = append(steps, scenarios.Step{Check: &scenarios.Check{Data: top, Verdict: string(scenarios.Corrupt)}})
	}
	for _, l := range setup.Stack {
		if in.agree && keepsCopies(l) {
			steps = append(steps, scenarios.Step{Check: &scenarios.Check{Agree: l.Name, Verdict: string(scenarios.Corrupt)}})
		}
	}
	if src, err = scenario(name, about, setup, steps); err != nil {
		return "", c, err
	}
	c, err = parse(name, src)
	return src, c, err
}
