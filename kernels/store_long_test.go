//go:build vm && long

package kernels

import (
	"slices"
	"testing"
)

// Given a cache with nothing in it, when a kernel is asked for, then it is
// fetched whole.
func TestRealFetchIntoAnEmptyCache(t *testing.T) {
	cache := t.TempDir()
	s := realStore(t, cache)
	k, err := s.Resolve(t.Context(), "debian:newest@bookworm")
	if err != nil {
		t.Fatal(err)
	}
	// Its own files, given as a user's, are the same kernel.
	again, err := s.Resolve(t.Context(), "file:"+k.Image+",modules="+k.Modules+",config="+k.Config)
	if err != nil || again.Release != k.Release {
		t.Errorf("%+v, %v; want release %s", again, err, k.Release)
	}
	want, err := k.Closure(storageNeeds)
	if err != nil {
		t.Fatal(err)
	}
	got, err := again.Closure(storageNeeds)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("closure %v, %v; want %v", load(got), err, load(want))
	}
}
