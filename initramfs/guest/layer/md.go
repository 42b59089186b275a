package layer

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/blockrig/blockrig/scenarios"
)

var _ = register("md", func(l scenarios.Layer) kind { return md{*l.MD} })

// md is an array over all that it lies on.
type md struct{ scenarios.MD }

// roles sorts what the array lies on into its members, in their places, and
// what stands beside them.
func (m md) roles(p *Part) (members, spares, journal []string, err error) {
	nodes := p.nodes()
	if m.Journal {
		if len(nodes) < 2 {
			return nil, nil, nil, errors.New("a journal needs a device besides the members")
		}
		journal, nodes = nodes[len(nodes)-1:], nodes[:len(nodes)-1]
	}
	if m.Spares >= len(nodes) {
		return nil, nil, nil, fmt.Errorf("%d spares of %d devices leave no member", m.Spares, len(nodes))
	}
	members, spares = nodes[:len(nodes)-m.Spares], nodes[len(nodes)-m.Spares:]
	members = slices.Clone(members)
	for _, i := range m.Missing {
		if i < 0 || i >= len(members) {
			return nil, nil, nil, fmt.Errorf("no place %d of %d members can be missing", i, len(members))
		}
		members[i] = "missing"
	}
	return members, spares, journal, nil
}

// missing says whether a device was left out when the array was made.
func (m md) missing(p *Part, b *Part) bool { return slices.Contains(m.Missing, slices.Index(p.On, b)) }

