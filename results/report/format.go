package report

import (
	"fmt"
	"io"
	"io/fs"
)

// A Format is a form in which a report is written.
type Format string

// Formats.
const (
	FormatHTML     Format = "html"
	FormatMarkdown Format = "markdown"
	FormatMail     Format = "mail"
	FormatJSON     Format = "json"
	FormatJUnit    Format = "junit"
	FormatKTAP     Format = "ktap"
	FormatKCIDB    Format = "kcidb"
)

// Formats are all of them, by name.
var Formats = []string{
	string(FormatHTML), string(FormatMarkdown), string(FormatMail), string(FormatJSON), string(FormatJUnit), string(FormatKTAP), string(FormatKCIDB),
}

// Settings are what a form needs besides the report.
type Settings struct {
	Files  fs.FS  // the results folder, of consoles; nil: without
	Sender Sender // of a mail
	Origin string // of a submission: the CI system
}

// Write writes a report in a form.
func Write(w io.Writer, f Format, r Report, s Settings) error {
	switch f {
	case FormatHTML:
		return HTML(w, r, s.Files)
	case FormatMarkdown:
		return Markdown(w, r)
	case FormatMail:
		return Mail(w, r, s.Sender)
	case FormatJSON:
		return JSON(w, r)
	case FormatJUnit:
		return JUnit(w, r)
	case FormatKTAP:
		return KTAP(w, r)
	case FormatKCIDB:
		return KCIDB(w, r, s.Origin)
	}
	return fmt.Errorf("write a report: there is no form %q", f)
}
