// Package nightly does a night's work: it finds what is new, tries what is
// due, and says what changed, how sure that is, and since when.
//
//	config    what every night looks at
//	stream    which kernels the patterns of a config stand for tonight
//	plan      what is due, in which order, and what it costs
//	night     the record of a night, from which it is resumed
//	judge     what is new, by the history of each case
//	work      a night from its plan to its report
//	backports which kernels lack which fix
//	report    what a person reads in the morning
//
// It reaches kernels and machines through an [Executor] alone.
//
// # What is new
//
// A stream is what a pattern of the config stands for from night to night. A
// failure (phase, step and verdict) of a case in a stream has a history of
// nights; it is new when its rate surely rose (see stats.FindChange). What may be
// new is looked at again, with trials from machines saved anew and from power-on,
// until that is certain or unlikely, or there is nothing more to learn. What
// was said once is not said again: nights remember it, and only what comes
// after counts. What was there when a stream was looked at first is no news.
//
// # Files
//
// ROOT/nightly/NAME/NNNNNN.json is a [Night], written whole each time that
// something was done; all that later nights know comes from these. Trials are
// recorded as ordinary runs, bisections among the others.
package nightly
