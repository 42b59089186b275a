// Package report tells what runs showed, for people and for other programs: a
// page, a mail, and the forms that CI systems and trackers read. A [Report] is
// a plain value; every writer takes one.
//
//	HTML      one page that needs nothing else
//	Markdown  for a wiki, a merge request, a job's summary
//	Mail      plain text as the kernel's lists want it
//	JUnit     XML in Maven Surefire's dialect
//	KTAP      version 1
//	KCIDB     the kernel CI database's submissions, I/O schema 5.3
//	JSON      the Report itself; report.schema.json is its JSON schema
//
// [Load] makes a Report of the store and the run folders, and [Server] shows
// the page while runs go on.
//
// # The JSON form
//
// Times are RFC 3339 in UTC, durations milliseconds, rates from 0 to 1. Fields
// are added, never renamed; "version" changes when one means something else.
// "kernel" in cells, points, changes and trials is a place in "kernels", from
// 0. A trial's "name" is RUN/NUMBER, as "blockrig results show RUN NUMBER"
// takes it.
//
// # What is not trusted
//
// All texts of a Report may come from a guest, a package or a repository.
// Each writer escapes them for its form: nothing in them is markup, a command
// or a header.
package report
