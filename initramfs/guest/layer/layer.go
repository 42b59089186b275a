// Package layer builds the layers of a storage stack in the guest, proves what
// they really became, and looks at their health. Each kind has a file of its
// own.
package layer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// A Part is what a scenario calls by a name: a disk or a layer.
type Part struct {
	Name     string
	Device          // none where it has no block device of its own: a file system of many, a file
	Path     string // what I/O goes to: the device's node, or the file
	Mount    string // where a file system is mounted
	On       []*Part
	Disk     *protocol.Disk   // of a disk
	Layer    *scenarios.Layer // of a layer
	kind     kind
	number   int            // among the layers of its kind, from 0
	stopped  bool           // an act has stopped it
	snapshot bool           // an act has made it
	joined   map[*Part]bool // of an array: what an act has added to it
	size     int64          // in bytes, as it was made; 0: not known
}

// Host is what PID 1 does for a layer.
type Host interface {
	// Tool runs a tool to its end and gives what it printed.
	Tool(name string, args ...string) (string, error)
	// Self runs one of this executable's own tools; see Main.
	Self(args ...string) error
	// Until calls done every now and then until it is true or fails. It gives
	// false once so much of the guest's time has passed.
	Until(limit time.Duration, done func(passed time.Duration) (bool, error)) (bool, error)
}

// A kind is what layers of a kind have in common.
type kind interface {
	// build makes the layer over p.On and sets what p has.
	build(h Host, p *Part) error
	// prove checks what it really became, and says it: a line a fact.
	prove(p *Part) (facts []string, err error)
}

// A durable kind has metadata from which it is put together again after a power
// cut. Any other is made again as it was made at first, and holds nothing that
// could be lost by that.
type durable interface {
	assemble(h Host, p *Part) error
}

// ErrBroken is that of something that a power cut must leave usable and did
// not.
var ErrBroken = errors.New("it did not survive the power cut")

// A redundant kind has legs. inSync says whether all of them hold what they
// are to hold.
type redundant interface {
	legs(p *Part) (legs []scenarios.Leg, inSync bool, err error)
}

// A tabular kind can say what it is in a line: a dm table, a level.
type tabular interface{ table(p *Part) (string, error) }

// kinds are all there are, by the key that a scenario has for one. Each is
// registered in its file.
var kinds = map[string]func(scenarios.Layer) kind{}

// register is called for the kinds' package variables.
func register(key string, of func(scenarios.Layer) kind) bool {
	kinds[key] = of
	return true
}

// HasNot says how far a device goes that never went as far as end, in bytes: what
// is asked for there is no question to the kernel. 0: it does, or did.
func (p *Part) HasNot(end int64) int64 {
	if p.size == 0 || end <= p.size {
		return 0
	}
	if n, err := p.Bytes(); err == nil && end > n {
		return n
	}
	return 0
}

// Stack is disks and layers, from the bottom up.
type Stack struct {
	Parts []*Part
}

// Add adds a disk.
func (s *Stack) Add(d protocol.Disk, dev Device) {
	s.Parts = append(s.Parts, &Part{Name: d.ID, Device: dev, Path: dev.Node(), Disk: &d})
}

