package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/kernels"
)

func (a *app) kernelsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "kernels", Short: "List, fetch, build, add or remove kernels",
		Long: `A kernel is named by a reference, REF:

  debian:VERSION[@SUITE]    a package: newest, 6.18 (the newest 6.18.x), 6.18.15
  file:BZIMAGE[,modules=DIR][,config=FILE]
  local:NAME                what "kernels add" put into the cache
  git:REPO@REV              built from a commit of a local repository

What is fetched or built stays in the cache, $XDG_CACHE_HOME/blockrig.`,
		Args: cobra.NoArgs, RunE: needVerb,
	}
	c.AddCommand(a.kernelsList(), a.kernelsFetch(), a.kernelsBuild(), a.kernelsAdd(), a.kernelsRemove())
	return c
}

// withStore opens the cache of kernels for f.
func (a *app) withStore(ctx context.Context, f func(*kernels.Store) error) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	defer a.show()()
	store, err := kernels.Open(ctx, cache, a.log)
	if err != nil {
		return err
	}
	store.Progress, store.Builder = a.display.Fetched, building{cache: cache, say: a.display.Fetched, log: a.log}
	return f(store)
}

func (a *app) kernelsList() *cobra.Command {
	var available bool
	c := &cobra.Command{
		Use: "list [PREFIX]", Short: "List kernels: those in the cache, or with --available those that Debian has",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			prefix := ""
			if len(args) == 1 {
				prefix = args[0]
			}
			return a.withStore(c.Context(), func(s *kernels.Store) error {
				if available {
					return a.listAvailable(c.Context(), s, prefix)
				}
				return a.listKernels(s, prefix)
			})
		},
	}
	c.Flags().BoolVar(&available, "available", false, "those that Debian has, not those in the cache")
	return c
}

func (a *app) listKernels(s *kernels.Store, prefix string) error {
	all, err := s.Matching(prefix)
	if err != nil {
		return err
	}
	t := text.Table{Head: []string{"REFERENCE", "RELEASE", "SIZE"}}
	return printList(a, all, t, func(t *text.Table, e kernels.Entry) {
		if e.Damaged != "" {
			t.Add(e.Name, "damaged: "+e.Damaged, "")
			return
		}
		t.Add(e.Exact, e.Release, megabytes(e.Bytes))
	})
}

func megabytes(n int64) string { return fmt.Sprintf("%d MB", n/1e6) }

func (a *app) listAvailable(ctx context.Context, s *kernels.Store, prefix string) error {
	all, err := s.Available(ctx, prefix)
	if err != nil {
		return err
	}
	t := text.Table{Head: []string{"REFERENCE", "RELEASE", "FETCH", "SUITES"}}
	return printList(a, all, t, func(t *text.Table, v kernels.Version) {
		note := strings.Join(v.Suites, " ")
		if v.Missing != "" {
			note += " (not usable: " + v.Missing + ")"
		}
		t.Add(v.Ref, v.Release, megabytes(v.Bytes), note)
	})
}

func (a *app) kernelsFetch() *cobra.Command {
	return &cobra.Command{
		Use: "fetch REF…", Short: "Fetch kernels into the cache", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(c.Context(), func(s *kernels.Store) error {
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
	_, err := fmt.Fprintf(a.stdout, "%s  %s\n", text.EscapeLines(k.Exact), text.EscapeLines(k.Release))
	return err
}

func (a *app) kernelsAdd() *cobra.Command {
	var modules, config string
	c := &cobra.Command{
		Use: "add NAME IMAGE", Short: "Copy a kernel of your own into the cache, as local:NAME", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(c.Context(), func(s *kernels.Store) error {
				k, err := s.Add(c.Context(), args[0], args[1], modules, config)
				if err != nil {
					return badRequest(err)
				}
				return a.printKernel(k)
			})
		},
	}
	c.Flags().StringVar(&modules, "modules", "", "folder `DIR` with its modules, as make modules_install makes it")
	c.Flags().StringVar(&config, "config", "", "its configuration, a `FILE`")
	return c
}

func (a *app) kernelsRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm REF…", Short: "Remove kernels from the cache", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(c.Context(), func(s *kernels.Store) error {
				var errs []error
				for _, ref := range args {
					errs = append(errs, s.Remove(c.Context(), ref))
				}
				return errors.Join(errs...)
			})
		},
	}
}
