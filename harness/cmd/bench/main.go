// Command bench measures how fast blockrig is, on real kernels, and prints
// each figure beside the one to reach. Absolute times vary from machine to
// machine, and with what else runs there.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/blockrig/blockrig/harness/child"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

const (
	story   = "lvm-mirror-dio-read"
	aligned = "length=4096,memory_offset=0"
)

// bencher is where and with what it is measured.
type bencher struct {
	ctx     context.Context
	command string // blockrig
	kernel  string // reference
	repeats int
	dir     string  // cache without saved machines, and results
	mib     float64 // memory of blockrig itself, at most
	rows    []row
}

func bench(ctx context.Context) (err error) {
	b := &bencher{ctx: ctx}
	flag.StringVar(&b.kernel, "kernel", "debian:6.18", "reference of the `kernel` to measure with")
	flag.IntVar(&b.repeats, "repeats", 20, "warm `trials` of which the median is taken, one at a time")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: bench [-kernel REF] [-repeats N] BLOCKRIG")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 || b.repeats < 1 {
		flag.Usage()
		os.Exit(2)
	}
	if b.command, err = filepath.Abs(flag.Arg(0)); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "blockrig-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"fetch what is needed, which is not measured", b.prepare},
		{"cold trials", b.cold},
		{"all of repro", b.repro},
		{"the first verdict", b.firstVerdict},
		{"warm trials", b.warm},
		{"a hundred reads from one boot", b.hundred},
		{"hunts", b.hunts},
		{"Go benchmarks", b.goBenchmarks},
	} {
		fmt.Fprintf(os.Stderr, "bench: %s\n", step.what)
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	b.add(row{what: "memory of blockrig itself", unit: "MB", value: b.mib * (1 << 20) / 1e6, limit: 100, note: "the peak of all runs above"})
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	fmt.Printf("%d CPUs, load %s\n", runtime.NumCPU(), strings.TrimSpace(string(load)))
	return printTable(os.Stdout, b.rows)
}

func (b *bencher) add(r row) { b.rows = append(b.rows, r) }

// env gives blockrig a cache of its own, which has no saved machines and
// shares the rest with the user's.
func (b *bencher) env() []string {
	return []string{"XDG_CACHE_HOME=" + filepath.Join(b.dir, "cache")}
}

// blockrig runs blockrig, which must end with status 0.
func (b *bencher) blockrig(args ...string) (run, error) {
	return b.with(b.env(), append([]string{"--results", filepath.Join(b.dir, "runs")}, args...)...)
}

func (b *bencher) with(env []string, args ...string) (run, error) {
	r, err := measure(b.ctx, env, b.command, args...)
	if err != nil {
		return r, err
	}
	if r.status != 0 {
		return r, fmt.Errorf("blockrig %s: exit status %d: %s", strings.Join(args, " "), r.status, strings.TrimSpace(r.said))
	}
	return r, nil
}

