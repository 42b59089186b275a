package nightly

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/hunt"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/results"
)

const hunting = newestOfPlain + `hunt: {stacks: [lvm-raid1, crypt+md-raid1], budget: 30m}
`

func found(id string) hunt.Finding {
	return hunt.Finding{
		ID: id, Class: hunt.BlamesDisk, Stack: "lvm-raid1", Says: "pread direct 512@0 memory+32", Outcome: "EIO", Plain: "pass, data", Kernel: "debian:6.17-1",
		Bisection: &trials.Bisection{Found: Found{Culprits: []Culprit{{First: "6.18", Grade: "likely"}}}},
	}
}

// Given a config with a hunt, then each night hunts on its first kernel, with
// another seed, within its budget; what is found is in the report and makes the
// night a failed one. It is not asked for again the next night.
func TestANightHunts(t *testing.T) {
	w := newWorld(t, "6.17")
	w.hunt = func(h Hunt) (*hunt.State, error) {
		s := hunt.NewState(h.Request)
		s.Release = "6.17-amd64"
		if s.Earlier = h.Earlier; len(h.Earlier) == 0 {
			s.Findings = []hunt.Finding{found("hunt-1")}
		}
		s.LeftOut = []hunt.LeftOut{{Stack: "dm-dust", Why: "it is built without CONFIG_DM_DUST"}}
		return s, nil
	}
	k := w.worker(hunting)
	n := w.night(k)
	said := textOf(t, n)
	for _, want := range []string{
		"1 found by the hunt", "HUNTED ON 6.17-amd64", "lvm-raid1 blames a disk: pread direct 512@0 memory+32", "EIO; on the plain disk: pass, data", "came with 6.18",
		"again: blockrig run " + hunt.Root(k.Root) + "/hunt-1/hunt-1.yaml -k debian:6.17-1", "left out: dm-dust: it is built without CONFIG_DM_DUST",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("there is no %q in\n%s", want, said)
		}
	}
	if n.Status() != results.ExitFailure {
		t.Errorf("status %d", n.Status())
	}
	again := w.night(k)
	if again.Status() != results.ExitOK || strings.Contains(textOf(t, again), "found by the hunt") || !strings.Contains(textOf(t, again), "nothing that no night has said before") {
		t.Errorf("status %d: %s", again.Status(), textOf(t, again))
	}
	a, b := w.hunts[0], w.hunts[1]
	if a.Request.Kernel != "debian:6.17-1" || a.Request.Budget != 30*time.Minute || a.Request.Seed == b.Request.Seed || len(a.Earlier) != 0 || len(b.Earlier) != 1 {
		t.Errorf("%+v, then %+v", a, b)
	}
	w.hunt = func(h Hunt) (*hunt.State, error) {
		s := hunt.NewState(h.Request)
		for _, f := range h.Earlier {
			f.Now = hunt.Fixed
			s.Earlier = append(s.Earlier, f)
		}
		return s, nil
	}
	if n := w.night(k); len(w.hunts[2].Earlier) != 1 || !strings.Contains(textOf(t, n), "fixed: lvm-raid1 blames a disk") {
		t.Errorf("the third night knows %d findings: %s", len(w.hunts[2].Earlier), textOf(t, n))
	}
	w.night(k)
	if c := w.hunts[3]; len(c.Earlier) != 0 {
		t.Errorf("what was fixed is tried again: %+v", c.Earlier)
	}
}

// Given a hunt that was interrupted, then the next start goes on with it; given
// one that can't be done, then the night says so and ends.
func TestAHuntOfANightGoesOn(t *testing.T) {
	w := newWorld(t, "6.17")
	ctx, cancel := context.WithCancel(t.Context())
	w.hunt = func(h Hunt) (*hunt.State, error) {
		cancel()
		s := hunt.NewState(h.Request)
		s.Findings = []hunt.Finding{found("hunt-1")}
		return s, context.Canceled
	}
	k := w.worker(hunting)
	if _, err := k.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	w.hunt = func(h Hunt) (*hunt.State, error) { return nil, kernels.ErrNotFound }
	n := w.night(k)
	if n.Number != 1 || w.hunts[1].Resume != "hunt-1" || n.Hunt == nil || !n.Hunt.Done || len(n.Hunt.Findings) != 1 {
		t.Errorf("night %d resumed %q: %+v", n.Number, w.hunts[1].Resume, n.Hunt)
	}
	if said := textOf(t, n); !strings.Contains(said, "COULD NOT BE DONE") {
		t.Errorf("%s", said)
	}
}

// Given a hunt in the config, then a forecast says it, and stacks that there are
// not are refused.
func TestAHuntInTheConfig(t *testing.T) {
	w := newWorld(t, "6.17")
	f, err := w.worker(hunting).Forecast(t.Context())
	if err != nil || f.Hunt != "lvm-raid1,crypt+md-raid1 on debian:6.17-1, up to 30m" {
		t.Errorf("%q, %v", f.Hunt, err)
	}
	bad := "name: x\nkernels: [{kernel: \"debian:newest\"}]\nscenarios: [plain-dio-read]\nhunt: {stacks: [lvm-raid]}\n"
	if _, err := Parse("x.yaml", []byte(bad)); err == nil || !strings.Contains(err.Error(), "x.yaml:4") || !strings.Contains(err.Error(), "lvm-raid1") {
		t.Errorf("%v", err)
	}
}
