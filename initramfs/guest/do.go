package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/blockrig/blockrig/initramfs/guest/engine"
	"github.com/blockrig/blockrig/initramfs/guest/layer"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// A result is what a step showed.
type result struct{ protocol.Result }

func (r *result) anyStuck() bool {
	if r.Unkillable != nil {
		return true
	}
	for _, group := range r.Groups {
		for _, s := range group {
			if s.Unkillable != nil {
				return true
			}
		}
	}
	return false
}

// do does one step. An error means that it could not be tried.
func (g *guest) do(s protocol.Step) (*result, error) {
	switch {
	case s.IO != nil:
		return g.doIO(s)
	case s.Zone != nil:
		to, err := g.openable(s.Zone.On)
		if err != nil {
			return nil, g.wrap(s.Op(), err)
		}
		return g.byChild(s, request{Zone: &engine.Zones{Path: to.Path, Zone: *s.Zone}})
	case s.Linked != nil:
		return g.doLinked(s)
	case s.Write != nil:
		to, err := g.stack.Expand(s.Write.To)
		if err != nil {
			return nil, g.wrap(s.Op(), err)
		}
		if err := kernelFile(to); err != nil {
			return nil, g.wrap(s.Op(), err)
		}
		return g.byChild(s, request{Write: &textFor{to, s.Write.Text, s.Write.Expect == "any" || s.Write.Expect == "ENOENT"}})
	case s.Queue != nil:
		p, err := g.stack.Part(s.Queue.Of)
		if err == nil && p.Device.Name == "" {
			err = fmt.Errorf("%s has no queue", p.Name)
		}
		if err != nil {
			return nil, g.wrap(s.Op(), err)
		}
		files := s.Queue.Settings()
		for i := range files {
			files[i].File = p.Sys() + "/" + files[i].File
		}
		return g.byChild(s, request{Set: files})
	case s.CPU != nil:
		return g.byChild(s, request{Set: []scenarios.FileText{s.CPU.Setting()}})
	case s.Sysctl != nil:
		return g.byChild(s, request{Set: []scenarios.FileText{s.Sysctl.Setting()}})
	case s.Exec != nil:
		return g.doExec(s)
	case s.Run != nil:
		return g.doRun(s)
	case s.Act != nil && (s.Act.Do == "hold" || s.Act.Do == "release"):
		return g.doHold(s)
	case s.Act != nil:
		err := g.stack.Act(g, *s.Act)
		return g.ended(s, s.Act.Do+" "+s.Act.To, s.Act.Expect, "", err)
	case s.Wait != nil:
		return g.doWait(*s.Wait)
	case s.Check != nil:
		return g.doCheck(s)
	case s.Parallel != nil:
		return g.doParallel(s)
	}
	return nil, g.wrap(s.Op(), fmt.Errorf("this guest can't do a %q", s.Kind()))
}

func (g *guest) doIO(s protocol.Step) (*result, error) {
	r, err := g.requestOf(s)
	if err != nil {
		return nil, err
	}
	return g.byChild(s, request{IO: &r})
}

// openable is a file or device by the name of its part.
func (g *guest) openable(name string) (*layer.Part, error) {
	p, err := g.stack.Target(name)
	if err == nil && p.Path == "" {
		err = fmt.Errorf("%s is a file system, and no file or device", p.Name)
	}
	return p, err
}

// requestOf is an I/O as the child is told of it.
func (g *guest) requestOf(s protocol.Step) (engine.Request, error) {
	o := *s.IO
	to, err := g.openable(o.On)
	if err != nil {
		return engine.Request{}, g.wrap(s.Op(), err)
	}
	other := func(outcome string) bool { return outcome != "data" }
	if n := to.HasNot(o.End()); n > 0 && !slices.ContainsFunc(slices.Concat(o.Expect.Aligned, o.Expect.Misaligned), other) {
		return engine.Request{}, g.wrap(s.Op(), fmt.Errorf("%w: it goes up to byte %d of %s, which has %d", layer.ErrCannot, o.End(), to.Name, n))
	}
	g.kmsg.say("step %s of %d bytes at offset %d, memory offset %d, direct %t, %d times, to %s", o.Op, o.Length, o.Offset, o.MemoryOffset, o.Direct, max(1, o.Count), to.Name)
	return engine.Request{Path: to.Path, IO: o, Generation: s.Generation, Data: s.Data}, nil
}

