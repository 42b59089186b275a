package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/kernels/gitbuild"
)

// building builds the kernels of git: references with blockrig's own config.
// Its cache is opened when there is something to build.
type building struct {
	cache string
	say   func(what string, done, total int64) // shows how far it is
	with  buildOptions
	log   *slog.Logger
	away  func(ctx context.Context, cc string) (compiler string, by gitbuild.Away, err error) // see app.builders; nil: this machine builds
}

// Build implements kernels.Builder.
func (b building) Build(ctx context.Context, ref kernels.GitRef) (kernels.Kernel, error) {
	opts, err := b.with.options()
	if err != nil {
		return kernels.Kernel{}, err
	}
	if b.away != nil {
		if opts.Compiler, opts.Away, err = b.away(ctx, b.with.cc); err != nil {
			return kernels.Kernel{}, err
		}
	}
	opts.Log = b.log
	opts.Progress = func(phase string, files int) {
		if files > 0 {
			phase = fmt.Sprintf("%s: %d files", phase, files)
		}
		b.say(phase, 0, 0)
	}
	builder, err := gitbuild.Open(ctx, b.cache, opts)
	if err != nil {
		return kernels.Kernel{}, err
	}
	return builder.Build(ctx, ref)
}

func (a *app) kernelsBuild() *cobra.Command {
	var g buildOptions
	c := &cobra.Command{
		Use: "build git:REPO@REV…", Short: "Build kernels from git into the cache",
		Long: `Build commits of a local repository with blockrig's own config. What was built
once is taken from the cache; so is the failure of what does not build.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, ref := range args {
				git, ok := kernels.CutGit(ref)
				if !ok {
					return badRequest(fmt.Errorf("kernels build %s: want git:REPO@REV", ref))
				}
				repo, err := openRepo(c.Context(), git.Repo)
				if err == nil {
					_, err = repo.Resolve(c.Context(), git.Rev)
				}
				if err != nil {
					return badRequest(fmt.Errorf("kernels build %s: %w", ref, err))
				}
			}
			if _, err := g.build(); err != nil { // what is wrong with the files named
				return badRequest(err)
			}
			return a.withStore(c.Context(), func(s *kernels.Store) error {
				b, ok := s.Builder.(building)
				if !ok {
					return errors.New("there is nothing here that builds kernels")
				}
				b.with = g
				s.Builder = b
				return a.resolveAll(c.Context(), s, args)
			})
		},
	}
	g.buildFlags(c.Flags())
	return c
}
