package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/blockrig/blockrig/results"
)

// mayChange are the flags that say something else than what is to be done.
var mayChange = map[string]bool{"resume": true, "jobs": true, "timing": true, "format": true, "results": true, "verbose": true}

// resume does the rest of a run, by its stored request.
func (a *app) resume(c *cobra.Command, args []string, id string, o *labOptions) error {
	if len(args) > 0 {
		return badRequest(fmt.Errorf("--resume %s: the run knows its scenarios; leave out %q", id, args))
	}
	var err error
	c.Flags().Visit(func(f *pflag.Flag) {
		if !mayChange[f.Name] && err == nil {
			err = fmt.Errorf("--resume %s: the run knows what it is to do; leave out --%s", id, f.Name)
		}
	})
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return badRequest(err)
	}
	return a.runTrials(c.Context(), how{jobs: o.jobs, timing: o.timing}, func(root string) (*results.Run, results.Stored, error) {
		return results.Resume(c.Context(), root, id)
	})
}
