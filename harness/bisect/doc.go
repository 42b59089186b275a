// Package bisect decides which kernel to try next, and what a set of trials
// means. It boots nothing itself: a [Tester] does trials, a [History] knows
// which commit comes next, and the search in between is the same for git, for
// released versions and for a simulated history.
//
// # What a search does
//
//	ends     the bad end is tried until its failures are known (the target:
//	         verdict, phase and step, and the titles that come with them) and
//	         their rate is measured over several boots; the good ends, and the
//	         merge bases where a good end is no ancestor, must pass
//	steps    the history names a commit; it is tried until the odds that its
//	         mark is right reach the step's share of the confidence asked for
//	settle   every mark is looked at again with what was learnt since; one
//	         that is no longer trusted gets more trials
//	checks   parent and culprit once more, each from fresh boots; if they
//	         contradict, the least certain marks are tried again and the
//	         history is replayed from the first one that was wrong
//	answer   the commit, each check, and whether it is proven, likely or
//	         doubtful
//
// # What a trial means
//
// A trial that shows the target is a hit. A trial that passes is a pass. One
// that fails in another way is neither: it is not the bug that is looked for,
// so the commit is tried again and, if it keeps failing that way, skipped and
// listed as another bug. When several commits fail in one other way at the
// same step, the symptom may have grown on the way: then the search finds both
// changes, the one where it began and the one where it became the target.
//
// # Rates
//
// The number of hits in a boot is beta-binomial: each boot has a rate of its
// own, drawn from a distribution with a mean and a correlation within boots.
// Neither is known. Both are carried as weights on a grid, for the failing
// commits and, separately, for the passing ones (whose failures are false),
// and learnt from the ends and from every commit marked since. A mark's
// probability follows from the two predictions for the commit's trials.
//
// # State
//
// A [State] is a folder. Every trial is a line in it before the next begins.
// The search is a function of its trials alone, so resuming after a crash is
// running it again with the recorded trials answered from the folder.
package bisect
