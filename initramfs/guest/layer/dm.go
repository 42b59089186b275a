package layer

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

var _ = register("dm", func(l scenarios.Layer) kind { return dm{l.DM} })

// dm is a device-mapper device with a table of the scenario's own.
type dm struct{ *scenarios.DM }

// lines are those of the table, with devices in place of their names.
func (d dm) lines(p *Part) ([]string, error) {
	s := Stack{Parts: p.On}
	return s.ExpandAll(d.Table)
}

func (d dm) build(h Host, p *Part) error {
	lines, err := d.lines(p)
	if err != nil {
		return err
	}
	file, err := tableFile(lines)
	if err != nil {
		return err
	}
	if _, err := h.Tool("dmsetup", "create", p.Name, "--noudevsync", "--noudevrules", file); err != nil {
		return err
	}
	p.Device, err = dmByName(p.Name)
	return err
}

// tableFile writes a table to a file: an option of dmsetup takes one line.
func tableFile(lines []string) (string, error) {
	const name = "/run/blockrig.table"
	return name, os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// prove compares the targets of the table that the kernel runs. What it says of
// their arguments is its own: numbers for devices, counts of features.
func (d dm) prove(p *Part) ([]string, error) {
	lines, err := d.lines(p)
	if err != nil {
		return nil, err
	}
	table, err := dmTargets(p.Device.No, true)
	if err != nil {
		return nil, err
	}
	if len(table) != len(lines) {
		return nil, fmt.Errorf("the table has %d targets, not %d", len(table), len(lines))
	}
	facts := []string{fmt.Sprintf("%s is %s (%s)", p.Name, p.Device.Name, p.Device)}
	for i, t := range table {
		f := strings.Fields(lines[i])
		if len(f) < 3 || f[0] != fmt.Sprint(t.start) || f[1] != fmt.Sprint(t.length) || f[2] != t.kind {
			return nil, fmt.Errorf("the table says %q, not %q", t, lines[i])
		}
		facts = append(facts, "dm table: "+t.String())
	}
	named := map[*Part]bool{}
	s := Stack{Parts: p.On}
	for _, l := range d.Table {
		for _, b := range s.named(l) {
			named[b] = true
		}
	}
	if len(named) == 0 {
		return facts, nil // error, zero: on nothing
	}
	on, err := p.liesOnSome(func(b *Part) bool { return !named[b] })
	if err != nil {
		return nil, err
	}
	return append(facts, on), nil
}

func (d dm) table(p *Part) (string, error) {
	table, err := dmTargets(p.Device.No, true)
	var out []string
	for _, t := range table {
		out = append(out, t.String())
	}
	return strings.Join(out, "; "), err
}

// legs are those of the targets that have any.
func (d dm) legs(p *Part) ([]scenarios.Leg, bool, error) { return dmLegs(p) }

// dmLegs are those of all mirror and raid targets of a table.
func dmLegs(p *Part) (legs []scenarios.Leg, inSync bool, err error) {
	status, err := dmTargets(p.Device.No, false)
	if err != nil {
		return nil, false, err
	}
	inSync = true
	for _, t := range status {
		if t.kind != "mirror" && t.kind != "raid" {
			continue
		}
		more, ok, err := parseLegs(t)
		if err != nil {
			return nil, false, err
		}
		legs, inSync = append(legs, more...), inSync && ok
	}
	return legs, inSync, nil
}

func (d dm) act(h Host, s *Stack, p *Part, a scenarios.Act) error { return dmAct(h, s, p, p.Name, a) }

// dmAct does what dmsetup(8) can do to a device.
func dmAct(h Host, s *Stack, p *Part, name string, a scenarios.Act) error {
	dmsetup := func(args ...string) error {
		_, err := h.Tool("dmsetup", args...)
		return err
	}
	switch a.Do {
	case "suspend", "resume":
		return dmsetup(append([]string{a.Do, "--noudevsync", name}, a.Args...)...)
	case "message":
		if len(a.Args) == 0 {
			return fmt.Errorf("%w: a message without a text", ErrCannot)
		}
		return dmsetup(append([]string{"message", name, "0"}, a.Args...)...)
	case "reload":
		// Its arguments are the lines of the table.
		if len(a.Args) == 0 {
			return fmt.Errorf("%w: a reload without a table", ErrCannot)
		}
		file, err := tableFile(a.Args)
		if err != nil {
			return err
		}
		if err = dmsetup("suspend", "--noudevsync", name); err == nil {
			err = dmsetup("reload", name, file)
		}
		// Whatever came of it, the device must not stay suspended.
		return errors.Join(err, dmsetup("resume", "--noudevsync", name))
	case "remove", "stop":
		return dmsetup("remove", "--noudevsync", name)
	}
	return p.cannot(a)
}
