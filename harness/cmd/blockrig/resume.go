package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/blockrig/blockrig/results"
)

// mayChange are the flags that say something else than what is to be done.
var mayChange = map[string]bool{"resume": true, "jobs": true, "hub": true, "timing": true, "format": true, "results": true, "verbose": true}

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
	root, err := a.resultsRoot()
	if err == nil {
		err = a.resumeWith(c.Context(), root, id, o.hub)
	}
	if err != nil {
		return wrongRun(err)
	}
	return a.runTrials(c.Context(), how{jobs: o.jobs, timing: o.timing}, func(root string) (*results.Run, results.Stored, error) {
		return results.Resume(c.Context(), root, id)
	})
}

// resumeWith joins the hub when a run is resumed with one, and refuses to have a
// part of the trials made with another QEMU or accelerator than the others.
func (a *app) resumeWith(ctx context.Context, root, id, hub string) error {
	was, err := results.Show(root, id)
	if err != nil {
		return err
	}
	accel, build, here := was.Request.Accel, "", false
	for _, r := range was.Records {
		if r.Worker == nil {
			here = true
			continue
		}
		accel, build = r.Accel, r.Worker.QEMU
	}
	switch {
	case hub == "" && build != "":
		return badRequest(fmt.Errorf("--resume %s: its trials were made by a hub's workers; add --hub", id))
	case hub != "" && here:
		return badRequest(fmt.Errorf("--resume %s: its trials were made on this machine; leave out --hub", id))
	}
	return a.joinHub(ctx, hub, accel, build)
}
