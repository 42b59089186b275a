package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/kernels"
)

func (a *app) kernelsCommand() *cobra.Command {
	c := &cobra.Command{Use: "kernels", Short: "What kernels there are, and their cache", Args: cobra.NoArgs, RunE: needVerb}
	c.AddCommand(a.kernelsList(), a.kernelsFetch(), a.kernelsBuild(), a.kernelsAdd(), a.kernelsRemove())
	return c
}

// withStore opens the cache of kernels for f.
func (a *app) withStore(f func(*kernels.Store) error) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	p := newProgress(a)
	defer p.stop()
	store, err := kernels.Open(cache, a.log)
	if err != nil {
		return err
	}
	store.Progress, store.Builder = p.fetch, building{cache: cache, say: p.fetch, log: a.log}
	return f(store)
}

func (a *app) kernelsList() *cobra.Command {
	var available bool
	c := &cobra.Command{
		Use: "list [PREFIX]", Short: "List the kernels in the cache, or with --available those that Debian has",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			prefix := ""
			if len(args) == 1 {
				prefix = args[0]
			}
			return a.withStore(func(s *kernels.Store) error {
				if available {
					return a.listAvailable(c.Context(), s, prefix)
				}
				return a.listKernels(s, prefix)
			})
		},
	}
	c.Flags().BoolVar(&available, "available", false, "what Debian has, not what is in the cache")
	return c
}

func (a *app) listKernels(s *kernels.Store, prefix string) error {
	all, err := s.List()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	if a.format == "table" {
		fmt.Fprintln(w, "REFERENCE\tRELEASE\tSIZE")
	}
	for _, e := range all {
		if !strings.HasPrefix(e.Version, prefix) {
			continue
		}
		if a.format == "json" {
			if err := a.printJSON(e); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%d MB\n", printable(e.Exact), printable(e.Release), e.Bytes/1e6)
	}
	return w.Flush()
}

func (a *app) listAvailable(ctx context.Context, s *kernels.Store, prefix string) error {
	all, err := s.Available(ctx, prefix)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	if a.format == "table" {
		fmt.Fprintln(w, "REFERENCE\tRELEASE\tFETCH\tSUITES")
	}
	for _, v := range all {
		if a.format == "json" {
			if err := a.printJSON(v); err != nil {
				return err
			}
			continue
		}
		note := strings.Join(v.Suites, " ")
		if v.Missing != "" {
			note += " (not usable: " + v.Missing + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%d MB\t%s\n", printable(v.Ref), printable(v.Release), v.Bytes/1e6, printable(note))
	}
	return w.Flush()
}

func (a *app) kernelsFetch() *cobra.Command {
	return &cobra.Command{
		Use: "fetch REF…", Short: "Fetch kernels into the cache", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(func(s *kernels.Store) error {
				return a.resolveAll(c.Context(), s, args)
			})
		},
	}
}

// resolveAll fetches or builds kernels and says which they are.
func (a *app) resolveAll(ctx context.Context, s *kernels.Store, refs []string) error {
	for _, ref := range refs {
		k, err := s.Resolve(ctx, ref)
		if err != nil {
			return err
		}
		if err := a.printKernel(k); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printKernel(k kernels.Kernel) error {
	if a.format == "json" {
		return a.printJSON(k)
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %s\n", printable(k.Exact), printable(k.Release))
	return err
}

func (a *app) kernelsAdd() *cobra.Command {
	var modules, config string
	c := &cobra.Command{
		Use: "add NAME IMAGE", Short: "Copy a kernel of your own into the cache, as local:NAME", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(func(s *kernels.Store) error {
				k, err := s.Add(c.Context(), args[0], args[1], modules, config)
				if err != nil {
					return badRequest(err)
				}
				return a.printKernel(k)
			})
		},
	}
	c.Flags().StringVar(&modules, "modules", "", "folder with its modules, as make modules_install makes it")
	c.Flags().StringVar(&config, "config", "", "its configuration")
	return c
}

func (a *app) kernelsRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm REF…", Short: "Remove kernels from the cache", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withStore(func(s *kernels.Store) error {
				var errs []error
				for _, ref := range args {
					errs = append(errs, s.Remove(ref))
				}
				return errors.Join(errs...)
			})
		},
	}
}