// doLinked does a chain of I/O. Where it gave no answer, that is one of each.
func (g *guest) doLinked(s protocol.Step) (*result, error) {
	var what request
	for _, t := range slices.Concat(s.Groups...) {
		r, err := g.requestOf(t)
		if err != nil {
			return nil, err
		}
		what.Chain = append(what.Chain, r)
	}
	var chain []scenarios.Observation
	one, err := g.byChildWith(s, what, func(r reply) { chain = r.Chain })
	if err != nil {
		return nil, err
	}
	r := returned()
	group := make([]protocol.Result, len(what.Chain))
	for i := range group {
		group[i] = one.Result
		if i > 0 {
			group[i].Unkillable = nil
		}
		if i < len(chain) {
			group[i].Observation = chain[i]
		}
	}
	r.Groups = [][]protocol.Result{group}
	return r, nil
}

// children is how many of them a step takes at once.
func children(s protocol.Step) int {
	n := 0
	switch {
	case s.IO != nil, s.Linked != nil, s.Zone != nil, s.Write != nil, s.Queue != nil, s.CPU != nil, s.Sysctl != nil, s.Check != nil && (s.Check.Data != "" || s.Check.Agree != ""):
		n = 1
	case s.Parallel != nil:
		for _, group := range s.Groups {
			most := 0
			for _, t := range group {
				most = max(most, children(t))
			}
			n += most
		}
	}
	return n
}

// haveIdle sees to it that so many children wait for something to do.
func (g *guest) haveIdle(n int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.idle) < n {
		c, err := startChild()
		if err != nil {
			return err
		}
		g.idle = append(g.idle, c)
	}
	return nil
}

// takeChild gives one that waits for something to do.
func (g *guest) takeChild() (*child, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.idle); n > 0 {
		c := g.idle[n-1]
		g.idle = g.idle[:n-1]
		return c, nil
	}
	return startChild()
}

// byChild has a child do what is asked.
func (g *guest) byChild(s protocol.Step, what request) (*result, error) {
	return g.byChildWith(s, what, func(reply) {})
}

// byChildWith is byChild that shows the whole answer to more, too.
func (g *guest) byChildWith(s protocol.Step, what request, more func(reply)) (*result, error) {
	c, err := g.takeChild()
	if err != nil {
		return nil, g.wrap("start the child", err)
	}
	g.link.send(protocol.FromGuest{Started: &protocol.Started{PID: c.cmd.Process.Pid}})
	t := g.newTicks()
	if err := c.ask(what); err != nil {
		return nil, g.wrap("tell the child", err)
	}
	f := g.watch(t, c.task(), g.limits)
	r := &result{}
	if f.reply != nil && f.killed == "" {
		defer g.giveBack(c)
	}
	switch {
	case f.reply != nil && f.reply.Cannot:
		text := strings.TrimPrefix(f.reply.Fail, layer.ErrCannot.Error()+": ")
		return nil, g.wrap(s.Op(), fmt.Errorf("%w: %s", layer.ErrCannot, text))
	case f.reply != nil && f.reply.Fail != "":
		return nil, g.wrap(s.Op(), errors.New(f.reply.Fail))
	case f.reply != nil:
		r.Observation = f.reply.Observation // it may have answered though it was killed
		more(*f.reply)
	case f.stuck != nil:
		r.Unkillable = f.stuck
	case f.killed == "":
		r.Died = "exit status 0"
		if f.err != nil {
			r.Died = f.err.Error()
		}
	}
	r.Killed = f.killed
	return r, nil
}

// giveBack lets a child be used again once it has closed what it had open.
func (g *guest) giveBack(c *child) {
	for t := g.newTicks(); t.passed() < aftermathLimit; {
		select {
		case r, ok := <-c.replies:
			if ok && r.Idle {
				g.mu.Lock()
				g.idle = append(g.idle, c)
				g.mu.Unlock()
			}
			return
		case <-time.After(tick):
		}
	}
}

// cleanEnv is what a scenario's own programs are started with.
var cleanEnv = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin:/bbin", "HOME=/", "LC_ALL=C", noUdev}

// programsDir is where the initramfs has the scenario's own programs.
const programsDir = "/programs"

func (g *guest) doExec(s protocol.Step) (*result, error) {
	args, err := g.stack.ExpandAll(s.Exec.Args)
	if err == nil && len(args) == 0 {
		err = errors.New("no tool is named")
	}
	if err != nil {
		return nil, g.wrap(s.Op(), err)
	}
	tool := args[0]
	if s.Exec.File != "" {
		tool = programsDir + "/" + s.Exec.File
	}
	out, err := g.runTool(func(c *exec.Cmd) { c.Env, c.Args[0] = cleanEnv, args[0] }, tool, args[1:]...)
	return g.ended(s, strings.Join(args, " "), s.Exec.Expect, out, err)
}

