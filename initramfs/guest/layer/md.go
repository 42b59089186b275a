package layer

import (
	"errors"
	"fmt"
	"maps"
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
	args = append(args, m.Args...)
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
	if m.Bitmap == "lockless" {
		kinds, err := ReadText(filepath.Join(sys, "bitmap_type"))
		if err != nil {
			return nil, err
		}
		if !slices.Contains(strings.Fields(kinds), "[llbitmap]") {
			return nil, fmt.Errorf("the bitmap is %s, not llbitmap", kinds)
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
	if !m.redundant(p) {
		return nil, true, nil
	}
	a, err := m.array(p)
	if err != nil {
		return nil, false, err
	}
	legs, inSync := a.legs()
	for i := range legs {
		for _, b := range p.On {
			if b.Device.Name == legs[i].Name && b.Disk != nil {
				legs[i].Disk = b.Name
			}
		}
	}
	return legs, inSync, nil
}

// redundant says whether the array can lose a member, as it is now: a reshape may
// have changed its level.
func (m md) redundant(p *Part) bool {
	level, err := ReadText(filepath.Join("/sys/block", p.Device.Name, "md/level"))
	if err != nil {
		level = m.Level
	}
	return level != "raid0" && level != "linear"
}

// array reads the array from sysfs.
func (m md) array(p *Part) (mdArray, error) {
	dir := filepath.Join("/sys/block", p.Device.Name, "md")
	a := mdArray{spares: m.Spares}
	files, err := filepath.Glob(filepath.Join(dir, "dev-*"))
	if err != nil {
		return a, err
	}
	for _, f := range files {
		state, err := ReadText(filepath.Join(f, "state"))
		if err != nil {
			return a, fmt.Errorf("state of a member: %w", err)
		}
		slot, err := ReadText(filepath.Join(f, "slot"))
		if err != nil {
			return a, fmt.Errorf("place of a member: %w", err)
		}
		a.members = append(a.members, mdMember{strings.TrimPrefix(filepath.Base(f), "dev-"), strings.Split(state, ","), slot})
	}
	if len(a.members) == 0 {
		return a, errors.New("the array has no members")
	}
	if !m.redundant(p) {
		return a, nil // it says nothing of it
	}
	if a.action, err = ReadText(filepath.Join(dir, "sync_action")); err != nil {
		return a, err
	}
	degraded, err := readInt(filepath.Join(dir, "degraded"))
	if err != nil {
		return a, err
	}
	a.degraded = int(degraded)
	for _, b := range p.On {
		if m.missing(p, b) && !p.joined[b] {
			a.missing++
		} else {
			a.asked = append(a.asked, b.Device.Name)
		}
	}
	return a, nil
}

// mdMember is a device of an array, as sysfs shows it.
type mdMember struct {
	name  string
	flags []string // in_sync, spare, faulty, …
	slot  string   // its place, or none
}

func (d mdMember) is(flag string) bool { return slices.Contains(d.flags, flag) }

// mdArray is an array as sysfs shows it, and what is known of how it should be.
type mdArray struct {
	members  []mdMember
	asked    []string // the devices that it was made of, or that were added to it
	action   string   // sync_action
	degraded int      // places without a member that is in sync
	missing  int      // places that were left out on purpose
	spares   int      // that were asked for
}

// legs are the members' health, and whether each place has one that is in
// sync. What was failed or removed and replaced by another has no place any
// more, and is out.
func (a mdArray) legs() (legs []scenarios.Leg, inSync bool) {
	whole := a.degraded <= a.missing
	waiting, replaced, candidates := 0, false, false
	for _, d := range a.members {
		leg := scenarios.Leg{Name: d.name, Health: strings.Join(d.flags, ",")}
		switch {
		case d.is("faulty"):
			leg.Out = whole
		case d.is("blocked"):
		case d.is("spare") && d.slot == "none":
			// One that waits, and is needed where a place is empty.
			waiting++
			candidates = true
			leg.OK = waiting <= a.spares || whole && a.action == "idle"
		case d.is("spare"): // it is being rebuilt
			candidates = true
		default:
			leg.OK = d.is("in_sync") || d.is("journal")
			replaced = replaced || d.is("want_replacement")
		}
		legs = append(legs, leg)
	}
	for _, name := range a.asked {
		// A kicked member disappears from sysfs once it is removed.
		if !slices.ContainsFunc(a.members, func(d mdMember) bool { return d.name == name }) {
			legs = append(legs, scenarios.Leg{Name: name, Health: "removed", Out: whole})
		}
	}
	return legs, whole && a.action == "idle" && !(replaced && candidates)
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
		if err := mdadm(append([]string{node, "--" + a.Do, b.Node()}, a.Args...)...); err != nil {
			return err
		}
		if a.Do == "add" || a.Do == "re-add" {
			if !slices.Contains(p.On, b) {
				p.On = append(p.On, b)
			}
			if p.joined == nil {
				p.joined = map[*Part]bool{}
			}
			p.joined[b] = true
		}
		return nil
	case "grow":
		return mdadm(append([]string{"--grow", node}, a.Args...)...)
	case "reshape":
		return m.reshape(h, p, a)
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

// reshape has the array begin to become another one, and checks that it does.
// mdadm moves where the data begin on the members, so that it needs no backup
// file.
func (m md) reshape(h Host, p *Part, a scenarios.Act) error {
	args := []string{"--grow", p.Node()}
	want := map[string]string{}
	if a.Level != "" {
		args, want["level"] = append(args, "--level="+a.Level), a.Level
	}
	if a.Devices > 0 {
		n := strconv.Itoa(a.Devices)
		args, want["raid_disks"] = append(args, "--raid-devices="+n), n
	}
	if a.Chunk > 0 {
		args, want["chunk_size"] = append(args, fmt.Sprintf("--chunk=%d", int64(a.Chunk)/1024)), strconv.FormatInt(int64(a.Chunk), 10)
	}
	if a.Layout != "" {
		args = append(args, "--layout="+a.Layout)
	}
	if _, err := h.Tool("mdadm", append(args, a.Args...)...); err != nil {
		return err
	}
	for _, file := range slices.Sorted(maps.Keys(want)) {
		path := filepath.Join("/sys/block", p.Device.Name, "md", file)
		text, err := ReadText(path)
		if err != nil {
			return err
		}
		// While it goes on, what it was follows: 4 (3)
		if got, _, _ := strings.Cut(text, " "); got != want[file] {
			return fmt.Errorf("mdadm says that it began, but %s says %q, not %s", path, text, want[file])
		}
	}
	return nil
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
