package scenarios

import (
	"slices"
	"strings"
)

// AnswersAlone says whether a layer may answer a read or a write without asking
// what it lies on: where nothing was ever written it has zeroes, it drops what is
// written, or it still has in memory what it read.
func (l Layer) AnswersAlone(write bool) bool {
	switch {
	case l.MD != nil:
		return !write && parity(l.MD.Level) // the stripe cache
	case l.LVM != nil && write:
		return l.LVM.Type == "vdo" // blocks of zeroes are no more than a map's entry
	case l.LVM != nil:
		return parity(l.LVM.Type) || l.LVM.Type == "thin" || l.LVM.Type == "vdo" || l.LVM.Integrity // its journal, in memory
	case l.Crypt != nil:
		return !write && l.Crypt.Integrity != ""
	case l.DM != nil && write:
		return l.DM.Has("zero", "flakey", "vdo")
	case l.DM != nil:
		return l.DM.Has("zero", "thin", "vdo", "zoned", "ebs", "integrity") || l.DM.parity()
	}
	return false
}

// parity says whether a target of the table is such a RAID: raid5_ls, raid6_zr.
func (t DM) parity() bool {
	return slices.ContainsFunc(t.Table, func(line string) bool {
		w := strings.Fields(line)
		if len(w) < 4 || w[2] != "raid" {
			return false
		}
		level, _, _ := strings.Cut(w[3], "_")
		return parity(level)
	})
}

// parity says whether a RAID level is one of md's raid456.
func parity(level string) bool { return level == "raid4" || level == "raid5" || level == "raid6" }
