// Package protocol is what guest and host say to each other over ttyS1: one
// JSON object a line, both ways, and the lines that they leave in the console
// log. It imports no other room but the vocabulary, so that the guest stays
// small and a host can replay a conversation from a file.
//
// The host numbers its trials. Every message of the guest carries the number
// of the trial it belongs to (0 while it builds the stack), so that nothing
// left in a FIFO by an earlier trial can be taken for an answer.
//
// A conversation:
//
//	guest  hello                      PID 1 is up
//	host   setup                      modules, disks, stack
//	guest  phase infra, disks, stack  as each begins
//	guest  ready                      the stack is proven, the child is waiting
//	host   step                       what to do, trial number, fresh entropy
//	guest  started, beat, beat, …
//	guest  result                     the step returned, or could not be killed
//
// At any time after hello the guest sends beat at least every BeatEvery of
// guest time, and fail when something it needs did not work.
package protocol
