package bisect

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// debianHas is what Debian's suites had in November 2026, less what has no
// modules.
var debianHas = []string{
	"6.12.3", "6.12.12", "6.16.3", "6.16.12", "6.17.8", "6.17.13", "6.18.5", "6.18.9", "6.18.12", "6.18.15",
	"7.2.6", "7.2.9", "7.2.11", "7.2.12", "7.2.13", "7.3-rc7", "7.3.4",
}

func releases(t *testing.T, versions ...string) *Releases {
	t.Helper()
	var list []Release
	for _, v := range slices.Backward(versions) {
		list = append(list, Release{v, "debian:" + v})
	}
	h, err := NewReleases(list)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestReleases(t *testing.T) {
	for _, c := range []struct {
		name     string
		new, old string
		fix      bool
		has      func(v version) bool // the failure
		want     string
		rng      string
		note     string
		tries    string // in order, ends and checks left out
	}{
		{
			name: "broken in the mainline", old: "6.17.13", new: "6.18.15",
			has:  func(v version) bool { return v.minor >= 18 || v.major > 6 },
			want: "6.18.5", rng: "v6.17..v6.18", note: "v6.18.5 is the first available v6.18",
			tries: "6.18.5",
		},
		{
			name: "broken in a stable series", old: "6.17.13", new: "6.18.15",
			has:  func(v version) bool { return v.minor == 18 && v.patch >= 12 },
			want: "6.18.12", rng: "v6.18.9..v6.18.12",
			tries: "6.18.5 6.18.9 6.18.12",
		},
		{
			name: "over many series", old: "6.12.3", new: "7.3.4",
			has:  func(v version) bool { return v.major == 7 && v.minor >= 3 },
			want: "7.3-rc7", rng: "v7.2..v7.3-rc7",
			tries: "6.18.5 7.2.6 7.3-rc7",
		},
		{
			name: "mended, in stable too", old: "6.18.15", new: "7.3.4", fix: true,
			has:  func(v version) bool { return v.major == 6 },
			want: "7.2.6", rng: "v6.18..v7.2.6", note: "v7.2.6 is the first available v7.2",
			tries: "7.2.6",
		},
		{
			name: "inside one series", old: "6.18.5", new: "6.18.15",
			has:  func(v version) bool { return v.patch >= 9 },
			want: "6.18.9", rng: "v6.18.5..v6.18.9",
		},
		{
			name: "after a candidate", old: "7.2.6", new: "7.3.4",
			has:  func(v version) bool { return v.minor == 3 && v.patch == 4 },
			want: "7.3.4", rng: "v7.3-rc7..v7.3.4",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := releases(t, debianHas...)
			tester := &scripted{does: func(s Subject) Outcome {
				if c.has(h.versions[s.Commit]) {
					return simTarget
				}
				return simPass
			}}
			var tries []string
			a, err := Run(context.Background(), Config{New: c.new, Old: []string{c.old}, Releases: true, Progress: func(e Event) {
				if e.Stage == "step" && e.Record != nil {
					tries = append(tries, e.Commit)
				}
			}}, h, tester)
			if err != nil {
				t.Fatal(err)
			}
			if a.First == nil || a.First.Hash != c.want || a.Grade != Proven {
				t.Fatalf("found %v, %s %q", a.First, a.Grade, a.Why)
			}
			for _, k := range a.Checks {
				if k.Result != Pass {
					t.Errorf("a check of what can't be: %+v", k)
				}
			}
			if (a.Direction == Fix) != c.fix {
				t.Errorf("a %s", a.Direction)
			}
			r, err := h.Range(a.First.Hash, a.Direction)
			if err != nil || r.String() != c.rng || !strings.Contains(r.Note, c.note) || (c.note == "") != (r.Note == "") {
				t.Errorf("range %+v, %v", r, err)
			}
			if got := strings.Join(tries, " "); c.tries != "" && got != c.tries {
				t.Errorf("tried %s, want %s", got, c.tries)
			}
		})
	}
}

// Given a first release of a series that can't be tried, then others of the
// series are, and the answer leaves open what can't be known.
func TestReleasesThatDoNotBoot(t *testing.T) {
	h := releases(t, debianHas...)
	a, err := Run(context.Background(), Config{New: "6.18.15", Old: []string{"6.17.13"}}, h, &scripted{does: func(s Subject) Outcome {
		switch {
		case s.Commit == "6.18.5":
			return Outcome{Kind: KindBoot, Reason: "no output"}
		case strings.HasPrefix(s.Commit, "6.18"):
			return simTarget
		}
		return simPass
	}})
	if err != nil {
		t.Fatal(err)
	}
	if a.First != nil || len(a.Among) != 2 || a.Grade != Doubtful {
		t.Errorf("%v %v %s", a.First, a.Among, a.Grade)
	}
}

func TestReleasesErrors(t *testing.T) {
	for _, v := range []string{"", "6", "6.18.15.1", "v6.18", "6.18-rc0", "6.18.1-rc2", "newest", "6.18 ", "99999.1"} {
		if _, err := NewReleases([]Release{{v, ""}}); err == nil {
			t.Errorf("%q was taken", v)
		}
	}
	if _, err := NewReleases([]Release{{"6.18.1", ""}, {"6.18.1", ""}}); err == nil {
		t.Error("one release twice")
	}
	_, err := Run(context.Background(), Config{New: "6.12.3", Old: []string{"6.18.5"}}, releases(t, debianHas...), &scripted{does: func(Subject) Outcome { return simPass }})
	if err == nil || !strings.Contains(err.Error(), "older") {
		t.Error(err)
	}
}