func (g *guest) doRun(s protocol.Step) (*result, error) {
	lines, err := g.stack.Expand(s.Run.Lines)
	if err != nil {
		return nil, g.wrap(s.Op(), err)
	}
	out, err := g.runTool(func(c *exec.Cmd) {
		c.Env, c.Dir, c.Stdin = cleanEnv, "/", strings.NewReader("set -e\n"+lines+"\n")
	}, shellPath)
	var end *exec.ExitError
	if errors.As(err, &end) && end.ExitCode() == notFound && s.Run.Expect != "any" {
		return nil, g.wrap(s.Op(), fmt.Errorf("%w: a command is not there: %s", layer.ErrCannot, short(oneLine(out))))
	}
	return g.ended(s, s.Op(), s.Run.Expect, out, err)
}

// notFound is how a shell ends that has no such command (sh(1)).
const notFound = 127

// outputKept is how much of a tool's last words is kept.
const outputKept = 2 << 10

// ended is the result of a tool, or of something like one.
func (g *guest) ended(s protocol.Step, what, expect, out string, err error) (*result, error) {
	r := &result{}
	if len(out) > outputKept {
		out = "…" + out[len(out)-outputKept:]
	}
	r.Returned, r.Output = true, strings.ToValidUTF8(strings.TrimSpace(out), "?")
	var e *setupError
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, layer.ErrCannot):
		return nil, g.wrap(s.Op(), err)
	case errors.As(err, &e) && e.hung != nil:
		r.Returned, r.Unkillable, r.Killed = false, e.hung, e.what+" did not end"
	case errors.Is(err, errKilled): // which is neither success nor failure
		r.Failed = short(oneLine(err.Error()))
	case expect == "any":
	case expect == "failure" && err == nil:
		r.Failed = what + " ended well, and was to fail"
	case expect != "failure" && err != nil:
		r.Failed = short(oneLine(err.Error()))
	}
	return r, nil
}

// doWait waits until something holds.
func (g *guest) doWait(w scenarios.Wait) (*result, error) {
	const op = "wait"
	if w.Time != "" {
		d, err := time.ParseDuration(w.Time)
		if err != nil {
			return nil, g.wrap(op, err)
		}
		_, _ = g.until(d, func(time.Duration) (bool, error) { return false, nil })
		if w.File == "" && w.InSync == "" && !w.Idle {
			return returned(), nil
		}
	}
	limit, err := time.ParseDuration(w.Limit)
	if err != nil {
		return nil, g.wrap(op, err)
	}
	look, err := g.condition(w)
	if err != nil {
		return nil, g.wrap(op, err)
	}
	// Each look may itself wait for what a dead worker holds.
	last := "nothing could be told"
	var blind error // why the last look told nothing
	var mu sync.Mutex
	looking := false
	met := false
	ok, _ := g.until(limit, func(now time.Duration) (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		if !looking && !met {
			looking = true
			go g.guard(func() {
				why, err := look(now)
				mu.Lock()
				defer mu.Unlock()
				looking, met, last, blind = false, err == nil && why == "", why, err
			})
		}
		return met, nil
	})
	r := returned()
	if !ok {
		mu.Lock()
		defer mu.Unlock()
		if blind != nil {
			return nil, g.wrap(op, fmt.Errorf("not after %v: %w", limit, blind))
		}
		r.Failed = fmt.Sprintf("not after %v: %s", limit, last)
	}
	return r, nil
}

func returned() *result {
	return &result{protocol.Result{Observation: scenarios.Observation{Returned: true}}}
}

// A look says what is missing of what must hold, "" where nothing is. An error
// means that it could not be told, which says nothing of the kernel.
type look func(now time.Duration) (missing string, err error)

// condition is what a wait waits for.
func (g *guest) condition(w scenarios.Wait) (look, error) {
	switch {
	case w.InSync != "":
		p, err := g.stack.Part(w.InSync)
		return func(time.Duration) (string, error) { return g.unhealthy(p, true) }, err
	case w.Idle:
		last, since := g.countsOrNil(), time.Duration(-1)
		return func(now time.Duration) (string, error) {
			n := g.countsOrNil()
			if changed(last, n) || since < 0 {
				last, since = n, now
			}
			if now-since < settled {
				return "the disks do I/O", nil
			}
			return "", nil
		}, nil
	case w.File != "":
		return g.says(w.File, w.Is, w.Not)
	}
	return nil, errors.New("it does not say what to wait for")
}

