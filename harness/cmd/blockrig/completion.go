package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/results/store"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// complete teaches a command and those below it what a shell may complete: the
// words of a flag, scenarios and runs. Files it completes by itself.
func (a *app) complete(c *cobra.Command) {
	switch usage := strings.Fields(c.Use); {
	case strings.Contains(c.Use, "SCENARIO"):
		// A scenario may be a file, too.
		c.ValidArgsFunction = completeFrom(scenarioNames, cobra.ShellCompDirectiveDefault)
		for name, complete := range map[string]cobra.CompletionFunc{"set": completeSettings, "case": completeCases} {
			if c.Flags().Lookup(name) != nil {
				_ = c.RegisterFlagCompletionFunc(name, complete)
			}
		}
	case len(usage) > 1 && (strings.HasPrefix(usage[1], "RUN") || usage[1] == "A"):
		c.ValidArgsFunction = completeFrom(a.runIDs, cobra.ShellCompDirectiveNoFileComp)
	}
	add := func(f *pflag.Flag) {
		if ch, ok := f.Value.(*choice); ok {
			words := func() []string { return ch.words }
			// It fails only for a flag that c does not have, or the second time.
			_ = c.RegisterFlagCompletionFunc(f.Name, completeFrom(words, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	c.LocalNonPersistentFlags().VisitAll(add)
	c.PersistentFlags().VisitAll(add)
	for _, sub := range c.Commands() {
		a.complete(sub)
	}
}

// completeFrom completes the beginning of one of the words.
func completeFrom(words func() []string, directive cobra.ShellCompDirective) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return beginning(words(), begun), directive
	}
}

// beginning are those of the words that begin so.
func beginning(words []string, begun string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !strings.HasPrefix(w, begun) })
}

// scenariosOf are those on a command line that can be read.
func scenariosOf(args []string) (out []*scenarios.Scenario) {
	for _, arg := range args {
		if sc, err := language.Load(arg); err == nil {
			out = append(out, sc)
		}
	}
	return out
}

// completeSettings completes p=v for the scenarios on the command line.
func completeSettings(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	var out []string
	directive := cobra.ShellCompDirectiveNoFileComp
	param, _, valued := strings.Cut(begun, "=")
	for _, sc := range scenariosOf(args) {
		all := sc.Matrix
		for _, p := range sc.Parameters {
			all = append(all, scenarios.Param{Name: p.Name, Values: []string{p.Value}})
		}
		for _, p := range all {
			if !valued {
				out = append(out, p.Name+"=")
				directive |= cobra.ShellCompDirectiveNoSpace
			}
			for _, v := range p.Values {
				if valued && p.Name == param {
					out = append(out, p.Name+"="+v)
				}
			}
		}
	}
	return beginning(out, begun), directive
}

// completeCases completes the ID of a case of the scenarios on the command
// line.
func completeCases(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	var out []string
	for _, sc := range scenariosOf(args) {
		cases, _ := language.Cases(sc, nil)
		for _, c := range cases {
			out = append(out, c.ID)
		}
	}
	return beginning(out, begun), cobra.ShellCompDirectiveNoFileComp
}

// scenarioNames are those that ship, which a test reads.
func scenarioNames() []string {
	names, err := language.Names()
	if err != nil {
		return nil
	}
	return names
}

// runIDs are the runs that there are; none when they can't be read.
func (a *app) runIDs() []string {
	root, err := a.resultsRoot()
	if err != nil {
		return nil
	}
	index, err := results.OpenStore(context.Background(), root, nil)
	if err != nil {
		return nil
	}
	defer index.Close() // only read from
	runs, err := index.Runs(context.Background(), store.Filter{})
	if err != nil {
		return nil
	}
	ids := []string{"last"}
	for _, r := range runs {
		ids = append(ids, r.ID)
	}
	return ids
}
