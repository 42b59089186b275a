package trial

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// Times that bound a step, in guest time that the host gave. Where the kernel
// shows that it is broken (an oops, a flood of errors) a hang is proven within
// 3 s. Where it shows nothing, it may only be slow.
const (
	stepLimit = 30 * time.Second        // for I/O that goes on
	stepIdle  = 15 * time.Second        // without any I/O
	stepReap  = 1800 * time.Millisecond // after SIGKILL, of a broken kernel
	stepWait  = 15 * time.Second        // after SIGKILL, of any other
)

// secondChance is what a silent guest is given once QEMU has said that it is
// well. With the watch's limit for one that spins it is within 3 s, too.
const secondChance = 700 * time.Millisecond

// qemuWait is how long QEMU may take to answer.
const qemuWait = 5 * time.Second

// restWait is how long a QEMU with no I/O under way may take to stop.
const restWait = time.Second

// logWait is how long the last lines of a console may take to arrive.
const logWait = 3 * time.Second

// pollEvery is how often the virtual CPUs' accounts are looked at.
const pollEvery = 100 * time.Millisecond

// session is one machine with the conversation with its guest.
type session struct {
	Local
	m     *qemu.Machine
	disks []qemu.Disk // of a machine that was powered on
	rec   *recorder
	link  *link
	tap   io.Writer     // gets what the console says, too; nil for none
	stop  chan struct{} // closed at the end: the link's reader drops what comes
	done  chan struct{} // closed when the link's reader has ended

	model     *model
	blame     blame
	faults    []qemu.Fault // in force
	moved     bool         // a step made the disks do something
	unplugged []string     // disks that were taken away
	power     power        // of a trial in which it fails

	watch  *watch // of the machine that runs
	sound  shown  // what its console had shown before what is judged began
	closed bool

	base    bool // the machine was saved, for others to go on from
	doubted bool // what its console shows may be the host's doing
	res     *Outcome
	trial   uint64 // number of the step; 0 before it
	mark    time.Time
}

// errStopped ends a conversation early; the report in the result says why.
var errStopped = errors.New("the trial ended early")

func (s *session) progress(phase, what string) {
	if s.Progress != nil {
		s.Progress(phase, what)
	}
}

// enter notes that a phase begins, and how long the one before took.
func (s *session) enter(phase, what string) {
	now := time.Now()
	if n := len(s.res.Timing); n > 0 {
		s.res.Timing[n-1].Took = now.Sub(s.mark)
	}
	s.mark = now
	s.res.Timing = append(s.res.Timing, Timing{Phase: phase, What: what})
	s.res.Report.Phase = phase
	s.progress(phase, what)
}

// record begins the console log.
func (s *session) record() error {
	rec, err := newRecorder(filepath.Join(s.Dir, ConsoleFile))
	s.rec = rec
	return err
}

// powerOn starts a new machine with new disks.
func (s *session) powerOn(ctx context.Context) error {
	disks, err := s.createDisks(ctx)
	if err != nil {
		return err
	}
	s.disks = disks
	if err := s.record(); err != nil {
		return err
	}
	return s.open(ctx, s.machine(disks))
}

// open starts the machine and the goroutines that listen to it.
func (s *session) open(ctx context.Context, q qemu.Spec) error {
	m, err := qemu.Start(ctx, q)
	if err != nil {
		return err
	}
	s.m = m
	s.watch = watchSince(m.Began(), m, limitsOf(s.Accel))
	said := m.Console()
	if s.tap != nil {
		said = io.TeeReader(said, s.tap)
	}
	go s.rec.run(said)
	if s.power.cuts == 0 {
		if err := writeArgs(s.Dir, m.Args()); err != nil {
			return fmt.Errorf("keep QEMU's command line: %w", err)
		}
	}
	l, err := newLink(m.Control(), filepath.Join(s.Dir, EventsFile))
	if err != nil {
		return err
	}
	s.link = l
	s.stop, s.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(s.done)
		l.run(s.stop)
	}()
	return nil
}

