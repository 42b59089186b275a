package nightly

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/kernels"
)

// A finder finds out what the patterns stand for tonight.
type finder struct {
	exec    Executor
	archive *archive
	seen    map[streamRef]bool // by nights before

	releases []kernels.Version
	err      error
	asked    bool
}

// kernels are those of all patterns. Of a pattern that can't be looked up,
// since a mirror is down, say, the kernels of the last night are taken, and
// trouble says so.
func (f *finder) kernels(ctx context.Context, patterns []Pattern) (out []Kernel, trouble []string, err error) {
	for _, p := range patterns {
		found, err := f.of(ctx, p)
		if ctx.Err() != nil {
			return nil, nil, err
		}
		if err != nil {
			last := f.last(p.String())
			what := "nothing of it is tried"
			if len(last) > 0 {
				what = "what the last night had is tried again"
			}
			trouble = append(trouble, fmt.Sprintf("%s: %v; %s", p, err, what))
			found = last
		}
		for _, k := range found {
			k.New = !f.seen[streamRef{k.Stream, k.Ref}]
			out = append(out, k)
		}
	}
	return out, trouble, nil
}

// last are the kernels of a pattern's streams that were looked at last.
func (f *finder) last(name string) []Kernel {
	for _, n := range slices.Backward(f.archive.nights) {
		var out []Kernel
		for _, k := range n.Kernels {
			if k.Stream == name || strings.HasSuffix(k.Stream, seriesOf(name)) && strings.HasPrefix(name, "series ") {
				out = append(out, k)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// seriesOf is how the streams of the pattern "series of X" end.
func seriesOf(name string) string { return strings.TrimPrefix(name, "series") }

func (f *finder) of(ctx context.Context, p Pattern) ([]Kernel, error) {
	name := p.String()
	switch {
	case p.Kernel != nil:
		k, err := f.reference(ctx, p.Kernel.Ref)
		k.Stream = name
		return []Kernel{k}, err
	case p.Packages != nil:
		return f.packages(ctx, name, p.Packages.Suite)
	case p.Tags != nil:
		tags, err := f.tags(ctx, p.Tags.Repo, p.Tags.Match)
		if err != nil {
			return nil, err
		}
		var all []Kernel
		for _, t := range tags {
			all = append(all, Kernel{Stream: name, Ref: kernels.GitRef{Repo: p.Tags.Repo, Rev: t}.String(), Release: t})
		}
		return f.unseen(name, all), nil
	case p.Series.Of == debianSeries:
		return f.debianSeries(ctx)
	default:
		return f.gitSeries(ctx, p.Series.Of)
	}
}

// reference makes a reference exact.
func (f *finder) reference(ctx context.Context, ref string) (Kernel, error) {
	if git, ok := kernels.CutGit(ref); ok {
		var err error
		git.Rev, err = f.exec.Commit(ctx, git.Repo, git.Rev)
		return Kernel{Ref: git.String()}, err
	}
	if !strings.HasPrefix(ref, "debian:") {
		return Kernel{Ref: ref}, nil
	}
	v, err := f.exec.Choose(ctx, ref)
	return Kernel{Ref: v.Ref, Release: v.Release}, err
}

// debian gives Debian's kernels that can be had, asked for once a night.
func (f *finder) debian(ctx context.Context) ([]kernels.Version, error) {
	if !f.asked {
		f.releases, f.err = f.exec.Releases(ctx)
		f.asked = true
	}
	var out []kernels.Version
	for _, v := range f.releases {
		if v.Missing == "" {
			out = append(out, v)
		}
	}
	return out, f.err
}

func (f *finder) packages(ctx context.Context, name, suite string) ([]Kernel, error) {
	releases, err := f.debian(ctx)
	if err != nil {
		return nil, err
	}
	var all []Kernel
	for _, v := range releases {
		if slices.Contains(v.Suites, suite) {
			all = append(all, Kernel{Stream: name, Ref: v.Ref, Release: v.Release})
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no kernel in %s", suite)
	}
	return f.unseen(name, all), nil
}

// unseen are those of all, the oldest first, that came after what nights
// before looked at: the first night begins with the newest. Without any, it is
// the newest again.
func (f *finder) unseen(stream string, all []Kernel) []Kernel {
	at := -1
	for i, k := range all {
		if f.seen[streamRef{stream, k.Ref}] {
			at = i
		}
	}
	switch {
	case len(all) == 0:
		return nil
	case at < 0, at == len(all)-1:
		return all[len(all)-1:]
	}
	return all[at+1:]
}

func (f *finder) debianSeries(ctx context.Context) ([]Kernel, error) {
	releases, err := f.debian(ctx)
	if err != nil {
		return nil, err
	}
	var all []Kernel
	for _, v := range releases { // oldest first: the newest of a series stays
		if !v.RC {
			all = newestOf(all, v.Version, debianSeries, Kernel{Ref: v.Ref, Release: v.Release})
		}
	}
	return all, nil
}

func (f *finder) gitSeries(ctx context.Context, repo string) ([]Kernel, error) {
	tags, err := f.tags(ctx, repo, "v*")
	if err != nil {
		return nil, err
	}
	var all []Kernel
	for _, t := range tags {
		if !strings.Contains(t, "-") { // no candidate
			all = newestOf(all, strings.TrimPrefix(t, "v"), repo, Kernel{Ref: kernels.GitRef{Repo: repo, Rev: t}.String(), Release: t})
		}
	}
	return all, nil
}

// newestOf puts the kernel of a version in the place of the one of its series.
func newestOf(all []Kernel, version, of string, k Kernel) []Kernel {
	k.Stream = "series " + seriesName(version) + " of " + of
	for i := range all {
		if all[i].Stream == k.Stream {
			all[i] = k
			return all
		}
	}
	return append(all, k)
}

// seriesName is 6.18 of 6.18.15.
func seriesName(version string) string {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return version
	}
	minor := parts[1]
	if i := strings.IndexFunc(minor, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		minor = minor[:i]
	}
	return parts[0] + "." + minor
}

func (f *finder) tags(ctx context.Context, repo, match string) ([]string, error) {
	all, err := f.exec.Tags(ctx, repo)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(slices.Clone(all), func(t string) bool {
		ok, err := path.Match(match, t)
		return err != nil || !ok
	})
	if len(all) == 0 {
		return nil, errors.New("no tag matches")
	}
	return all, nil
}