// prepare fetches kernels into the user's cache, and makes one for the bench
// beside it.
func (b *bencher) prepare() error {
	r, err := b.with(nil, "--format", "json", "scenarios", "show", story)
	if err != nil {
		return err
	}
	var sc struct {
		Story struct {
			Kernels []struct{ Ref string }
		}
	}
	if err := json.Unmarshal([]byte(strings.Join(r.lines, "\n")), &sc); err != nil {
		return fmt.Errorf("scenario %s: %w", story, err)
	}
	refs := []string{b.kernel}
	for _, k := range sc.Story.Kernels {
		refs = append(refs, k.Ref)
	}
	for _, ref := range refs {
		if _, err := b.with(nil, "kernels", "fetch", ref); err != nil {
			return err
		}
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	mine := filepath.Join(b.dir, "cache", "blockrig")
	if err := os.MkdirAll(mine, 0o700); err != nil {
		return err
	}
	for _, name := range []string{"kernels", "initramfs", "apt", "accel"} {
		theirs := filepath.Join(user, "blockrig", name)
		if err := os.MkdirAll(theirs, 0o700); err != nil {
			return err
		}
		if err := os.Symlink(theirs, filepath.Join(mine, name)); err != nil {
			return err
		}
	}
	// The first run builds the initramfs and finds out about KVM.
	_, err = b.trials("--cold")
	return err
}

// trialOf is what is read of a trial's record.
type trialOf struct {
	Accel   string  `json:"accel"`
	Warm    bool    `json:"warm"`
	TrialMS float64 `json:"trial_ms"`
	GuestMS float64 `json:"guest_ms"`
}

// measured is a run of trials.
type measured struct {
	run
	trials []trialOf
}

// trials runs the aligned case with more arguments.
func (b *bencher) trials(args ...string) (measured, error) {
	r, err := b.blockrig(append([]string{"--format", "json", "run", story, "-k", b.kernel, "--case", aligned, "--timing"}, args...)...)
	m := measured{run: r}
	if err != nil {
		return m, err
	}
	c, err := r.cost()
	if err != nil {
		return m, err
	}
	b.mib = max(b.mib, c.mib)
	for _, line := range r.lines {
		var t trialOf
		if err := json.Unmarshal([]byte(line), &t); err != nil {
			return m, fmt.Errorf("read a record: %w", err)
		}
		m.trials = append(m.trials, t)
	}
	return m, nil
}

func (m measured) seconds() []float64 {
	var out []float64
	for _, t := range m.trials {
		out = append(out, t.TrialMS/1000)
	}
	return out
}

func (b *bencher) cold() error {
	m, err := b.trials("--cold", "--jobs", "1", "--repeat", "3")
	if err != nil {
		return err
	}
	var ratios []float64
	for _, t := range m.trials {
		if t.GuestMS > 0 {
			ratios = append(ratios, t.TrialMS/t.GuestMS)
		}
	}
	b.add(row{what: "cold trial", unit: "s", value: median(m.seconds()), limit: 6, note: fmt.Sprintf("%s, %s; median of %d", b.kernel, m.trials[0].Accel, len(m.trials))})
	b.add(row{what: "cold trial to the guest's own time", unit: "x", value: median(ratios), limit: 1.1, note: "from the guest's boot to its answer"})
	return nil
}

func (b *bencher) repro() error {
	for _, how := range []struct {
		what  string
		limit float64
	}{
		{"all of repro, no machine saved", 150},
		{"all of repro, machines saved", 0},
	} {
		r, err := b.blockrig("repro")
		if err != nil {
			return err
		}
		b.add(row{what: how.what, unit: "s", value: r.wall.Seconds(), limit: how.limit, note: "kernels in the cache"})
	}
	return nil
}

func (b *bencher) firstVerdict() error {
	if _, err := b.trials(); err != nil { // saves the machine, where repro did not
		return err
	}
	var seconds []float64
	for range 5 {
		m, err := b.trials()
		if err != nil {
			return err
		}
		if !m.trials[0].Warm {
			return errors.New("the trial was cold, though a machine was saved")
		}
		seconds = append(seconds, m.first.Seconds())
	}
	b.add(row{what: "first verdict with a saved machine", unit: "s", value: median(seconds), limit: 1.5, note: fmt.Sprintf("from the command's start; median of %d", len(seconds))})
	return nil
}

func (b *bencher) warm() error {
	one, err := b.trials("--boots", "1", "--jobs", "1", "--repeat", strconv.Itoa(b.repeats))
	if err != nil {
		return err
	}
	b.add(row{what: "warm trial", unit: "s", value: median(one.seconds()), limit: .4, note: fmt.Sprintf("median of %d, one at a time", len(one.trials))})
	two, err := b.trials("--boots", "1", "--jobs", "2", "--repeat", strconv.Itoa(2*b.repeats))
	if err != nil {
		return err
	}
	b.add(row{
		what: "two jobs to one", unit: "x", value: two.rate() / one.rate(), limit: 1.7, least: true,
		note: fmt.Sprintf("%.1f and %.1f warm trials a second", two.rate(), one.rate()),
	})
	return nil
}

// rate is how many trials a second there were, from the first's end on.
func (m measured) rate() float64 {
	return float64(len(m.trials)-1) / (m.wall - m.first).Seconds()
}

func (b *bencher) hundred() error {
	m, err := b.trials("--boots", "1", "--repeat", "100")
	if err != nil {
		return err
	}
	c, err := m.cost()
	if err != nil {
		return err
	}
	b.add(row{what: "100 aligned reads from one boot", unit: "s", value: m.wall.Seconds(), limit: 45})
	b.add(row{what: "blockrig's own CPU time in that", unit: "%", value: c.percent, limit: 5, note: fmt.Sprintf("%.1f s", c.seconds)})
	return nil
}

// hunts are how fast a hunt does operations in a guest, on stacks where it finds
// nothing, beside the plain disk alone.
func (b *bencher) hunts() error {
	for _, h := range []struct{ what, stacks string }{
		{"hunt: operations a minute", "dm-linear,md-raid0"},
		{"hunt: the plain disk alone", "plain"},
	} {
		r, err := b.blockrig("--format", "json", "hunt", "--stack", h.stacks, "-k", b.kernel, "--seed", "1", "--budget", "60s")
		if err != nil {
			return err
		}
		var totals struct {
			Rate float64 `json:"operations_per_minute"`
			CPU  float64 `json:"operations_per_cpu_minute"`
		}
		if len(r.lines) == 0 {
			return errors.New("the hunt said nothing")
		}
		if err := json.Unmarshal([]byte(r.lines[len(r.lines)-1]), &totals); err != nil {
			return fmt.Errorf("read what a hunt says: %w", err)
		}
		b.add(row{what: h.what, unit: "/min", value: totals.Rate, limit: 20_000, least: true, note: fmt.Sprintf("%s; %.0f to a minute of the host's CPU time", h.stacks, totals.CPU)})
	}
	return nil
}

// goBenchmarks are those of the parts that need no machine.
func (b *bencher) goBenchmarks() error {
	for _, g := range []struct {
		pkg, name string
		unit      string // of testing.B's output
		row       row
		scale     float64
	}{
		{"./initramfs", "BenchmarkWarmBuild", "ns/op", row{what: "initramfs, nothing changed", unit: "ms", limit: 300}, 1e-6},
		{"./initramfs", "BenchmarkNewExecutable", "ns/op", row{what: "initramfs, new executable", unit: "ms", limit: 300}, 1e-6},
		{"./harness/console", "BenchmarkQuiet", "MB/s", row{what: "classify a quiet log", unit: "MB/s", limit: 300, least: true}, 1},
		{"./harness/console", "BenchmarkReports", "MB/s", row{what: "classify a log full of reports", unit: "MB/s", limit: 50, least: true}, 1},
		{"./results/report", "BenchmarkPageOfAHundredThousandTrials", "ns/op", row{what: "page of 100,000 trials", unit: "s", limit: 2}, 1e-9},
		{"./results/compare", "BenchmarkKernelsOfAHundredThousandTrials", "ns/op", row{what: "compare two kernels of 100,000 trials", unit: "s", limit: 1}, 1e-9},
	} {
		cmd := exec.Command("go", "test", "-run", "^$", "-bench", "^"+g.name+"$", "-count", "3", g.pkg)
		out, err := child.Output(b.ctx, cmd, child.Options{}, 1<<20)
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", g.name, err, out)
		}
		values := figures(string(out), g.name, g.unit)
		if len(values) == 0 {
			return fmt.Errorf("%s gave no %s:\n%s", g.name, g.unit, out)
		}
		g.row.value = median(values) * g.scale
		g.row.note = fmt.Sprintf("median of %d", len(values))
		b.add(g.row)
	}
	return nil
}

// figures takes the values of a unit out of what "go test -bench" prints.
func figures(out, name, unit string) []float64 {
	var values []float64
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != name && !strings.HasPrefix(fields[0], name+"-") {
			continue
		}
		for i := 2; i < len(fields); i++ {
			if v, err := strconv.ParseFloat(fields[i-1], 64); err == nil && fields[i] == unit {
				values = append(values, v)
			}
		}
	}
	return values
}