// powerOff ends the machine, and waits until all that it said is heard.
func (s *session) powerOff() error {
	var errs []error
	if s.m != nil {
		s.watch.over()
		errs = append(errs, s.m.Close())
		<-s.rec.done
		s.watch.over()
		s.notePause()
		errs = append(errs, s.rec.err)
	}
	if s.link != nil {
		close(s.stop)
		<-s.done
		errs = append(errs, s.link.close())
		s.link = nil
	}
	return errors.Join(errs...)
}

// close ends the machine, waits for everything, and completes the result. It
// may be called again.
func (s *session) close() {
	if s.closed {
		return
	}
	s.closed = true
	err := s.powerOff()
	if s.m == nil && s.rec != nil {
		close(s.rec.done)
	}
	err = errors.Join(err, s.power.close())
	// What could not be recorded can't be judged either.
	if err != nil && s.res.Report.Host == "" {
		s.res.Report.Host = text.OneLine(err.Error())
	}
	if s.rec == nil {
		return
	}
	s.res.Findings = s.rec.finish()
	if s.base && s.res.Report.Host == "" {
		// The console of a base is that of each of its trials, where nobody would know.
		if why := verdict.Doubted(s.res.Findings, s.res.Report); why != "" {
			s.doubted = true
			_ = s.host(fmt.Errorf("while it booted %s", why))
		}
	}
	if s.rec.cut && s.res.Report.LogError == "" {
		s.res.Report.LogError = "the console log has grown too long and was cut"
	}
	// Before the trailer: what it says is what was judged.
	if err := s.removeDisks(); err != nil && s.res.Report.Host == "" {
		s.res.Report.Host = text.OneLine(err.Error())
	}
	if err := s.rec.close(s.res.Report); err != nil && s.res.Report.Host == "" {
		s.res.Report.Host = text.OneLine(err.Error())
	}
}

// boot takes a machine from power-on to a stack that is ready.
func (s *session) boot(ctx context.Context) error {
	return s.start(ctx, s.setup(s.disks))
}

// start is boot with a setup of the caller's.
func (s *session) start(ctx context.Context, setup *protocol.Setup) error {
	s.enter(scenarios.PhaseBoot, "")
	var hello *protocol.Hello
	var clock clockCheck
	err := s.listen(ctx, func(m protocol.FromGuest) bool {
		hello = m.Hello
		clock = newClockCheck(m.MS, s.watch.late())
		return hello != nil
	})
	if err != nil {
		return err
	}
	s.res.Release, s.res.BootID, s.res.CPUs = hello.Release, hello.BootID, hello.CPUs
	s.sound = s.rec.signs.now()
	if err := s.send(protocol.ToGuest{Setup: setup}); err != nil {
		return err
	}
	wrong := ""
	err = s.listen(ctx, func(m protocol.FromGuest) bool {
		s.res.Ready = m.Ready
		if m.Ready != nil {
			wrong = clock.wrong(m.MS, time.Now(), s.watch.late())
		}
		return m.Ready != nil
	})
	if wrong != "" {
		return s.host(errors.New(wrong))
	}
	if err == nil && s.res.Ready.Boot != nil {
		s.res.Timing = splitBoot(s.res.Timing, *s.res.Ready.Boot)
	}
	return err
}

// splitBoot replaces the boot, until PID 1 spoke, by its parts: what went
// before the kernel's clock started is QEMU's firmware and, of a bzImage, its
// own unpacking.
func splitBoot(all []Timing, b protocol.Boot) []Timing {
	var out []Timing
	for _, t := range all {
		init := time.Duration(b.Init) * time.Microsecond
		if t.Phase != scenarios.PhaseBoot || init == 0 || t.Took < init {
			out = append(out, t)
			continue
		}
		unpack := time.Duration(max(0, b.UnpackTo-b.UnpackFrom)) * time.Microsecond
		out = append(out,
			Timing{Phase: t.Phase, What: "firmware", Took: t.Took - init},
			Timing{Phase: t.Phase, What: "kernel", Took: init - unpack},
			Timing{Phase: t.Phase, What: "initramfs unpack", Took: unpack})
	}
	return out
}

