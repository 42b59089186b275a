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
// [ReadAll] reads a log from its beginning to its end, in any form in which it
// is handed over: packed with gzip, xz, zstd or bzip2, in UTF-16, as JSON
// (dmesg --json, journalctl -o json and json-pretty, what clouds export), in
// the journal's export and verbose formats, and as an attachment of a mail.
//
// Both take, without being told which: a raw serial console, dmesg in all its
// time formats, /dev/kmsg and netconsole, the journal, syslog of any dialect
// and language, Android's logcat and the stamps of phones, and mails, Markdown
// and web pages that quote any of them. A prefix that is none of these but
// stands on most lines is learned from the log itself.
// First lines that a mail program, a pager or a line break in a task's name
// broke are put together.
//
// # Findings
//
// A [Finding] has a kind, a title in the field's convention and a place. For
// I/O errors the place is the device ("sdb"), so that titles stay the same
// when the disks' names change from boot to boot. A complaint of storage that
// no row of the tables knows is a finding of the kind KindUnrecognized. A title names the guilty
// function: the first that is not in the table of functions to look through,
// as syzbot names it.
// Repeats are counted, with those that the kernel's rate limit left out.
//
// A finding is a Consequence when an earlier one of the same boot explains
// it: a panic or a hang after an oops, an oops of a kernel that has died before, I/O
// errors within a minute after a warning or an oops. A verdict comes from the
// others.
//
// Findings of a boot before its first line of blockrig's guest are the boot's
// Baseline. A log without such a line has no baseline.
//
// # Tables
//
// What is found stands in tables, one row a fact: markers (the first line of
// each report, its kind and title), sites (places in the source whose reports
// are of a kind of their own), harmlessLines (what would match but says nothing
// wrong), speakers (how the messages of storage begin) and lookThrough
// (functions that are never to blame).
package console