func (m md) build(h Host, p *Part) error {
	members, spares, journal, err := m.roles(p)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("md%d", p.number)
	args := []string{"--create", "/dev/" + name, "--run", "--metadata=" + orDefault(m.Metadata, "1.2")}
	bitmap := orDefault(m.Bitmap, "none")
	switch {
	case m.Consistency != "":
		args = append(args, "--consistency-policy="+m.Consistency)
		if bitmap != "none" {
			args = append(args, "--bitmap="+bitmap)
		}
	case journal == nil:
		args = append(args, "--bitmap="+bitmap)
	}
	args = append(args, "--level="+m.Level, fmt.Sprintf("--raid-devices=%d", len(members)))
	if m.Chunk > 0 {
		args = append(args, fmt.Sprintf("--chunk=%d", int64(m.Chunk)/1024))
	}
	if m.Layout != "" {
		args = append(args, "--layout="+m.Layout)
	}
	if m.Size > 0 {
		args = append(args, fmt.Sprintf("--size=%d", int64(m.Size)/1024))
	}
	if m.WriteBehind > 0 {
		args = append(args, fmt.Sprintf("--write-behind=%d", m.WriteBehind))
	}
	if m.AssumeClean {
		args = append(args, "--assume-clean")
	}
	if len(spares) > 0 {
		args = append(args, fmt.Sprintf("--spare-devices=%d", len(spares)))
	}
	if journal != nil {
		args = append(args, "--write-journal="+journal[0])
	}
	all := append(members, spares...)
	// The option holds for all devices that follow it.
	mostly := len(all)
	for mostly > 0 && slices.Contains(m.WriteMostly, mostly-1) {
		mostly--
	}
	args = append(args, all[:mostly]...)
	if mostly < len(all) {
		args = append(append(args, "--write-mostly"), all[mostly:]...)
	}
	if _, err := h.Tool("mdadm", args...); err != nil {
		return err
	}
	if err := p.found(name); err != nil {
		return err
	}
	for _, i := range m.WriteMostly {
		if i < mostly && i >= 0 {
			if err := h.Self("text", filepath.Join("/sys/block", name, "md", "dev-"+filepath.Base(all[i]), "state"), "writemostly"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m md) prove(p *Part) ([]string, error) {
	sys := filepath.Join("/sys/block", p.Device.Name, "md")
	if err := expectFile(filepath.Join(sys, "level"), m.Level); err != nil {
		return nil, err
	}
	members, _, _, err := m.roles(p)
	if err != nil {
		return nil, err
	}
	if err := expectFile(filepath.Join(sys, "raid_disks"), strconv.Itoa(len(members))); err != nil {
		return nil, err
	}
	if m.Metadata != "" {
		if err := expectFile(filepath.Join(sys, "metadata_version"), m.Metadata); err != nil {
			return nil, err
		}
	}
	if m.Chunk > 0 {
		if err := expectFile(filepath.Join(sys, "chunk_size"), strconv.FormatInt(int64(m.Chunk), 10)); err != nil {
			return nil, err
		}
	}
	if m.Bitmap == "internal" {
		at, err := ReadText(filepath.Join(sys, "bitmap/location"))
		if err != nil {
			return nil, err
		}
		if at == "none" {
			return nil, errors.New("the array has no bitmap")
		}
	}
	if m.WriteBehind > 0 {
		if err := expectFile(filepath.Join(sys, "bitmap/backlog"), strconv.Itoa(m.WriteBehind)); err != nil {
			return nil, err
		}
	}
	if m.Consistency != "" {
		if err := expectFile(filepath.Join(sys, "consistency_policy"), m.Consistency); err != nil {
			return nil, err
		}
	}
	for i, node := range members {
		if !slices.Contains(m.WriteMostly, i) || node == "missing" {
			continue
		}
		state, err := ReadText(filepath.Join(sys, "dev-"+filepath.Base(node), "state"))
		if err != nil {
			return nil, err
		}
		if !slices.Contains(strings.Split(state, ","), "write_mostly") {
			return nil, fmt.Errorf("%s is %s, and not write-mostly", node, state)
		}
	}
	on, err := p.liesOnSome(func(b *Part) bool { return m.missing(p, b) })
	if err != nil {
		return nil, err
	}
	return []string{on, fmt.Sprintf("%s is an md array of level %s with %d places", p.Device.Name, m.Level, len(members))}, nil
}

func (m md) table(*Part) (string, error) { return "md " + m.Level, nil }

// legs reads the members of an array (Documentation/admin-guide/md.rst).
func (m md) legs(p *Part) ([]scenarios.Leg, bool, error) {
	if m.Level == "raid0" || m.Level == "linear" {
		return nil, true, nil
	}
	dir := filepath.Join("/sys/block", p.Device.Name, "md")
	files, err := filepath.Glob(filepath.Join(dir, "dev-*"))
	if err != nil {
		return nil, false, err
	}
	var legs []scenarios.Leg
	spares := 0
	for _, f := range files {
		state, err := ReadText(filepath.Join(f, "state"))
		if err != nil {
			return nil, false, fmt.Errorf("state of a member: %w", err)
		}
		flags := strings.Split(state, ",")
		leg := scenarios.Leg{Name: strings.TrimPrefix(filepath.Base(f), "dev-"), Health: state}
		leg.OK = !slices.ContainsFunc(flags, func(s string) bool { return s == "faulty" || s == "blocked" })
		if slices.Contains(flags, "spare") {
			// A spare that waits has no place; one that is being rebuilt has.
			slot, err := ReadText(filepath.Join(f, "slot"))
			if err != nil {
				return nil, false, err
			}
			if spares++; slot != "none" || spares > m.Spares {
				leg.OK = false
			}
		} else {
			leg.OK = leg.OK && slices.ContainsFunc(flags, func(s string) bool { return s == "in_sync" || s == "journal" })
		}
		for _, b := range p.On {
			if b.Device.Name == leg.Name && b.Disk != nil {
				leg.Disk = b.Name
			}
		}
		legs = append(legs, leg)
	}
	action, err := ReadText(filepath.Join(dir, "sync_action"))
	if err != nil {
		return nil, false, err
	}
	degraded, err := ReadText(filepath.Join(dir, "degraded"))
	if err != nil {
		return nil, false, err
	}
	for _, b := range p.On {
		if m.missing(p, b) && !slices.ContainsFunc(legs, func(l scenarios.Leg) bool { return l.Name == b.Device.Name }) {
			continue
		}
		// A kicked member disappears from sysfs once it is removed.
		if !slices.ContainsFunc(legs, func(l scenarios.Leg) bool { return l.Name == b.Device.Name }) {
			leg := scenarios.Leg{Name: b.Device.Name, Health: "removed"}
			if b.Disk != nil {
				leg.Disk = b.Name
			}
			legs = append(legs, leg)
		}
	}
	if len(legs) == 0 {
		return nil, false, errors.New("the array has no members")
	}
	return legs, action == "idle" && degraded == strconv.Itoa(len(m.Missing)), nil
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// member is the device that an act is about.
func (s *Stack) member(a scenarios.Act) (*Part, error) {
	if a.Member == "" {
		return nil, fmt.Errorf("%w: %s needs a member", ErrCannot, a.Do)
	}
	p, err := s.Part(a.Member)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCannot, err)
	}
	return p, nil
}

// act does what mdadm(8) and sysfs can do to an array.
func (m md) act(h Host, s *Stack, p *Part, a scenarios.Act) error {
	node := p.Node()
	mdadm := func(args ...string) error {
		_, err := h.Tool("mdadm", args...)
		return err
	}
	sys := func(file, text string) error {
		return h.Self("text", filepath.Join("/sys/block", p.Device.Name, "md", file), text)
	}
	switch a.Do {
	case "fail", "remove", "re-add", "add", "replace":
		b, err := s.member(a)
		if err != nil {
			return err
		}
		if a.Do == "add" && !slices.Contains(p.On, b) {
			defer func() { p.On = append(p.On, b) }()
		}
		return mdadm(append([]string{node, "--" + a.Do, b.Node()}, a.Args...)...)
	case "grow":
		return mdadm(append([]string{"--grow", node}, a.Args...)...)
	case "stop":
		return mdadm("--stop", node)
	case "assemble":
		return m.assembleOf(h, p, p.Device.Name, p.nodes(), a.Args)
	case "check", "repair", "scrub":
		action := orDefault(map[string]string{"scrub": "check"}[a.Do], a.Do)
		if err := sys("sync_action", action); err != nil {
			return err
		}
		return m.idle(h, p)
	case "wait-idle":
		return m.idle(h, p)
	}
	return p.cannot(a)
}

// assembleOf puts an array together of devices; --run: a degraded one, too.
func (m md) assembleOf(h Host, p *Part, name string, nodes, args []string) error {
	if _, err := h.Tool("mdadm", slices.Concat([]string{"--assemble", "/dev/" + name, "--run"}, args, nodes)...); err != nil {
		return err
	}
	return p.found(name)
}

// assemble leaves out what was never in the array, which mdadm would refuse.
// Whether one is missing that must not be the legs show.
func (m md) assemble(h Host, p *Part) error {
	var nodes []string
	for _, node := range p.nodes() {
		var no *exec.ExitError
		switch _, err := h.Tool("mdadm", "--examine", "--brief", node); {
		case err == nil:
			nodes = append(nodes, node)
		case !errors.As(err, &no) || no.ExitCode() <= 0:
			return err
		}
	}
	if err := m.assembleOf(h, p, fmt.Sprintf("md%d", p.number), nodes, nil); err != nil {
		return err
	}
	return p.liesOnAny()
}

// idle waits until the array does nothing by itself any more.
func (m md) idle(h Host, p *Part) error {
	file := filepath.Join("/sys/block", p.Device.Name, "md/sync_action")
	var action string
	ok, err := h.Until(syncLimit, func(time.Duration) (_ bool, err error) {
		action, err = ReadText(file)
		return action == "idle", err
	})
	if err == nil && !ok {
		err = fmt.Errorf("the array is still at %q after %v", action, syncLimit)
	}
	return err
}