// firstReport is what a report says before the first step.
func (l Local) firstReport() verdict.Report {
	r := verdict.Report{}
	if len(l.Steps) > 0 {
		r = l.reportOf(l.Steps[0])
	}
	r.Allow = l.Allow
	r.Emulated = l.Accel == qemu.TCG
	return r
}

// steps does the steps of the case, until one does not end as it should.
func (s *session) steps(ctx context.Context) error {
	start := time.Now()
	defer func() { s.res.Trial = time.Since(start) }()
	s.sound = s.rec.signs.now()
	if s.powerFails() {
		if err := s.recordWrites(); err != nil {
			return s.host(err)
		}
	}
	if err := s.stepsFrom(ctx, 0); err != nil {
		return err
	}
	if s.res.Report.AsExpected() && !s.moved && s.asksDisks() && !s.res.Report.Refused() {
		s.res.Report.Setup = "no step made a request to the stack's disks"
	}
	if err := s.hearOut(ctx); err != nil {
		return err
	}
	if r := s.res.Report; r.Stuck != nil || r.Failed != "" && r.FailAs == scenarios.Hang {
		s.drain(ctx)
	}
	return nil
}

// stepsFrom does the steps from one on, until one does not end as it should.
func (s *session) stepsFrom(ctx context.Context, first int) error {
	for i := first; i < len(s.Steps); i++ {
		if i > 0 {
			s.res.Report.Begin(s.reportOf(s.Steps[i]))
		}
		if c := s.Steps[i].PowerCut; c != nil && c.Every != "" {
			return s.everyFlush(ctx, i, *c)
		}
		if err := s.step(ctx, i); err != nil {
			return err
		}
		s.power.mark(s.model)
		if !s.res.Report.MayGoOn() {
			return nil
		}
	}
	return nil
}

// hearOut waits until the console is complete up to the last step: it is
// slower than the control line.
func (s *session) hearOut(ctx context.Context) error {
	look := time.NewTicker(pollEvery)
	defer look.Stop()
	defer s.notePause()
	s.watch.tick()
	s.watch.alive()
	for ended := s.power.quiet; !ended; {
		select {
		case n := <-s.rec.end:
			ended = n == s.trial
			continue
		case <-s.rec.dead:
		case <-s.m.Done():
			return s.ended(nil)
		case <-ctx.Done():
			return s.host(fmt.Errorf("interrupted: %w", context.Cause(ctx)))
		case <-look.C:
			// While this process stands still, nobody reads the console.
			if s.watch.tick(); s.watch.total < logWait {
				continue
			}
			s.res.Report.LogError = fmt.Sprintf("the console did not come to the trial's end within %v", logWait)
		}
		return nil
	}
	return nil
}

// step does one step.
func (s *session) step(ctx context.Context, i int) error {
	s.res.Report.Phase = scenarios.PhaseStep
	switch st := s.Steps[i]; {
	case st.Fault != nil, st.Heal != nil:
		return s.byHost(ctx, st)
	case st.PowerCut != nil:
		return s.cutPower(ctx, i, *st.PowerCut)
	default:
		return s.byGuest(ctx, i, st)
	}
}

// byGuest has the guest do a step.
func (s *session) byGuest(ctx context.Context, i int, st scenarios.Step) error {
	s.trial = uint64(time.Now().UnixNano())
	s.power.quiet = false
	step := s.model.begin(st)
	step.Index, step.Trial = i, s.trial
	step.LimitMS, step.IdleMS = (stepLimit + lasts(st)).Milliseconds(), stepIdle.Milliseconds()
	step.ReapMS, step.WaitMS = stepReap.Milliseconds(), stepWait.Milliseconds()
	step.Explained, step.Trace = s.blame.explains, s.Trace
	if i == 0 {
		step.Entropy = s.entropy(s.attempt)
	}
	if err := s.send(protocol.ToGuest{Step: &step}); err != nil {
		return err
	}
	err := s.listen(ctx, func(m protocol.FromGuest) bool {
		if m.Trial != s.trial || m.Result == nil {
			return false
		}
		s.res.Step = m.Result
		s.res.Guest = time.Duration(m.MS) * time.Millisecond
		return true
	})
	if err != nil {
		return err
	}
	s.model.end(step, *s.res.Step)
	s.take(step, *s.res.Step)
	return nil
}