// Part finds a disk or layer by its name.
func (s *Stack) Part(name string) (*Part, error) {
	for _, p := range s.Parts {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("the stack has nothing named %q", name)
}

// Target is what I/O goes to that names no part: the last one of the stack.
func (s *Stack) Target(name string) (*Part, error) {
	if name != "" {
		return s.Part(name)
	}
	for _, p := range slices.Backward(s.Parts) {
		if !p.snapshot {
			return p, nil
		}
	}
	return nil, errors.New("there is no disk and no layer")
}

// Build makes one more layer, or puts it together again from what the disks
// hold.
func (s *Stack) Build(h Host, l scenarios.Layer, assemble bool) error {
	of := kinds[l.Kind()]
	if of == nil {
		return fmt.Errorf("layer %s: this guest can't build a %q", l.Name, l.Kind())
	}
	p := &Part{Name: l.Name, Layer: &l, kind: of(l)}
	for _, other := range s.Parts {
		if other.Layer != nil && other.Layer.Kind() == l.Kind() {
			p.number++
		}
	}
	for _, name := range l.On {
		below, err := s.Part(name)
		if err != nil {
			return fmt.Errorf("layer %s: %w", l.Name, err)
		}
		p.On = append(p.On, below)
	}
	build := p.kind.build
	if d, ok := p.kind.(durable); ok && assemble {
		build = d.assemble
	}
	if err := build(h, p); err != nil {
		return fmt.Errorf("layer %s: %w", l.Name, err)
	}
	if p.Device.Name != "" && p.Path == "" {
		p.Path = p.Node()
		if n, err := p.Bytes(); err == nil && !assemble {
			p.size = n
		}
	}
	s.Parts = append(s.Parts, p)
	return nil
}

// found sets a part's device, once devtmpfs has made its node.
func (p *Part) found(name string) error {
	d, err := DeviceOf(name)
	if err != nil {
		return err
	}
	if _, err := os.Stat(d.Node()); err != nil {
		return err
	}
	p.Device = d
	return nil
}

// below is what a layer of one device lies on.
func (p *Part) below() (*Part, error) {
	if len(p.On) != 1 || p.On[0].Path == "" {
		return nil, fmt.Errorf("a %s lies on one device, not on %d", p.Layer.Kind(), len(p.On))
	}
	return p.On[0], nil
}

func (p *Part) nodes() []string {
	var out []string
	for _, b := range p.On {
		out = append(out, b.Node())
	}
	return out
}

// Prove checks that every layer is what was asked for and lies on what it was
// asked to lie on, and says it in lines. A file in the initramfs can be read as
// well, and "4096 bytes" from there is a pass on every kernel.
func (s *Stack) Prove() (facts []string, table string, err error) {
	for _, p := range s.Parts {
		if p.kind == nil {
			continue
		}
		more, err := p.kind.prove(p)
		if err != nil {
			return nil, "", fmt.Errorf("layer %s: %w", p.Name, err)
		}
		facts = append(facts, more...)
		if t, ok := p.kind.(tabular); ok && table == "" {
			if table, err = t.table(p); err != nil {
				return nil, "", fmt.Errorf("layer %s: %w", p.Name, err)
			}
		}
	}
	if len(s.Parts) > 0 {
		top := s.Parts[len(s.Parts)-1]
		facts = append(facts, fmt.Sprintf("%s is on the disks %s", top.Name, strings.Join(s.Disks(top), ", ")))
	}
	return facts, table, nil
}

// Disks are the names of the machine's disks under a part, sorted; it itself if
// it is one. Each layer's proof has shown that it lies on what is below it.
func (s *Stack) Disks(p *Part) []string {
	if p.Disk != nil {
		return []string{p.Name}
	}
	var out []string
	for _, b := range p.On {
		out = append(out, s.Disks(b)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Legs are those of all layers that have any.
func (s *Stack) Legs() (legs []scenarios.Leg, inSync bool, err error) {
	inSync = true
	for _, p := range s.Parts {
		more, ok, err := s.LegsOf(p)
		if err != nil {
			return nil, false, err
		}
		legs, inSync = append(legs, more...), inSync && ok
	}
	return legs, inSync, nil
}

// Under are a part and all that it lies on.
func (p *Part) Under() (all []*Part) {
	var add func(p *Part)
	add = func(p *Part) {
		if slices.Contains(all, p) {
			return
		}
		all = append(all, p)
		for _, b := range p.On {
			add(b)
		}
	}
	add(p)
	return all
}

// ForgetsOnDiscard is that of a layer or of one that it lies on.
func (p *Part) ForgetsOnDiscard() bool {
	return slices.ContainsFunc(p.Under(), func(b *Part) bool { return b.Layer != nil && b.Layer.ForgetsOnDiscard() })
}

// LegsUnder are those of a part and of all that it lies on.
func (s *Stack) LegsUnder(p *Part) (legs []scenarios.Leg, err error) {
	for _, b := range p.Under() {
		own, _, more := s.LegsOf(b)
		legs, err = append(legs, own...), errors.Join(err, more)
	}
	return legs, err
}

// LegsOf are those of one part; none where it has no redundancy, or was
// stopped.
func (s *Stack) LegsOf(p *Part) ([]scenarios.Leg, bool, error) {
	r, ok := p.kind.(redundant)
	if !ok || p.stopped {
		return nil, true, nil
	}
	legs, inSync, err := r.legs(p)
	if err != nil {
		return nil, false, fmt.Errorf("layer %s: %w", p.Name, err)
	}
	for i := range legs {
		if legs[i].Disk == "" {
			legs[i].Disk = s.diskUnder(p, legs[i].Name)
		}
	}
	return legs, inSync, nil
}

// reach follows a device down in sysfs to the parts that p lies on, and gives
// their names, sorted. A device that lies on nothing, or on another thing, is
// an error.
func (p *Part) reach(d Device) ([]string, error) {
	return reach(d, p.On)
}

func reach(d Device, on []*Part) ([]string, error) {
	for _, b := range on {
		if b.No == d.No && b.Device.Name != "" {
			return []string{b.Name}, nil
		}
	}
	slaves, err := os.ReadDir(filepath.Join(d.Sys(), "slaves"))
	if err != nil {
		return nil, err
	}
	if len(slaves) == 0 {
		return nil, fmt.Errorf("device %s (%s) is none of those below, and is built on none", d, d.Name)
	}
	var names []string
	for _, s := range slaves {
		b, err := DeviceOf(s.Name())
		if err != nil {
			return nil, err
		}
		below, err := reach(b, on)
		if err != nil {
			return nil, err
		}
		names = append(names, below...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// liesOn checks that p's device lies on all of p.On, and on nothing else.
func (p *Part) liesOn() (string, error) { return p.liesOnSome(nil) }

// liesOnSome is liesOn for a layer that may leave out what optional says.
func (p *Part) liesOnSome(optional func(*Part) bool) (string, error) {
	got, err := p.reach(p.Device)
	if err != nil {
		return "", err
	}
	var missing []string
	for _, b := range p.On {
		if !slices.Contains(got, b.Name) && (optional == nil || !optional(b)) {
			missing = append(missing, b.Name)
		}
	}
	if len(missing) > 0 {
		return "", fmt.Errorf("%s (%s) is on %s, and not on %s", p.Device.Name, p.Device, strings.Join(got, ","), strings.Join(missing, ","))
	}
	return fmt.Sprintf("%s is %s (%s) on %s", p.Name, p.Device.Name, p.Device, strings.Join(got, ", ")), nil
}

// liesOnAny is liesOn for a layer that may have lost what it lay on.
func (p *Part) liesOnAny() error {
	_, err := p.liesOnSome(func(*Part) bool { return true })
	return err
}

// expectFile checks what a file of sysfs says.
func expectFile(file, want string) error {
	got, err := ReadText(file)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%s says %q, not %q", file, got, want)
	}
	return nil
}
