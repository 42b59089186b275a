package trials

import (
	"context"
	"strings"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/kernels"
)

// known gives the releases that are available, those in the cache that Debian no
// longer has too, oldest first.
func known(ctx context.Context, store *kernels.Store) ([]kernels.Version, error) {
	all, err := store.Available(ctx, "")
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	var out []kernels.Version
	for _, v := range all {
		if v.Missing == "" {
			out = append(out, v)
			have[v.Ref] = true
		}
	}
	cached, err := store.List()
	if err != nil {
		return nil, err
	}
	for _, e := range cached {
		if e.Package != "" && !have[e.Exact] {
			out = append(out, kernels.Version{
				Ref: e.Exact, Version: e.Version, Release: e.Release, Package: e.Package,
				RC: strings.Contains(e.Version, "-rc"),
			})
		}
	}
	return out, nil
}

// released are the releases for a bisection between two of them: one build of
// each version, the one in the cache where there are several. Release
// candidates are left out unless an end is one.
func released(store *kernels.Store, all []kernels.Version, ends ...kernels.Version) ([]bisect.Release, error) {
	cached, err := store.List()
	if err != nil {
		return nil, err
	}
	prefer := map[string]string{} // version -> reference
	for _, e := range cached {
		if e.Package != "" {
			prefer[e.Version] = e.Exact
		}
	}
	candidates := false
	for _, e := range ends {
		prefer[e.Version] = e.Ref
		candidates = candidates || e.RC
	}
	var order []string
	refs := map[string]string{}
	for _, v := range all {
		if v.RC && !candidates {
			continue
		}
		if refs[v.Version] == "" {
			order = append(order, v.Version)
		}
		refs[v.Version] = v.Ref // the newest package comes last
	}
	var out []bisect.Release
	for _, v := range order {
		ref := refs[v]
		if p := prefer[v]; p != "" {
			ref = p
		}
		out = append(out, bisect.Release{Version: v, Ref: ref})
	}
	return out, nil
}
