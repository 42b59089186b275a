//go:build vm && long

package hunt

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// Given a kernel of Debian's, then each part by itself is built, side by side with
// others, but for those that the kernel is built without.
func TestEveryPartIsBuilt(t *testing.T) {
	h := realHunt(t)
	s := NewState(Request{Kernel: "debian:newest", Stacks: []string{Everything}, Seed: 1, Budget: time.Hour})
	singles, _ := All()
	var stacks []Stack
	for _, name := range singles {
		stacks = append(stacks, must(t, name))
	}
	s.Groups = grouped(stacks)
	if err := h.begin(s); err != nil {
		t.Fatal(err)
	}
	if err := h.lacking(t.Context()); err != nil {
		t.Fatal(err)
	}
	lacking := len(s.LeftOut)
	for _, l := range s.LeftOut {
		t.Logf("%s: %s", l.Stack, l.Why)
	}
	if lacking > 6 {
		t.Errorf("%d parts are lacking", lacking)
	}
	h.machines = machines{open: h.openBase}
	for s.At = 0; s.At < len(s.Groups); {
		began := time.Now()
		ok, err := h.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := h.close(); err != nil {
			t.Fatal(err)
		}
		if !ok {
			s.Groups = slices.Delete(s.Groups, s.At, s.At+1)
			continue
		}
		t.Logf("in %v: %s", time.Since(began).Round(time.Second), strings.Join(h.group().Stacks, " "))
		s.At++
	}
	for _, l := range s.LeftOut[lacking:] {
		t.Errorf("%s can't be built: %s", l.Stack, l.Why)
	}
}
