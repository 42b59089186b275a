package hunt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/programs"
)

// A Request is what a hunt is to do.
type Request struct {
	Kernel string        `json:"kernel"` // reference
	Exact  string        `json:"exact,omitempty"`
	Stacks []string      `json:"stacks"`
	Seed   uint64        `json:"seed"`
	Since  string        `json:"since,omitempty"` // reference of another kernel, on which findings are tried, too
	Budget time.Duration `json:"budget_ns"`       // wall time once the machine is ready

	// Programs are also done with one fault of a disk, or a power cut.
	Faults   bool `json:"faults,omitempty"`
	PowerCut bool `json:"power_cut,omitempty"`
}

// A Hunt does a request.
type Hunt struct {
	Preparer *trial.Preparer
	Bases    *trial.BaseCache
	Run      *results.Run // where trials are recorded
	// Fleet, when not nil, makes the trials that confirm what was found.
	Fleet   trial.Fleet
	Scratch string // folder for the sweep's machine, of blockrig's own and empty
	Log     *slog.Logger

	// Bisect finds the release that brought a finding, and keeps what it does below
	// Bisections; nil: nobody asks.
	Bisect     func(context.Context, trials.Between) (trials.Found, error)
	Bisections string

	// Known are bugs that are counted and not reported again.
	Known []Known

	// Status is told what is being done, Found each finding, Say what else is
	// worth a line; nil for nobody.
	Status func(phase, what string)
	Found  func(Finding)
	Say    func(line string)
	// Keep stores the state; it is called whenever that has changed.
	Keep func(*State) error

	machines
	state  *State
	stacks []Stack // of the machine, the plain disk first
	field  field
	base   *trial.SweepBase
	ready  bool // a machine was
	gen    *programs.Generator
	known  map[Trigger]bool // what stopped a machine
	told   map[Trigger]bool // of answers that were suspected, and stopped none
	m      sweeper          // nil: none runs
	began  time.Time
	before time.Duration // spent by earlier processes
	show   time.Time     // when the status was shown last
	until  time.Time     // suspects are looked into; zero: as long as there is time
}

// A sweeper is a machine that does programs; see trial.SweepMachine.
type sweeper interface {
	Sweep(ctx context.Context, w protocol.Sweep, took func(protocol.Swept)) error
	// Ran is the host's CPU time that it took so far; 0 once it is gone.
	Ran() time.Duration
	End() trial.Outcome
}

// The machines of a hunt. The tests of the hunt itself put in quicker ones.
type machines struct {
	open  func(context.Context) error // gets the machine of h.field ready
	start func(context.Context) (sweeper, error)
	try   func(context.Context, kernelRef, scenarios.Case, how) (results.Record, error)
	// releases are Debian's, the oldest first.
	releases func(context.Context) ([]kernels.Version, error)
}

// A kernelRef is a reference, and one that gives the very kernel again; "" where
// that is not known.
type kernelRef struct{ ref, exact string }

// State is what is known of a hunt: all of it, so that another process can go
// on.
type State struct {
	Request    Request           `json:"request"`
	Release    string            `json:"release,omitempty"`
	Groups     []Group           `json:"groups"`
	At         int               `json:"at"` // whose turn it is
	LeftOut    []LeftOut         `json:"left_out,omitempty"`
	Next       int               `json:"next"`  // how many programs were done on all machines
	Pairs      int               `json:"pairs"` // how many programs the pairs of values take
	Tallies    map[string]*Tally `json:"tallies"`
	Findings   []Finding         `json:"findings"`
	Earlier    []Finding         `json:"earlier,omitempty"` // that other hunts have found: they are not found again
	Doubtful   []Suspect         `json:"doubtful"`          // what trials did not show
	Waiting    []Suspect         `json:"waiting"`           // what is still to be looked into
	Looked     map[string]int    `json:"looked"`            // how many suspects were looked into, by stack
	Alike      int               `json:"alike"`             // suspects like those of a finding
	Known      map[string]int    `json:"known"`             // suspects that are known bugs, by name
	Triggers   []Trigger         `json:"triggers"`
	Machines   int               `json:"machines"` // how often a machine went on from the saved one
	Twisted    map[string]int    `json:"twisted"`  // programs that were done with a Twist, by its kind
	NextTwist  int               `json:"next_twist"`
	SweptMS    int64             `json:"swept_ms"`              // wall time in which the guest did programs
	RanMS      int64             `json:"ran_ms"`                // the host's CPU time of that
	SpentMS    int64             `json:"spent_ms"`              // of the budget
	BisectedMS int64             `json:"bisected_ms,omitempty"` // of that, looking for releases
}

