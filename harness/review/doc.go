// Package review checks a series of patches for b4 (b4.docs.kernel.org, "CI
// check integration"): from what a mail and b4 say it finds the patches and
// their base, from the paths that they touch the scenarios that are concerned,
// and of what came of the trials it makes the results that b4 shows.
//
//	series    the mail, b4's record of the series, the base
//	concern   paths, by the tree's own Makefiles, to options, to cases
//	check     trials within a budget, and what is said of them
package review
