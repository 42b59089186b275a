package layer

import (
	"strings"
	"testing"
)

// Given arrays as sysfs shows them, when their legs are looked at, then the
// array is in sync as soon as each place has a member that is, whatever devices
// it was made of.
func TestLegsOfAnArray(t *testing.T) {
	array := func(action string, degraded, missing, spares int, asked string, members ...string) mdArray {
		a := mdArray{asked: strings.Fields(asked), action: action, degraded: degraded, missing: missing, spares: spares}
		for _, m := range members {
			f := strings.Fields(m)
			a.members = append(a.members, mdMember{f[0], strings.Split(f[1], ","), f[2]})
		}
		return a
	}
	for name, tt := range map[string]struct {
		array  mdArray
		inSync bool
		bad    string // legs that are neither well nor out
	}{
		"all well":                  {array("idle", 0, 0, 0, "a b", "a in_sync 0", "b in_sync 1"), true, ""},
		"first resync":              {array("resync", 0, 0, 0, "a b", "a in_sync 0", "b in_sync 1"), false, ""},
		"one failed":                {array("idle", 1, 0, 0, "a b", "a in_sync 0", "b faulty none"), false, "b"},
		"one removed":               {array("idle", 1, 0, 0, "a b", "a in_sync 0"), false, "b"},
		"one is rebuilt":            {array("recover", 1, 0, 0, "a b", "a in_sync 0", "b spare 1"), false, "b"},
		"added, not yet rebuilt":    {array("idle", 1, 0, 0, "a b", "a in_sync 0", "b spare none"), false, "b"},
		"replacing":                 {array("recover", 0, 0, 0, "a b c", "a in_sync,want_replacement 0", "b in_sync 1", "c spare,replacement 0"), false, "c"},
		"about to replace":          {array("idle", 0, 0, 0, "a b c", "a in_sync,want_replacement 0", "b in_sync 1", "c spare none"), false, ""},
		"replaced":                  {array("idle", 0, 0, 0, "a b c", "a faulty none", "b in_sync 1", "c in_sync 0"), true, ""},
		"replaced and removed":      {array("idle", 0, 0, 0, "a b c", "b in_sync 1", "c in_sync 0"), true, ""},
		"replaced, and a spare now": {array("idle", 0, 0, 0, "a b c", "a spare none", "b in_sync 1", "c in_sync 0"), true, ""},
		"a spare took over":         {array("idle", 0, 0, 1, "a b c", "a in_sync 0", "b faulty none", "c in_sync 1"), true, ""},
		"a spare waits":             {array("idle", 0, 0, 1, "a b c", "a in_sync 0", "b in_sync 1", "c spare none"), true, ""},
		"begun degraded":            {array("idle", 1, 1, 0, "a", "a in_sync 0"), true, ""},
		"what was missing is here":  {array("idle", 0, 0, 0, "a b", "a in_sync 0", "b in_sync 1"), true, ""},
		"lost after it was filled":  {array("idle", 1, 0, 0, "a b", "a in_sync 0", "b faulty 1"), false, "b"},
		"with a journal":            {array("idle", 0, 0, 0, "a b j", "a in_sync 0", "b in_sync 1", "j journal none"), true, ""},
	} {
		legs, inSync := tt.array.legs()
		var bad []string
		for _, l := range legs {
			if !l.OK && !l.Out {
				bad = append(bad, l.Name)
			}
		}
		if got := strings.Join(bad, " "); got != tt.bad || inSync != tt.inSync {
			t.Errorf("%s: in sync %t, bad %q; want %t, %q", name, inSync, got, tt.inSync, tt.bad)
		}
	}
}