// NewState begins one.
func NewState(r Request) *State {
	return &State{Request: r, Tallies: map[string]*Tally{}, Known: map[string]int{}, Twisted: map[string]int{}, Looked: map[string]int{}}
}

// said are all findings, those of other hunts first.
func (s *State) said() []Finding { return slices.Concat(s.still(), s.Findings) }

// still are the findings of other hunts that are not fixed.
func (s *State) still() []Finding {
	return slices.DeleteFunc(slices.Clone(s.Earlier), func(f Finding) bool { return f.Now == Fixed })
}

// Fixed are the findings of other hunts that this kernel does not show.
func (s *State) Fixed() []Finding {
	return slices.DeleteFunc(slices.Clone(s.Earlier), func(f Finding) bool { return f.Now != Fixed })
}

// Operations are all that were done on all stacks.
func (s *State) Operations() (n int) {
	for _, t := range s.Tallies {
		n += t.Singles
	}
	return n
}

// Rate is operations a minute of the time in which the guest did programs.
func (s *State) Rate() float64 {
	if s.SweptMS == 0 {
		return 0
	}
	return float64(s.Operations()) / (float64(s.SweptMS) / 60_000)
}

// RateOfCPU is operations a minute of the CPU time that the host spent on the
// machine: what the rate would be with nothing else on the host.
func (s *State) RateOfCPU() float64 {
	if s.RanMS == 0 {
		return 0
	}
	return float64(s.Operations()) / (float64(s.RanMS) / 60_000)
}

// A Program is a few operations, done one after the other.
type Program = programs.Program

// fewest and most are how many programs one message has. After a stop few are
// tried, so that little is done again.
const (
	fewest = 32
	most   = 256
)

// Do hunts until the budget is spent. The state has all that was found, when it
// returns an error, too.
func (h *Hunt) Do(ctx context.Context, state *State) (err error) {
	if err := h.begin(state); err != nil {
		return err
	}
	releases := func(ctx context.Context) ([]kernels.Version, error) { return h.Preparer.Kernels.Available(ctx, "") }
	h.machines = machines{open: h.openBase, try: h.trial, releases: releases, start: func(ctx context.Context) (sweeper, error) { return h.base.Start(ctx) }}
	if state.Request.everything() && state.Next == 0 {
		if err := h.lacking(ctx); err != nil {
			return err
		}
	}
	return h.hunt(ctx)
}

// begin reads the request.
func (h *Hunt) begin(state *State) (err error) {
	h.state, h.known, h.told = state, map[Trigger]bool{}, map[Trigger]bool{}
	if len(state.Groups) == 0 {
		all, err := ParseStacks(state.Request.Stacks, state.Request.Seed)
		if err != nil {
			return err
		}
		state.Groups = grouped(all)
		state.Groups[0].Next = state.Next // of a version that had one machine
	}
	if err := h.put(); err != nil {
		return err
	}
	h.gen = programs.NewGenerator(state.Request.Seed)
	state.Pairs = h.gen.Pairs()
	for _, t := range state.Triggers {
		h.known[t] = true
	}
	return nil
}

// hunt does programs until the budget is spent: on one machine after the other,
// by turns.
func (h *Hunt) hunt(ctx context.Context) (err error) {
	h.before = time.Duration(h.state.SpentMS) * time.Millisecond
	defer func() {
		h.stop()
		err = errors.Join(err, h.close(), h.keep())
	}()
	for h.left() > 0 {
		ok, err := h.enter(ctx)
		if h.began.IsZero() && h.ready {
			h.began = time.Now()
		}
		if err == nil && ok {
			err = h.retry(ctx)
		}
		if err == nil && ok {
			err = h.takeTurn(ctx)
		}
		h.stop()
		if err := errors.Join(err, h.close()); err != nil {
			return err
		}
		if !ok { // nothing is left of it
			h.state.Groups = slices.Delete(h.state.Groups, h.state.At, h.state.At+1)
			h.state.At--
		}
		if len(h.state.Groups) == 0 {
			return errors.New("no stack is left that this kernel can build")
		}
		h.state.At = (h.state.At + 1) % len(h.state.Groups)
	}
	return nil
}

// close gives the saved machine up.
func (h *Hunt) close() error {
	if h.base == nil {
		return nil
	}
	err := h.base.Close()
	h.base = nil
	return err
}