// lasts is for how long a step is to go on.
func lasts(st scenarios.Step) (longest time.Duration) {
	if st.IO != nil {
		longest = time.Duration(st.IO.Seconds) * time.Second
	}
	for _, group := range st.Groups() {
		sum := time.Duration(0)
		for _, t := range group {
			sum += lasts(t)
		}
		longest = max(longest, sum)
	}
	return longest
}

// drain makes sure that a task which can't be killed does not wait for the
// host's storage: QEMU, told to stop, first finishes the I/O it has accepted.
func (s *session) drain(ctx context.Context) {
	if n := s.m.Held(); n > 0 {
		s.noHang(fmt.Errorf("a fault of the scenario's keeps %d requests waiting", n))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, qemuWait)
	defer cancel()
	start := time.Now()
	err := s.m.Pause(ctx)
	if took := time.Since(start); err == nil && took > restWait {
		err = fmt.Errorf("it took %.1f s", took.Seconds())
	}
	if err != nil {
		s.noHang(fmt.Errorf("QEMU does not come to rest, so the host's storage may be what the guest waits for: %w", err))
	}
}

// noHang casts doubt on a task that can't be killed: it may be the host's
// doing.
func (s *session) noHang(why error) { s.res.Report.Doubt = text.OneLine(why.Error()) }

// answers says whether QEMU itself is well: it answers, and its machine runs.
// A guest is only silent by itself when QEMU is not.
func (s *session) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, qemuWait)
	defer cancel()
	status, err := s.m.Status(ctx)
	if err != nil {
		return fmt.Errorf("the guest is silent, and so is QEMU: %w", err)
	}
	if status != "running" {
		return fmt.Errorf("the guest is silent, and its machine is not running: %s", status)
	}
	return nil
}

func stuck(what string, u protocol.Unkillable) *verdict.Stuck {
	return &verdict.Stuck{What: what, State: u.State, Where: verdict.Where(u.Stack), MS: u.MS}
}

// host notes trouble of the host and ends the conversation.
func (s *session) host(err error) error {
	if s.res.Report.Host == "" {
		s.res.Report.Host = text.OneLine(err.Error())
	}
	return errStopped
}

func (s *session) send(m protocol.ToGuest) error {
	if err := s.link.send(m); err != nil {
		return s.ended(err)
	}
	return nil
}

// notePause keeps that the guest's watchdogs may have seen the host stand still.
func (s *session) notePause() {
	if why := s.watch.paused(); why != "" {
		s.res.Report.Paused = why
	}
}

// listen takes the guest's messages until want is content. It ends early when
// the guest fails, falls silent or dies, or the host is in trouble.
func (s *session) listen(ctx context.Context, want func(protocol.FromGuest) bool) error {
	w := s.watch
	w.listening()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	defer func() {
		// What the guest said may be heard before the clock is looked at.
		w.tick()
		s.notePause()
	}()
	dead := s.rec.dead
	var buried <-chan time.Time // when a dead kernel's last words are over
	inPhase := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return s.host(fmt.Errorf("interrupted: %w", context.Cause(ctx)))
		case <-s.m.Troubled():
			return s.host(s.m.Trouble())
		case <-s.m.Done():
			return s.ended(nil)
		case <-dead:
			dead = nil
			buried = time.After(time.Second)
			s.res.Report.Setup = "the kernel panicked"
		case <-buried:
			return errStopped
		case m, ok := <-s.link.messages:
			if !ok {
				return s.ended(s.link.err)
			}
			w.alive()
			if m.Beat != nil { // a look now would find the guest busy with this beat
				s.link.give(w.all)
			}
			switch {
			case want(m):
				return nil
			case m.Phase != nil && m.Trial == s.trial:
				s.enter(m.Phase.Name, m.Phase.What)
				inPhase = 0
			case m.Fail != nil && (m.Trial == s.trial || m.Trial == 0):
				// 0: before it has heard of a trial.
				s.failed(*m.Fail)
				if m.Fail.Hung != nil {
					s.drain(ctx)
				}
				return errStopped
			}
		case <-poll.C:
			before := w.given
			if !w.tick() || buried != nil {
				continue // gone: Done tells; dead: nothing more to wait for
			}
			inPhase += max(0, w.given-before)
			if why := w.starved(); why != "" {
				return s.host(errors.New(why))
			}
			if s.quiet(ctx, w, inPhase) {
				return errStopped
			}
		}
	}
}

