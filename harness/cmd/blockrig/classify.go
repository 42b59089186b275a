package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/console/symbols"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// classified is what classify prints as json.
type classified struct {
	verdict.Judgement
	Titles   []string          `json:"titles"` // of the signature
	Release  string            `json:"release"`
	Lines    int               `json:"lines"`
	Findings []console.Finding `json:"findings"`
}

func (a *app) classifyCommand() *cobra.Command {
	var vmlinux string
	c := &cobra.Command{
		Use:   "classify FILE|-",
		Short: "Judge any kernel log: serial console, dmesg, journal, a mail",
		Long: `Read a kernel log (- is standard input) and say what went wrong in it: a serial
console, dmesg or the journal in any of their formats, syslog, netconsole,
logcat, JSON, or a mail, packed with gz, xz, zst or bz2 or not. The log of a
trial gets the trial's verdict; in any other an I/O error is eio, and clean
means that nothing was found. What storage complains of and no rule knows is
told as not recognised, and counts for no verdict.

Exit status: 0 pass or clean; 1 another verdict; 2 the request was wrong; 3
there is no verdict in it.`,
		Example: `  blockrig classify console.log
  journalctl -k -b -1 | blockrig classify -`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.classify(c.Context(), args[0], vmlinux) },
	}
	c.Flags().StringVar(&vmlinux, "vmlinux", "", "the log's kernel with its debug information (`FILE`): traces get source lines")
	return c
}

func (a *app) classify(ctx context.Context, name, vmlinux string) error {
	var s *symbols.Symbolizer
	if vmlinux != "" {
		var err error
		if s, err = symbols.New(symbols.Files{Vmlinux: vmlinux}); err != nil {
			return badRequest(fmt.Errorf("--vmlinux: %w", err))
		}
	}
	var sum protocol.LogSum
	log, err := a.readLog(ctx, name, &sum)
	if err == nil && s != nil {
		log.Findings, err = s.Resolve(ctx, log.Findings)
	}
	if s != nil {
		err = errors.Join(err, s.Close())
	}
	if err != nil {
		return err
	}
	sum.Close()
	j, err := verdict.JudgeLog(verdict.Log{
		Findings: log.Findings, Marks: log.Marks, KernelLines: log.KernelLines, Trailers: sum.Trailers(),
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if a.format == "json" {
		err = a.writeClassified(j, log)
	} else {
		err = a.printClassified(j, log)
	}
	if err != nil {
		return err
	}
	return exitWith(results.ExitStatus(j.Verdict))
}

func (a *app) readLog(ctx context.Context, name string, sum *protocol.LogSum) (*console.Log, error) {
	open := func() (io.ReadCloser, error) { return io.NopCloser(a.stdin), nil }
	if name != "-" {
		switch info, err := os.Stat(name); {
		case err != nil:
			return nil, badRequest(err)
		case info.IsDir():
			return nil, badRequest(fmt.Errorf("%s is a folder: name a log in it", name))
		case info.Mode()&fs.ModeDevice != 0 && info.Mode()&fs.ModeCharDevice == 0:
			return nil, badRequest(fmt.Errorf("%s is a block device: blockrig opens none", name))
		}
		open = func() (io.ReadCloser, error) {
			f, err := os.Open(name)
			return f, badRequest(err)
		}
	}
	log, err := readAll(ctx, open, sum)
	if name == "-" {
		name = "standard input"
	}
	switch {
	case errors.Is(err, console.ErrNoKernelLines) && len(log.Marks) > 0:
		return log, nil // of a trial whose kernel did not say a word
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return log, nil
}

// readAll is console.ReadAll that ends with ctx. Nothing can end a read from a
// terminal or a pipe that says nothing, nor the opening of a pipe that nobody
// writes to: that goroutine is left to the end of the process, which is near.
func readAll(ctx context.Context, open func() (io.ReadCloser, error), sum *protocol.LogSum) (*console.Log, error) {
	type answer struct {
		log *console.Log
		err error
	}
	got := make(chan answer, 1)
	go func() {
		in, err := open()
		if err != nil {
			got <- answer{&console.Log{}, err}
			return
		}
		log, err := console.ReadAll(in, sum)
		got <- answer{log, errors.Join(err, in.Close())}
	}()
	select {
	case a := <-got:
		return a.log, a.err
	case <-ctx.Done():
		return &console.Log{}, context.Cause(ctx)
	}
}

func (a *app) writeClassified(j verdict.Judgement, log *console.Log) error {
	out := classified{
		Judgement: j, Titles: results.OrEmpty(j.Signature.Titles), Release: log.Release, Lines: log.Lines, Findings: results.OrEmpty(log.Findings),
	}
	out.Also = results.OrEmpty(j.Also)
	return a.printJSON(out)
}

// shownFindings is how many findings a person gets to see.
const shownFindings = 20

func (a *app) printClassified(j verdict.Judgement, log *console.Log) error {
	var b strings.Builder
	b.WriteString(string(j.Verdict))
	if len(j.Also) > 0 {
		fmt.Fprintf(&b, " (also %s)", joinVerdicts(j.Also))
	}
	if j.Phase != "" {
		b.WriteString(", phase " + j.Phase)
	}
	b.WriteString(": " + j.Reason)
	if log.Release != "" {
		fmt.Fprintf(&b, " [Linux %s]", log.Release)
	}
	if _, err := fmt.Fprintln(a.stdout, text.Escape(b.String())); err != nil {
		return err
	}
	// What counts comes first: a boot may say a lot before the trial.
	var counts, baseline []console.Finding
	for _, f := range log.Findings {
		if f.Baseline {
			baseline = append(baseline, f)
		} else {
			counts = append(counts, f)
		}
	}
	all := append(counts, baseline...)
	shown := all[:min(len(all), shownFindings)]
	if len(shown) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(a.stdout); err != nil {
		return err
	}
	if err := console.Print(a.stdout, shown, a.outTerm); err != nil {
		return err
	}
	if more := len(all) - len(shown); more > 0 {
		_, err := fmt.Fprintf(a.stdout, "\nand %d more (--format json has all)\n", more)
		return err
	}
	return nil
}

func joinVerdicts(all []scenarios.Verdict) string {
	words := make([]string, len(all))
	for i, v := range all {
		words[i] = string(v)
	}
	return strings.Join(words, ", ")
}