// takeTurn does programs on one machine, for as long as it has.
func (h *Hunt) takeTurn(ctx context.Context) (err error) {
	turn := h.turn()
	start := time.Now()
	if len(h.state.Groups) > 1 { // what waits to be looked into is not to take all of it
		h.until = start.Add(turn / 2)
	}
	for size := fewest; h.left() > 0 && time.Since(start) < turn; {
		if err := h.lookInto(ctx); err != nil { // a hunt that goes on may have some
			return err
		}
		if !h.until.IsZero() {
			h.until = start.Add(turn)
		}
		began := time.Now()
		stopped, err := h.batch(ctx, size)
		swept := time.Since(began)
		if err == nil {
			err = h.keep()
		}
		if err == nil {
			err = h.lookInto(ctx)
		}
		if err == nil {
			err = h.twisted(ctx, swept)
		}
		if err == nil {
			err = h.bisectDue(ctx)
		}
		if err != nil {
			return err
		}
		if size = min(most, size*2); stopped {
			size = fewest
		}
	}
	return nil
}

// left is what is left of the budget.
func (h *Hunt) left() time.Duration {
	left := h.state.Request.Budget - h.before
	if !h.began.IsZero() { // a machine was ready
		left -= time.Since(h.began)
	}
	return left
}

func (h *Hunt) keep() error {
	if !h.began.IsZero() {
		h.state.SpentMS = (h.before + time.Since(h.began)).Milliseconds()
	}
	if h.Keep == nil {
		return nil
	}
	return h.Keep(h.state)
}

func (h *Hunt) status(phase, what string) {
	if h.Status != nil {
		h.Status(phase, what)
	}
}

// openBase boots the machine with all stacks and saves it, or finds it saved.
func (h *Hunt) openBase(ctx context.Context) error {
	jobs, err := h.Preparer.Jobs(ctx, []trial.Task{{Ref: h.state.Request.Kernel, Exact: h.state.Request.Exact, Case: h.field.Case}}, h.status)
	if err == nil {
		err = jobs[0].Err
	}
	if err != nil {
		return err
	}
	job := jobs[0].Job
	h.state.Request.Exact = job.Kernel.Exact
	files, err := h.Preparer.Find(ctx, job)
	if err != nil {
		return err
	}
	l := trial.Local{Job: job, Files: files, Dir: h.Scratch, Log: h.Log, Progress: h.status}
	h.base, err = trial.NewSweepBase(ctx, l, h.Bases)
	if err != nil {
		return fmt.Errorf("build the stacks side by side: %w", err)
	}
	h.state.Release = h.base.Release()
	return nil
}

// machine gives one that goes on from the saved one.
func (h *Hunt) machine(ctx context.Context) (sweeper, error) {
	if h.m != nil {
		return h.m, nil
	}
	m, err := h.start(ctx)
	if err != nil {
		return nil, err
	}
	h.state.Machines++
	h.m = m
	return m, nil
}

// stop ends the machine, and gives what its console shows.
func (h *Hunt) stop() (titles []string) {
	if h.m == nil {
		return nil
	}
	for _, f := range results.Findings(h.m.End().Findings) {
		if !slices.Contains(titles, f.Title) {
			titles = append(titles, f.Title)
		}
	}
	h.m = nil
	return titles
}

// A batch is programs that go to the guest in one message, as often as it takes
// to have all of them done on all stacks.
type batch struct {
	first    int
	programs []Program
	drawn    programs.Drawn
	from     map[string]int        // by stack: the first program that is still to be done
	answers  map[string][][]string // by stack
}

// mostStops is how often a batch may stop the machine before what did so is
// looked into: each costs another machine, and they may all be the same thing.
const mostStops = 4

// cut leaves the programs from a place on for another batch.
func (b *batch) cut(g *programs.Generator, at int) {
	if at < len(b.programs) {
		b.programs, b.drawn = b.programs[:at], g.Drawn(b.first, at)
	}
}

