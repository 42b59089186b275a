// Package store is an index of what runs recorded: one SQLite database beside
// the run folders, for questions that are about more than one run. The run
// folders are the truth (package results); all that is in the store can be made
// from them again, and is, whenever it is missing or can't be read.
//
// # Who opens it
//
// Open it with results.OpenStore, which first brings it up to date with the
// folders; it then has every trial that a command has reported as recorded,
// whoever recorded it and however that command ended. Several processes may
// read and write at once. All methods may be called by several goroutines.
//
// # What is in it
//
//   - [Run]: what one command did, with the counts of its trials.
//   - [Trial]: one case on one kernel, once. Its Name, RUN/NUMBER, is what
//     commands take ("results show", "results bundle", "replay"); NUMBER is the
//     trial's place in what the run was asked for, from 1, and never changes.
//   - [Finding]: what the console of a trial showed, in the order of its lines.
//   - [Kernel]: Ref is what the user wrote and may mean another kernel tomorrow;
//     Exact gives this very one again; Commit is that of a git: kernel.
//   - [Build]: how the git: kernels of a run were built.
//   - [Bisection]: a search for the commit or release that changed an outcome.
//
// # Questions
//
// A [Filter] says which trials are meant; its zero value is all. [Store.Trials]
// gives them one by one, [Store.Histories] counts them: a [History] for each
// case, with a [Point] for each kernel, night or run ([By]) in the order of
// time, and in each point a [Tally]:
//
//	histories, err := s.Histories(ctx, store.Filter{Scenario: "md-raid1-dio-read"}, store.ByNight)
//	for _, h := range histories {
//		for _, p := range h.Points {
//			failures, trials := p.Failures, p.Judged() // errors are in neither
//			interval := stats.ByBoot(p.Boots)          // trials of one boot are not independent
//		}
//	}
//
// [Store.Select] turns a word of the user's (a run, a night, a kernel, a commit)
// into a filter. A night is the UTC date on which a run began, "2026-11-25":
// all trials of a run are of one night.
//
// What a trial's folder holds (console, events) is not here: it lies in
// ROOT/RUN/Trial.Dir, and results reads it.
//
// Texts come from kernels and users: escape them where they are shown.
package store
