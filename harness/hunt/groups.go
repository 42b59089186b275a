package hunt

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/scenarios"
)

// A Group is stacks that are built side by side, with a plain disk, in one
// machine.
type Group struct {
	Stacks []string `json:"stacks"` // without the plain disk
	Next   int      `json:"next"`   // number of the next program
}

// A LeftOut is a stack that is not hunted on.
type LeftOut struct {
	Stack string `json:"stack"`
	Why   string `json:"why"`
}

const (
	// mostStacks is how many a machine has at most: each takes a process.
	mostStacks = 16
	// leastTurn is the shortest that one machine is hunted on before the next.
	leastTurn = 2 * time.Minute
)

// grouped puts stacks into as few machines as their order leaves.
func grouped(stacks []Stack) (all []Group) {
	type room struct {
		disks  int
		single []string // parts of which there can be one
	}
	var rooms []room
	fits := func(s Stack) func(room) bool {
		return func(r room) bool {
			return r.disks+s.disks() <= mostDisks && !slices.ContainsFunc(r.single, func(part string) bool { return slices.Contains(s.parts, part) })
		}
	}
	first := 0 // the machines before it are full
	for _, s := range stacks {
		if s.Name == Plain {
			continue
		}
		i := slices.IndexFunc(rooms[first:], fits(s)) + first
		if i < first {
			i = len(rooms)
			rooms, all = append(rooms, room{disks: 1}), append(all, Group{})
		}
		rooms[i].disks += s.disks()
		for _, part := range s.parts {
			if parts[part].single {
				rooms[i].single = append(rooms[i].single, part)
			}
		}
		all[i].Stacks = append(all[i].Stacks, s.Name)
		if len(all[i].Stacks) == mostStacks {
			rooms[i].disks = mostDisks + 1
		}
		for first < len(rooms) && rooms[first].disks > mostDisks-1 {
			first++
		}
	}
	if len(all) == 0 {
		all = []Group{{}} // the plain disk alone
	}
	return all
}

// everything says whether it is hunted on all that there is: what a kernel can't
// build is left out then, as nobody has asked for it by name.
func (r Request) everything() bool { return slices.Contains(r.Stacks, Everything) }

// StackNames are those that are hunted on, without the plain disk.
func (s *State) StackNames() (names []string) {
	if len(s.Groups) == 0 { // it has not begun
		return s.Request.Stacks
	}
	for _, g := range s.Groups {
		names = append(names, g.Stacks...)
	}
	return names
}

// begun is how many machines programs were done on.
func (s *State) begun() (n int) {
	for _, g := range s.Groups {
		if g.Next > 0 {
			n++
		}
	}
	return n
}

func (h *Hunt) group() *Group { return &h.state.Groups[h.state.At] }

// turn is how long one machine is hunted on before the next.
func (h *Hunt) turn() time.Duration {
	if n := len(h.state.Groups); n > 1 {
		return max(leastTurn, h.state.Request.Budget/time.Duration(n))
	}
	return h.state.Request.Budget
}

// put lays out the machine of the group whose turn it is.
func (h *Hunt) put() (err error) {
	names := h.group().Stacks
	if len(names) == 0 {
		names = []string{Plain}
	}
	if h.stacks, err = ParseStacks(names, 0); err != nil {
		return err
	}
	h.field, err = newField(h.stacks)
	return err
}

// lacking leaves out the stacks whose parts the kernel is built without.
func (h *Hunt) lacking(ctx context.Context) error {
	r := h.state.Request
	k, err := h.Preparer.Kernels.Resolve(ctx, r.Kernel)
	if err != nil {
		return err
	}
	why := map[string]string{}
	for name, p := range parts {
		_, err := k.Closure(scenarios.Case{Setup: scenarios.Setup{Stack: p.layers(volumeSize)}}.Needs())
		if errors.Is(err, kernels.ErrNeed) {
			why[name] = text.OneLine(err.Error())
		} else if err != nil {
			return err
		}
	}
	for i := range h.state.Groups {
		g := &h.state.Groups[i]
		g.Stacks = slices.DeleteFunc(g.Stacks, func(name string) bool {
			for _, part := range strings.Split(name, "+") {
				if why[part] != "" {
					h.state.LeftOut = append(h.state.LeftOut, LeftOut{name, why[part]})
					return true
				}
			}
			return false
		})
	}
	var left []Stack
	for _, name := range h.state.StackNames() {
		s, err := ParseStack(name)
		if err != nil {
			return err
		}
		left = append(left, s)
	}
	h.state.Groups = grouped(left)
	return nil
}

// enter gets the machine of the group whose turn it is ready. Of everything,
// what can't be built is left out: with nothing left, or none left of it, ok is
// false.
func (h *Hunt) enter(ctx context.Context) (ok bool, err error) {
	for {
		if err := h.put(); err != nil {
			return false, err
		}
		if err = h.open(ctx); err == nil {
			h.ready = true
			return true, nil
		}
		if ctx.Err() != nil || !h.state.Request.everything() {
			return false, err
		}
		if err := h.leaveOut(err); err != nil {
			return false, err
		}
		if err := h.keep(); err != nil {
			return false, err
		}
		if len(h.group().Stacks) == 0 {
			return false, nil
		}
	}
}

// ofLayer finds the layer in what a guest says of a stack that it can't build:
// its own words, or the command of a tool.
var ofLayer = regexp.MustCompile(`\bs([0-9]+)l[0-9]+\b`)

// leaveOut takes what can't be built from the group whose turn it is. Where it is
// not told which stack that is, the group becomes two.
func (h *Hunt) leaveOut(why error) error {
	g := h.group()
	said := text.OneLine(why.Error())
	at, told := -1, false
	if len(g.Stacks) == 1 {
		at = 0
	}
	if m := ofLayer.FindStringSubmatch(said); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n >= 1 && n <= len(g.Stacks) { // the plain disk is s0
			at, told = n-1, true
		}
	}
	var bad *trial.NotReadyError
	its := errors.As(why, &bad) && bad.Outcome.Verdict.Failure()
	if !told && !its && len(g.Stacks) == 1 && !h.ready {
		return why // no machine was ever ready: it is not for the stack's sake
	}
	if at >= 0 {
		h.state.LeftOut = append(h.state.LeftOut, LeftOut{g.Stacks[at], said})
		h.say(fmt.Sprintf("%s is left out: %s", g.Stacks[at], said))
		g.Stacks = slices.Delete(g.Stacks, at, at+1)
		return nil
	}
	h.say(fmt.Sprintf("a machine with %d stacks does not get ready, and is tried as two: %s", len(g.Stacks), said))
	half := len(g.Stacks) / 2
	second := Group{Stacks: slices.Clone(g.Stacks[half:])}
	g.Stacks = g.Stacks[:half]
	h.state.Groups = slices.Insert(h.state.Groups, h.state.At+1, second)
	return nil
}