// batch does the next programs, and notes what they set off.
func (h *Hunt) batch(ctx context.Context, size int) (stopped bool, err error) {
	b := &batch{first: h.group().Next, from: map[string]int{}, answers: map[string][][]string{}}
	b.drawn = h.gen.Drawn(b.first, size)
	b.programs = b.drawn.Programs(h.gen)
	for _, s := range h.stacks {
		b.answers[s.Name] = make([][]string, size)
	}
	var suspects []Suspect
	for failures := 0; ; {
		s, more, err := h.round(ctx, b, false)
		if err != nil && ctx.Err() == nil && failures < trial.MaxAttempts-1 {
			failures++ // the host's, most likely
			h.stop()
			continue
		}
		if err != nil {
			return stopped, err
		}
		if s != nil {
			stopped = true
			suspects = append(suspects, *s)
			h.note(*s)
			if len(suspects) >= mostStops || h.left() <= 0 {
				b.cut(h.gen, b.from[s.Stack])
			}
		}
		if !more {
			break
		}
	}
	size = len(b.programs)
	for _, stack := range h.stacks {
		wrong, tally := compare(stack, b.first, b.programs, b.answers[stack.Name][:size], b.answers[Plain][:size])
		if h.state.Tallies[stack.Name] == nil {
			h.state.Tallies[stack.Name] = &Tally{}
		}
		for _, s := range suspects {
			if s.Stack == stack.Name && s.Number < b.first+size { // its answers, if any, are not among those
				tally.add(Tally{Programs: 1, Singles: len(s.Program), Wrong: 1, Skipped: -1})
			}
		}
		h.state.Tallies[stack.Name].add(tally)
		for _, s := range wrong {
			if slices.ContainsFunc(suspects, func(t Suspect) bool { return t.Stack == s.Stack && t.Number == s.Number }) || h.isTold(s) {
				continue
			}
			if name, ok := recognise(h.Known, h.state.Release, s); ok {
				h.state.Known[name]++
				continue
			}
			// The machine goes on, and so may programs of the kind.
			suspects = append(suspects, s)
			for _, t := range s.triggers() {
				h.told[t] = true
			}
		}
	}
	h.state.Next += size
	h.group().Next += size
	for i := range suspects {
		suspects[i].Plain = b.answers[Plain][suspects[i].Number-b.first]
	}
	h.state.Waiting = append(h.state.Waiting, suspects...)
	return stopped, nil
}

// lookInto looks into what waits for it, while there is time.
func (h *Hunt) lookInto(ctx context.Context) error {
	for len(h.state.Waiting) > 0 && h.left() > 0 && (h.until.IsZero() || time.Now().Before(h.until)) {
		at := h.state.nextWaiting()
		if err := h.investigate(ctx, h.state.Waiting[at]); err != nil {
			return err
		}
		h.state.Waiting = slices.Delete(h.state.Waiting, at, at+1)
		if err := h.keep(); err != nil {
			return err
		}
	}
	return nil
}

// nextWaiting is the place of the suspect to look into next. The stacks take turns,
// for one with many suspects would take all of the time; of one stack's the worst
// comes first.
func (s *State) nextWaiting() int {
	next := 0
	for i, w := range s.Waiting {
		n := s.Waiting[next]
		order := cmp.Or(s.Looked[w.Stack]-s.Looked[n.Stack], slices.Index(Classes(), w.Guess)-slices.Index(Classes(), n.Guess))
		if order < 0 {
			next = i
		}
	}
	return next
}

