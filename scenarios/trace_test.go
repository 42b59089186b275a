package scenarios

import "testing"

func TestWhoFailedFirstIsSaidInALine(t *testing.T) {
	sda := Answer{Layer: "a", Device: "sda", Errno: "EINVAL", Sector: 18824}
	leg := Answer{Layer: "main", Device: "main-lvol0_mimage_0", Errno: "EINVAL", Sector: 16776}
	disk := Holding{Layer: "b", Device: "sdb", Sector: 64}
	md := Holding{Layer: "r", Device: "md0", Sector: 0, Holds: "stale"}
	at := func(h Holding, holds string) Holding {
		h.Holds = holds
		return h
	}
	for want, trace := range map[string]Trace{
		"a (sda): EINVAL at sector 18824, then main (main-lvol0_mimage_0)":                                          {Asked: 2, Failed: []Answer{sda, leg}},
		"a (sda): EINVAL at sector 18824, then sdx, then sdx, then sdx, then sdx, and 1 more":                       {Asked: 2, Failed: []Answer{sda, {Device: "sdx"}, {Device: "sdx"}, {Device: "sdx"}, {Device: "sdx"}, {Device: "sdx"}}},
		"b (sdb): stale at sector 64, then r (md0)":                                                                 {Asked: 2, Wrong: []Holding{md, at(disk, "stale")}},
		"r (md0): stale at sector 0, where what b (sdb) has at sector 64 is right":                                  {Asked: 2, Wrong: []Holding{md, at(disk, HoldsRight)}},
		"r (md0): stale at sector 0, where what b (sdb) has at sector 64 can't be compared":                         {Asked: 2, Wrong: []Holding{md, disk}},
		"nobody: all devices have the right bytes now":                                                              {Asked: 2, Wrong: []Holding{at(md, HoldsRight), at(disk, HoldsRight)}},
		"nobody: no device was asked":                                                                               {},
		"nobody: no device answered with an error":                                                                  {Asked: 1},
		"not known: no device answered with an error that was seen, and this kernel does not show what was refused": {Unseen: []string{"what was refused"}},
		"not known: this kernel has no tracing":                                                                     {Error: "this kernel has no tracing"},
	} {
		if got := trace.First(); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}
