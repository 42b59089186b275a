// Package stats says how far a rate of failures is known: from trials that
// share boots, whose memory layout and random state they share too, so that
// they are not independent.
//
// [ByBoot] and [BootsToTrust] answer for a set of trials that is complete. A
// [Grid] weighs hypotheses while trials come in, for a search that decides
// after each. Both take the trials of a boot to be beta-binomial.
//
// [FindChange] and [Track] say how likely the rate of a case changed in its
// history, and when: what is "new" is a change with a probability, not what
// differs from last night.
package stats
