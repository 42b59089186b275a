// Package progress shows on a terminal what is being done: a line for each machine
// and one for all trials, or one for what is done before there are any. On
// anything else it shows nothing.
package progress