// round sends a batch, without what is done of it. It gives the suspect where
// something stopped it, and whether anything is left to do.
func (h *Hunt) round(ctx context.Context, b *batch, each bool) (_ *Suspect, more bool, err error) {
	w := protocol.Sweep{Space: programs.Space, Set: programs.Set{Drawn: &b.drawn}, Skip: map[string][]int{}, Each: each}
	var stacks []Stack
	for _, s := range h.stacks {
		if b.from[s.Name] < len(b.programs) {
			stacks = append(stacks, s)
		}
	}
	if each && len(stacks) > 1 {
		stacks = stacks[:1]
	}
	skipped := make([][]bool, len(stacks)) // what a guest says of these nobody asked for
	for n, s := range stacks {
		top := h.field.Tops[s.Name]
		w.Parts = append(w.Parts, top)
		skipped[n] = make([]bool, len(b.programs))
		for i, p := range b.programs {
			if i < b.from[s.Name] || h.skips(s, p) {
				w.Skip[top] = append(w.Skip[top], i)
				skipped[n][i] = true
			}
		}
	}
	if len(stacks) == 0 {
		return nil, false, nil
	}
	m, err := h.machine(ctx)
	if err != nil {
		return nil, false, err
	}
	h.shown(stacks[0], b)
	var stop *protocol.Swept
	at := 0 // which of the stacks is next to be heard of
	started, ran := time.Now(), m.Ran()
	err = m.Sweep(ctx, w, func(s protocol.Swept) {
		i := slices.Index(w.Parts, s.Part)
		if i < 0 || stop != nil || s.From < 0 || s.From > len(b.programs)-len(s.Answers) {
			return
		}
		if s.At >= 0 && s.At < len(b.programs) && skipped[i][s.At] {
			s.At = -1
		}
		for n, a := range s.Answers {
			switch p := s.From + n; {
			case skipped[i][p]:
				s.Answers[n] = nil
			case a != nil:
				b.answers[stacks[i].Name][p] = a
			}
		}
		if s.Stopped {
			stop = &s
			at = i
			return
		}
		b.from[stacks[i].Name] = s.From + len(s.Answers)
		at = min(i+1, len(stacks)-1)
		if unmoved(stacks[i], b.programs, s) {
			s.Changed = []string{fmt.Sprintf("it says that it has written, and its disks did %d writes", s.Writes)}
			stop = &s
			at = i
		}
	})
	h.state.SweptMS += time.Since(started).Milliseconds()
	h.state.RanMS += max(0, m.Ran()-ran).Milliseconds()
	if err != nil && !errors.Is(err, trial.ErrSweepOver) {
		return nil, false, err
	}
	stack := stacks[at]
	switch {
	case err == nil && stop == nil:
		return nil, each || slices.ContainsFunc(h.stacks, func(s Stack) bool { return b.from[s.Name] < len(b.programs) }), nil
	case stop == nil:
		stop = &protocol.Swept{At: -1, Changed: []string{err.Error()}}
		if each {
			stop.At = b.from[stack.Name]
			for stop.At < len(b.programs)-1 && h.skips(stack, b.programs[stop.At]) {
				stop.At++
			}
		}
	}
	titles := h.stop()
	culprit := h.culprit(stack, b, *stop)
	// What follows ran on a machine that was broken.
	for i := max(culprit+1, b.from[stack.Name]); i < len(b.programs); i++ {
		b.answers[stack.Name][i] = nil
	}
	if culprit < 0 && !each {
		// Which program it was is not known: from the saved state again, one by
		// one.
		return h.round(ctx, b, true)
	}
	if culprit < 0 {
		culprit = max(b.from[stack.Name], stop.From)
	}
	b.from[stack.Name] = culprit + 1
	s := &Suspect{
		Stack: stack.Name, Number: b.first + culprit, Program: b.programs[culprit], Answers: b.answers[stack.Name][culprit],
		Seen: append(says(*stop), titles...), At: -1, Differ: stop.Differ != "",
	}
	s.Guess = guessOf(*stop, s.Answers)
	if n := wrongAnswer(s.Program, stack, s.Answers); n >= 0 && n < len(s.Program) {
		s.At = n
	} else if n := stop.Operation; stop.Hung != nil && stop.At == culprit && n >= 0 && n < len(s.Program) {
		s.At = n // it never came back
	}
	if err != nil {
		s.Guess = Hangs
	}
	b.answers[stack.Name][culprit] = nil // it counts as a suspect
	return s, true, nil
}

// culprit is the program that stopped a sweep, by its place in the batch; -1
// where that is not known.
func (h *Hunt) culprit(stack Stack, b *batch, s protocol.Swept) int {
	if s.At >= 0 && s.At < len(b.programs) {
		return s.At
	}
	for n, a := range s.Answers {
		p := s.From + n
		if a != nil && p < len(b.programs) && wrongAnswer(b.programs[p], stack, a) >= 0 {
			return p
		}
	}
	if len(s.Answers) == 1 {
		return s.From
	}
	return -1
}

// skips says whether a program is like one that has set off something on a
// stack. Files can't be discarded by a device's ways.
func (h *Hunt) skips(stack Stack, p Program) bool {
	return slices.ContainsFunc(p, func(o scenarios.IO) bool {
		if stack.OnFile() && (o.Op == "zeroes" || o.Op == "discard") {
			return true
		}
		t := triggerOf(stack.Name, o)
		return h.known[t] || h.foundBelow(stack, func(f Finding) bool { return f.Trigger.on(stack.Name) == t })
	})
}

// foundBelow says whether there is such a finding on some of a stack's parts. It
// is asked for each operation, and a stack's name takes longest to read.
func (h *Hunt) foundBelow(stack Stack, like func(Finding) bool) bool {
	return slices.ContainsFunc(h.state.said(), func(f Finding) bool {
		return f.Twist == nil && f.Stack != stack.Name && like(f) && stack.holds(h.stack(f.Stack))
	})
}

// isTold says whether a suspect is like one before.
func (h *Hunt) isTold(s Suspect) bool {
	return slices.ContainsFunc(s.triggers(), func(t Trigger) bool { return h.known[t] || h.told[t] })
}

func (h *Hunt) note(s Suspect) {
	for _, t := range s.triggers() {
		if !h.known[t] {
			h.known[t] = true
			h.state.Triggers = append(h.state.Triggers, t)
		}
	}
}

// shown tells how it goes.
func (h *Hunt) shown(stack Stack, b *batch) {
	if time.Since(h.show) < 200*time.Millisecond {
		return
	}
	h.show = time.Now()
	at := min(len(b.programs)-1, b.from[stack.Name])
	h.status("hunt", h.state.Line(h.left())+"; now "+stack.Name+": "+b.programs[at].String())
}
