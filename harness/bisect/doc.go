// Package bisect decides which kernel to try next, and what a set of trials
// means. It boots nothing itself: a [Tester] does trials, a [History] knows
// which commit comes next, and the search in between is the same for git, for
// released versions and for a simulated history.
//
// # What a search does
//
//	ends     the bad end is tried until it is known what it shows, and how often,
//	         over several boots. What a good end, or a merge base where a good
//	         end is no ancestor, shows too is no question; each other thing is
//	steps    the history names a commit; it is tried until it is fairly sure
//	         whether it shows what is looked for: the search ends beside a mark
//	         that is wrong, and the checks find that out
//	checks   parent and culprit once more, each from fresh boots, and until both
//	         are far more certain than a step: of the other marks, what matters
//	         follows from these two. If they contradict, the history is replayed
//	         from the first mark that was wrong
//	proofs   the bad end without the commit's change, or what else shows that it
//	         is this change that the bad end shows. After one that the history
//	         says was taken back, the search goes on where that was done
//	answer   the commit, each check, and whether it is proven, likely or
//	         doubtful
//
// # Several builders
//
// With K builders a step is a round: of the commits that the marks leave, it
// tries the K that together tell most, so that each of the K+1 or more answers
// that they can give is as likely, and keeps off what could not be tried. They
// are judged at once, each by what was known before the round. Marks that
// contradict each other are tried until one is as certain as an end.
//
// # What a failing end asks
//
// Each thing that the failing end shows is a question of its own (EIO or
// another result, wrong data, a leg that failed, a hang, each WARN and BUG by
// its title), answered by the same trials: a lens says of each trial whether it
// shows that thing. Only what the first question left open is tried for the
// next ones: whether the commit found is theirs too, and if not, a search of
// their own. Two sets of titles need care. Some come with a hang or an error,
// now this one, now that: for those it is enough to look at one commit. And
// where nothing shows every time, titles of which each trial shows exactly one
// are one question.
//
// # What a trial means
//
// A trial that shows the target is a hit. A trial that passes is a pass, and so
// is one that shows only what other questions ask for, unless that hides the
// target: a step has one result, and none if it hangs. One that shows something
// else is neither: it may be another form of the target, so the commit is tried
// again and, if it keeps failing that way, skipped and listed as another bug.
// When several commits fail in one other way at the same step, the symptom may
// have grown on the way: then the search finds both changes, the one where it
// began and the one where it became the target.
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
