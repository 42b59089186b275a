// Package console reads kernel logs and finds what went wrong in them.
//
// # Reading
//
// A [Scanner] takes a log in pieces of any size while it is being written,
// with constant memory, and calls back:
//
//   - [OnSign] at the first line of a report or of a kind of I/O error: all
//     that a host needs that wants to act at once;
//   - [OnMark] for what blockrig's own guest and host say in the log;
//   - [OnFinding] when a report is whole.
//
// [ReadAll] reads a log from its beginning to its end, packed or not. Both
// take, without being told which: a raw serial console, dmesg in all its
// formats, the journal, syslog, and a mail that quotes any of them.
//
// # Findings
//
// A [Finding] has a kind, a title in the field's convention and a place. For
// I/O errors the place is the device ("sdb"), so that titles stay the same
// when the disks' names change from boot to boot. A title names the guilty
// function: the first that is not in the table of functions to look through.
// Repeats are counted, with those that the kernel's rate limit left out.
//
// A finding is a Consequence when an earlier one of the same boot explains
// it: a panic after an oops, an oops of a kernel that has died before, I/O
// errors within a minute after a warning or an oops. A verdict comes from the
// others.
//
// Findings of a boot before its first line of blockrig's guest are the boot's
// Baseline. A log without such a line has no baseline.
//
// # Tables
//
// What is found stands in tables, one row a fact: markers (the first line of
// each report, its kind and title), harmlessLines (what would match but says
// nothing wrong) and lookThrough (functions that are never to blame).
package console
