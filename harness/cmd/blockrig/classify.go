package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/results"
)

// classified is what classify prints as json.
type classified struct {
	verdict.Judgement
	Release  string            `json:"release"`
	Lines    int               `json:"lines"`
	Findings []console.Finding `json:"findings"`
}

func (a *app) classifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "classify FILE|-",
		Short: "Judge any kernel log: serial console, dmesg, journal, a mail",
		Long: `Read a kernel log (- is standard input; gz, xz and zst are unpacked) and say
what went wrong in it. The log of a trial gets the trial's verdict; in any
other an I/O error is eio, and clean means that nothing was found.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.classify(args[0]) },
	}
}

func (a *app) classify(name string) error {
	log, err := a.readLog(name)
	if err != nil {
		return err
	}
	l := verdict.Log{Findings: log.Findings, KernelLines: log.KernelLines}
	for _, m := range log.Marks {
		l.Marks = append(l.Marks, verdict.Mark(m))
	}
	j, err := verdict.JudgeLog(l)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if a.format == "json" {
		out := classified{Judgement: j, Release: log.Release, Lines: log.Lines, Findings: log.Findings}
		if out.Findings == nil {
			out.Findings = []console.Finding{}
		}
		if err := json.NewEncoder(a.stdout).Encode(out); err != nil {
			return err
		}
	} else if err := a.printClassified(j, log); err != nil {
		return err
	}
	return exitWith(results.ExitStatus(j.Verdict))
}

func (a *app) readLog(name string) (*console.Log, error) {
	in := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, badRequest(err)
		}
		defer f.Close()
		if info, err := f.Stat(); err != nil {
			return nil, badRequest(err)
		} else if info.IsDir() {
			return nil, badRequest(fmt.Errorf("%s is a folder: name a log in it", name))
		}
		in = f
	}
	log, err := console.ReadAll(in)
	if errors.Is(err, console.ErrEmpty) || errors.Is(err, console.ErrNoKernelLines) {
		return nil, fmt.Errorf("%s: %w: is this a kernel log?", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return log, nil
}

func (a *app) printClassified(j verdict.Judgement, log *console.Log) error {
	text := string(j.Verdict)
	for i, v := range j.Also {
		text += map[bool]string{true: " (also ", false: ", "}[i == 0] + string(v)
	}
	if len(j.Also) > 0 {
		text += ")"
	}
	text += ": " + printable(j.Reason)
	if log.Release != "" {
		text += "  [kernel " + printable(log.Release) + "]"
	}
	if _, err := io.WriteString(a.stdout, text+"\n"); err != nil {
		return err
	}
	return nil
}
