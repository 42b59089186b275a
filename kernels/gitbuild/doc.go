// Package gitbuild builds kernels from git: git:REPO@REV.
//
// A build checks the commit out in a worktree of blockrig's own: nothing of the
// user's repository is run or written (see gitcmd). It configures it with the
// fragments of kernels/config (or cuts a distribution's config down to them),
// and runs make outside of the source tree. The same sources, patches, config
// and compiler give the same image, and are built once: the result, or the
// failure with its log, stays in the cache. Each config has an object tree that
// the next build continues.
//
// As root, make runs as an unprivileged user, and where root may make mount
// namespaces it sees the system, its tools and its own folders alone: a
// kernel's Makefiles are programs that came with the commit. Nothing that make
// starts outlives it.
//
// Several processes may build from one repository at once, each in a folder of
// its own; only for the same kernel one waits for the other.
//
//	b, err := gitbuild.Open(ctx, cacheDir, gitbuild.Options{})
//	…
//	build, err := b.Build(ctx, gitbuild.Spec{Repo: "linux", Rev: "v6.18"})
//	var failed *gitbuild.FailedError
//	if errors.As(err, &failed) { … failed.Log … }
//
// # Other machines
//
// With an [Away] another machine builds. What decides what comes of a build is a
// plain value then, a [Job]: changes to a commit are made before, so that it has
// one tree. The sources travel as git packs, most of them once, into a [Store] of
// the other machine's, where git looks into each object and nothing else comes
// in; it builds as above. What it gives is looked into, too, and kept as a build
// of this machine's.
package gitbuild
