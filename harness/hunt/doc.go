// Package hunt looks for bugs that nobody has reported: the same I/O must mean
// the same on every storage stack.
//
// A hunt builds several stacks in one machine, saves it, and lets the guest do
// short programs of I/O on all of them. Where the answer of a stack is none that
// is right, where data are wrong, where a program hangs, or leaves a leg or the
// kernel other than it was, there is a suspect. What the plain disk does as well
// is held against this tool first. A suspect becomes a finding once ordinary
// trials show it from power-on: it is then made as small as it goes, classed,
// told apart from those before, and written down as a scenario.
package hunt
