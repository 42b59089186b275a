package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// JUnit writes the report as Maven Surefire does (surefire-test-report-3.0.xsd):
// a testcase for each case on each kernel, which is its class name. A case that
// failed in some trials and passed in others is a failure where that is new;
// where it is not, each way in which it failed is a flakyFailure, which CI
// systems show and do not stop at.
func JUnit(w io.Writer, r Report) error {
	suite := junitSuite{Name: "blockrig", XSI: "http://www.w3.org/2001/XMLSchema-instance", Schema: "https://maven.apache.org/surefire/maven-surefire-plugin/xsd/surefire-test-report-3.0.xsd"}
	suite.Properties = []junitProperty{{"title", xmlText(r.Title)}, {"headline", xmlText(r.Headline())}, {"tool", xmlText(r.Tool)}}
	known, changed := r.known(), r.changed()
	for _, c := range r.Cases {
		for _, cell := range c.Cells {
			t := r.junitCase(c, cell, known, changed)
			suite.Cases = append(suite.Cases, t)
			suite.count(t)
			suite.seconds += float64(cell.MS) * float64(cell.Trials) / 1000
		}
	}
	suite.Time = seconds(suite.seconds)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(suite); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

type junitSuite struct {
	XMLName    xml.Name        `xml:"testsuite"`
	XSI        string          `xml:"xmlns:xsi,attr"`
	Schema     string          `xml:"xsi:noNamespaceSchemaLocation,attr"`
	Name       string          `xml:"name,attr"`
	Time       string          `xml:"time,attr"`
	Tests      int             `xml:"tests,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Failures   int             `xml:"failures,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`

	seconds float64
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Name      string        `xml:"name,attr"`
	Class     string        `xml:"classname,attr"`
	Time      string        `xml:"time,attr"`
	Failure   *junitResult  `xml:"failure"`
	Flaky     []junitFlaky  `xml:"flakyFailure"`
	Skipped   *junitSkipped `xml:"skipped"`
	Error     *junitResult  `xml:"error"`
	SystemOut string        `xml:"system-out,omitempty"`
}

type junitResult struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

type junitSkipped struct {
	Message string `xml:"message,attr"`
}

type junitFlaky struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Trace   string `xml:"stackTrace"`
}

func (s *junitSuite) count(t junitCase) {
	s.Tests++
	switch {
	case t.Failure != nil:
		s.Failures++
	case t.Error != nil:
		s.Errors++
	case t.Skipped != nil:
		s.Skipped++
	}
}

func (r Report) junitCase(c Case, cell Cell, known, changed map[where]bool) junitCase {
	k := r.kernel(cell.Kernel)
	at := where{cell.Kernel, c.Scenario, c.Name}
	out := junitCase{Name: xmlText(c.Title()), Class: xmlText(k.Name()), Time: seconds(float64(cell.MS) / 1000)}
	kind := string(cell.Verdict)
	switch {
	case cell.Failures > 0 && known[at]:
		out.Skipped = &junitSkipped{xmlText("known: " + kind + ", " + r.reason(cell))}
	case cell.Mixed() && !changed[at]:
		for _, t := range r.Trials {
			if t.Kernel == cell.Kernel && t.Scenario == c.Scenario && t.Case == c.Name && t.Verdict.Failure() {
				out.Flaky = append(out.Flaky, junitFlaky{xmlText(t.Reason), string(t.Verdict), xmlText(t.shown())})
			}
		}
		if len(out.Flaky) == 0 {
			out.Flaky = []junitFlaky{{"failed in " + cell.in(), kind, ""}}
		}
		out.SystemOut = "failed in " + cell.in()
	case cell.Failures > 0:
		out.Failure = &junitResult{Message: xmlText(r.reason(cell)), Type: kind, Text: "failed in " + cell.in() + "\n"}
		if t := r.trial(cell.Trial); t != nil {
			out.Failure.Text += xmlText(t.shown())
		}
	case cell.Judged() == 0:
		out.Error = &junitResult{Message: xmlText(r.reason(cell)), Type: string(scenarios.Error)}
	}
	return out
}

// changed are the cases whose failure is new.
func (r Report) changed() map[where]bool {
	out := map[where]bool{}
	for _, c := range r.Changes {
		switch c.Kind {
		case NewFailure, AnotherFailure, RateChanged:
			out[where{c.After.Kernel, c.Scenario, c.Case}] = true
		}
	}
	return out
}

// shown is what the console showed, with traces, and how to see it again.
func (t Trial) shown() string {
	var b strings.Builder
	for _, f := range t.Findings {
		fmt.Fprintf(&b, "%s: %s", f.Kind, f.Title)
		if f.Place != "" {
			fmt.Fprintf(&b, " (%s)", f.Place)
		}
		fmt.Fprintf(&b, ", line %d\n", f.Line)
		for _, frame := range f.Trace {
			fmt.Fprintf(&b, "    %s\n", frame)
		}
	}
	for _, c := range t.Commands {
		fmt.Fprintf(&b, "%s: %s\n", c.Does, c.Line)
	}
	return b.String()
}

func seconds(s float64) string { return fmt.Sprintf("%.3f", s) }

// xmlText is a text that XML 1.0 can hold, and that a terminal only shows.
func xmlText(s string) string { return text.EscapeLines(s) }