// quiet ends a conversation with a guest that says nothing any more.
func (s *session) quiet(ctx context.Context, w *watch, inPhase time.Duration) bool {
	rep := &s.res.Report
	if rep.Phase == scenarios.PhaseBoot {
		if w.halted() {
			rep.Setup = fmt.Sprintf("no word from it, and its processor has been at rest for %.0f s", w.given.Seconds())
			return true
		}
		if w.given <= w.limits.boot {
			return false
		}
		rep.Setup = fmt.Sprintf("no word from it in %.0f s", w.given.Seconds())
		return true
	}
	w.broken = s.rec.signs.since(s.sound, s.blame.explains) > 0
	if why := w.silent(); why != "" {
		if w.asked == 0 {
			// Is it the guest? Once QEMU has answered, the guest gets the time to
			// say what QEMU may have held back.
			if err := s.answers(ctx); err != nil {
				_ = s.host(err)
				return true
			}
			w.asked = w.given
		}
		if w.given-w.asked < secondChance {
			return false
		}
		rep.Silent = why
		return true
	}
	if inPhase > w.limits.phase {
		rep.Setup = fmt.Sprintf("still at %q after %.0f s", s.res.Timing[len(s.res.Timing)-1].What, inPhase.Seconds())
		return true
	}
	return false
}

// failed takes the guest's word that something it needs did not work.
func (s *session) failed(f protocol.Fail) {
	rep := &s.res.Report
	if f.Phase != "" {
		rep.Phase = f.Phase
	}
	rep.Setup, rep.Certain = f.Why, f.Certain
	if f.What != "" {
		rep.Setup = f.What + ": " + f.Why
	}
	if f.Broken {
		rep.Observation = scenarios.Observation{Returned: true, Failed: rep.Setup}
		rep.Setup, rep.Phase = "", scenarios.PhaseStep
		return
	}
	rep.Setup = "in the guest: " + rep.Setup
	if f.Hung != nil {
		rep.Stuck = stuck(f.What, *f.Hung)
	}
}

// ended tells why the machine is gone, or its line is.
func (s *session) ended(err error) error {
	select {
	case <-s.m.Done():
	case <-time.After(2 * time.Second):
		if err == nil {
			err = errors.New("the control line ended")
		}
		return s.host(err)
	}
	if t := s.m.Trouble(); t != nil {
		return s.host(t)
	}
	if e := s.m.Err(); e != nil {
		return s.host(e)
	}
	// Nothing of ours ends the machine while it is listened to: the guest did.
	why := s.m.Shutdown()
	if !strings.HasPrefix(why, "guest-") { // host-signal: somebody else's doing
		return s.host(fmt.Errorf("QEMU was ended (%s)", cmp.Or(why, "no reason given")))
	}
	s.res.Report.Reset = "the guest ended the machine (" + why + ")"
	return errStopped
}

// removeDisks removes the disks of a trial that is over: its own, or the
// overlays over those of a base.
func (l Local) removeDisks() error {
	if l.Dir == "" {
		return nil // there never were any
	}
	var errs []error
	for _, d := range l.Disks {
		for _, format := range []qemu.Format{qemu.Raw, qemu.Qcow2} {
			err := os.Remove(filepath.Join(l.Dir, d.ID+"."+string(format)))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, fmt.Errorf("remove disk %s: %w", d.ID, err))
			}
		}
	}
	return errors.Join(errs...)
}