// says compares what a file of sysfs or procfs says.
func (g *guest) says(file string, is, not *string) (look, error) {
	path, err := g.stack.Expand(file)
	if err == nil {
		err = kernelFile(path)
	}
	return func(time.Duration) (string, error) {
		got, err := layer.ReadText(path)
		switch {
		case err != nil:
			return "", noFile(err)
		case is != nil && got != *is:
			return fmt.Sprintf("%s says %q, not %q", path, short(oneLine(got)), *is), nil
		case not != nil && got == *not:
			return fmt.Sprintf("%s says %q", path, *not), nil
		}
		return "", nil
	}, err
}

// kernelFile refuses what is no file of the kernel's.
func kernelFile(path string) error {
	if strings.Contains(path, "/../") || !strings.HasPrefix(path, "/sys/") && !strings.HasPrefix(path, "/proc/") {
		return fmt.Errorf("%s is not below /sys or /proc", path)
	}
	return nil
}

// noFile is the error of a file of the kernel's that is not there: a name that
// is wrong, or what this kernel does not have. Another try would end the same.
func noFile(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", layer.ErrCannot, err)
	}
	return err
}

// unhealthy says which of a part's legs is not.
func (g *guest) unhealthy(p *layer.Part, alsoInSync bool) (string, error) {
	if p.Stopped() {
		return "", fmt.Errorf("%w: %s was stopped and has no legs", layer.ErrCannot, p.Name)
	}
	legs, inSync, err := g.stack.LegsOf(p)
	if err != nil {
		return "", err
	}
	for _, l := range legs {
		if !l.OK && !l.Out {
			return "legs: " + legText(legs), nil
		}
	}
	if alsoInSync && !inSync {
		return "not in sync: " + legText(legs), nil
	}
	return "", nil
}

func (g *guest) doCheck(s protocol.Step) (*result, error) {
	c := *s.Check
	switch {
	case c.Data != "":
		p, err := g.openable(c.Data)
		if err != nil {
			return nil, g.wrap(s.Op(), err)
		}
		return g.byChild(s, request{Verify: &engine.Request{Path: p.Path, Generation: s.Generation, Data: s.Data}})
	case c.Agree != "":
		paths, offsets, length, err := g.stack.Copies(c.Agree)
		if err != nil {
			return nil, g.wrap(s.Op(), err)
		}
		return g.byChild(s, request{Compare: &engine.Compare{Paths: paths, Offsets: offsets, Length: length}})
	case c.Fsck != "":
		return g.looked(s, g.stack.Fsck(g, c.Fsck))
	case c.Metadata != "":
		return g.looked(s, g.stack.Metadata(g, c.Metadata))
	}
	var see look
	var err error
	if c.Legs != "" {
		var p *layer.Part
		p, err = g.stack.Part(c.Legs)
		see = func(time.Duration) (string, error) { return g.unhealthy(p, false) }
	} else {
		see, err = g.says(c.File, c.Is, c.Not)
	}
	if err != nil {
		return nil, g.wrap(s.Op(), err)
	}
	missing := make(chan string, 1)
	err = g.inTime(legsLimit, func() error {
		why, err := see(0)
		missing <- why
		return err
	})
	if err != nil {
		return nil, g.wrap(s.Op(), err)
	}
	r := returned()
	r.Failed = <-missing
	return r, nil
}

// looked is the result of a look for damage: only damage is the kernel's doing.
// A tool that could not look gives no answer.
func (g *guest) looked(s protocol.Step, err error) (*result, error) {
	var e *setupError
	if err != nil && !errors.Is(err, layer.ErrDamage) && !(errors.As(err, &e) && e.hung != nil) {
		return nil, g.wrap(s.Op(), err)
	}
	return g.ended(s, s.Op(), "ok", "", err)
}

// doParallel does several lists of steps at the same time. A list ends with
// the first step that gave no answer.
func (g *guest) doParallel(s protocol.Step) (*result, error) {
	r := returned()
	r.Groups = make([][]protocol.Result, len(s.Groups))
	errs := make([]error, len(s.Groups))
	var all sync.WaitGroup
	for i, group := range s.Groups {
		all.Add(1)
		go g.guard(func() {
			defer all.Done()
			for _, t := range group {
				one, err := g.do(t)
				if err != nil {
					errs[i] = err
					return
				}
				r.Groups[i] = append(r.Groups[i], one.Result)
				if !one.Returned {
					return
				}
			}
		})
	}
	all.Wait()
	return r, errors.Join(errs...)
}
