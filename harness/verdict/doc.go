// Package verdict judges a trial: from what the console shows and what the
// guest and the host report, to one verdict, the others that applied, and a
// signature by which two failures are told to be the same.
//
// It is pure: the same findings and report give the same judgement, today
// from the machine, later from the saved console log alone (see Trailer).
package verdict
