package scenarios

// ForgetsOnDiscard says whether a discard of a layer may bring back what stood
// there at any time before. A bcache in write-back mode drops what its cache alone
// had, and hands the discard on to a backing device that need not heed it, with
// whatever that held (cached_dev_write and bch_data_invalidate in
// drivers/md/bcache/request.c).
func (l Layer) ForgetsOnDiscard() bool { return l.Bcache != nil && l.Bcache.Mode == "writeback" }

// ForgetsOnDiscard is that of a layer or of one that it lies on.
func (s Setup) ForgetsOnDiscard(name string) bool { return s.Any(name, Layer.ForgetsOnDiscard) }
