// Package text makes text fit for a terminal and for people.
//
// What a guest, a log, a repository or a package says may hold anything: codes
// that a terminal obeys, marks that turn the direction of text, bytes that are
// no UTF-8, line breaks that forge a line of ours. Escape, and what is made of
// it, is the only place that decides what a terminal may get:
//
//	Escape       one line, nothing lost
//	EscapeLines  the same, with its newlines and tabs
//	OneLine      one line; newlines and runs of spaces become one space
//	Excerpt      the beginning of some bytes as one line
//	JSONLine     a value as one line of JSON
//
// Table lays out columns, Wrap and Fold break lines, Cut shortens one: all of
// them count the columns that a terminal needs, not bytes. Near finds the name
// that was meant.
//
// The package imports no other of blockrig's.
package text
