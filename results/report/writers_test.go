package report

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/text"
)

// written is the sample in a form.
func written(t *testing.T, f Format) []byte {
	t.Helper()
	r, files := looked(t)
	var b bytes.Buffer
	if err := Write(&b, f, r, Settings{Files: files, Sender: Sender{"Lab Bot <bot@example.org>"}, Origin: "lab"}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTextsForPeopleAreAsTheyWere(t *testing.T) {
	for _, f := range []Format{FormatMail, FormatMarkdown, FormatKTAP, FormatJUnit} {
		t.Run(string(f), func(t *testing.T) { compareFile(t, "testdata/sample."+string(f), written(t, f)) })
	}
}

func TestAReportOfNothingIsOneInEveryForm(t *testing.T) {
	for _, f := range Formats {
		var b bytes.Buffer
		if err := Write(&b, Format(f), Report{Title: "No runs"}, Settings{Origin: "lab"}); err != nil || b.Len() == 0 {
			t.Errorf("%s: %d bytes, %v", f, b.Len(), err)
		}
	}
}

func TestNoFormHoldsWhatATerminalActsUpon(t *testing.T) {
	for _, f := range Formats {
		for i, r := range string(written(t, Format(f))) {
			if r != '\n' && r != '\t' && !text.Printable(r) && r != 0xfffd {
				t.Errorf("%s has %q at byte %d", f, r, i)
				break
			}
		}
	}
}

func TestTheJSONFormFitsItsSchemaAndIsReadBack(t *testing.T) {
	src := written(t, FormatJSON)
	validate(t, Schema, src)
	got, err := Read(bytes.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := looked(t)
	if diff := cmp.Diff(want.filled(), got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	if _, err := Read(strings.NewReader(`{"version": 99}`)); err == nil || !strings.Contains(err.Error(), "99") {
		t.Errorf("a report of a later version is read: %v", err)
	}
}

func TestASubmissionFitsKCIDBsSchema(t *testing.T) {
	schema, err := os.ReadFile("testdata/kcidb-5.3.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	src := written(t, FormatKCIDB)
	validate(t, schema, src)
	var k kcidb
	if err := json.Unmarshal(src, &k); err != nil {
		t.Fatal(err)
	}
	// Every reference leads somewhere, every ID is one object's.
	have := map[string]bool{}
	add := func(id string) {
		if have[id] {
			t.Errorf("two objects have the ID %s", id)
		}
		have[id] = true
	}
	for _, c := range k.Checkouts {
		add(c.ID)
	}
	for _, b := range k.Builds {
		add(b.ID)
		if !have[b.Checkout] {
			t.Errorf("build %s is of no checkout", b.ID)
		}
	}
	status := map[string]int{}
	for _, x := range k.Tests {
		add(x.ID)
		status[x.Status]++
		if !have[x.Build] {
			t.Errorf("test %s is of no build", x.ID)
		}
	}
	for _, i := range k.Issues {
		add(i.ID)
	}
	for _, i := range k.Incidents {
		if !have[i.Issue] || !have[i.Test] {
			t.Errorf("incident %s is of no issue or test", i.ID)
		}
	}
	if status["FAIL"] != 10 || status["ERROR"] != 1 || len(k.Issues) != 2 {
		t.Errorf("tests are %v, and there are %d issues", status, len(k.Issues))
	}
}

func TestASubmissionIsPostedWithItsToken(t *testing.T) {
	var got, token string
	answer := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		src, _ := io.ReadAll(r.Body)
		got, token = string(src), r.Header.Get("Authorization")
		w.WriteHeader(answer)
		io.WriteString(w, "no such \x1b[31morigin")
	}))
	defer s.Close()
	if err := Submit(context.Background(), s.URL+"/submit", "secret", []byte(`{"version":{}}`)); err != nil || got != `{"version":{}}` || token != "Bearer secret" {
		t.Errorf("posted %q with %q: %v", got, token, err)
	}
	answer = http.StatusForbidden
	if err := Submit(context.Background(), s.URL, "secret", nil); err == nil || !strings.Contains(err.Error(), "403") || strings.Contains(err.Error(), "\x1b") || strings.Contains(err.Error(), "secret") {
		t.Errorf("refused: %v", err)
	}
	if err := Submit(context.Background(), "http://kcidb.example.org/", "secret", nil); err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("a token is sent unencrypted: %v", err)
	}
}

func TestAMailIsOneAndStaysBelow72Columns(t *testing.T) {
	src := written(t, FormatMail)
	m, err := mail.ReadMessage(bytes.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	to, err := m.Header.AddressList("To")
	if err != nil || len(to) != 1 || to[0].Address != "dm@example.org" {
		t.Errorf("it is to %v, %v", to, err)
	}
	cc, err := m.Header.AddressList("Cc")
	if err != nil || len(cc) != 2 {
		t.Errorf("copies are for %v, %v", cc, err)
	}
	introduced := 0
	for line := range strings.Lines(string(src)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#regzbot introduced: "):
			introduced++
		case strings.Contains(line, "#regzbot"):
			t.Errorf("a stranger gives the tracker a command: %q", line)
		case text.Columns(line) > 72 && !strings.HasPrefix(line, "    blockrig "): // what can't be broken
			t.Errorf("%d columns: %q", text.Columns(line), line)
		}
	}
	if introduced != 1 {
		t.Errorf("%d culprits are told to the tracker, want 1", introduced)
	}
	if !bytes.Contains(src, []byte("\nReported-by: Lab Bot <bot@example.org>\n")) {
		t.Error("it does not say who reports it")
	}
	if !bytes.Contains(src, []byte("............HHHHHHHH")) {
		t.Error("it has no row of marks")
	}
}

func TestMarkdownHoldsNoMarkupOfStrangers(t *testing.T) {
	src := string(written(t, FormatMarkdown))
	for _, bad := range []string{"<script", "<img", "://bugs", "`#"} {
		if strings.Contains(src, bad) {
			t.Errorf("it holds %q", bad)
		}
	}
	if got, want := md("a_b [x](https://e.example) @you <i> & | `c`"), `a\_b \[x\]\(https:&#47;/e.example\) &#64;you &lt;i&gt; &amp; \| \`+"`c\\`"; got != want {
		t.Errorf("%q becomes %q, want %q", "…", got, want)
	}
}

// A ktapResult is a line of a result.
type ktapResult struct {
	ok         bool
	number     int
	name, skip string
	subtests   []ktapResult
}

var (
	ktapVersion = regexp.MustCompile(`^KTAP version 1$`)
	ktapPlan    = regexp.MustCompile(`^1\.\.(\d+)$`)
	ktapLine    = regexp.MustCompile(`^(ok|not ok) (\d+)(?: (?:- )?([^#]*?))?(?: # (SKIP|TODO|XFAIL|TIMEOUT|ERROR)\b.*)?$`)
)

// parseKTAP reads KTAP by its specification: version, plan, numbered results,
// nested documents before the result that they are of.
func parseKTAP(lines *[]string, indent string) ([]ktapResult, error) {
	next := func() (string, bool) {
		if len(*lines) == 0 || !strings.HasPrefix((*lines)[0], indent) {
			return "", false
		}
		return strings.TrimPrefix((*lines)[0], indent), true
	}
	drop := func() { *lines = (*lines)[1:] }
	if l, ok := next(); !ok || !ktapVersion.MatchString(l) {
		return nil, fmt.Errorf("no version: %q", l)
	}
	drop()
	plan := -1
	var out, inner []ktapResult
	for {
		l, ok := next()
		if !ok {
			break
		}
		switch {
		case strings.HasPrefix(l, "  "):
			var err error
			if inner, err = parseKTAP(lines, indent+"    "); err != nil {
				return nil, err
			}
			continue
		case strings.HasPrefix(l, "# "):
		case ktapPlan.MatchString(l) && plan < 0:
			plan, _ = strconv.Atoi(l[3:])
		case ktapLine.MatchString(l):
			m := ktapLine.FindStringSubmatch(l)
			n, _ := strconv.Atoi(m[2])
			if n != len(out)+1 {
				return nil, fmt.Errorf("result %d comes after %d", n, len(out))
			}
			out = append(out, ktapResult{m[1] == "ok", n, m[3], m[4], inner})
			inner = nil
		default:
			return nil, fmt.Errorf("what is %q", l)
		}
		drop()
	}
	if plan != len(out) {
		return nil, fmt.Errorf("planned %d, are %d", plan, len(out))
	}
	return out, nil
}

func TestKTAPIsReadBackByItsSpecification(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(string(written(t, FormatKTAP)), "\n"), "\n")
	got, err := parseKTAP(&lines, "")
	if err == nil && len(lines) > 0 {
		err = errors.New("there is more after it")
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 || !got[0].ok || got[1].ok || got[2].ok || !got[3].ok {
		t.Errorf("kernels are %+v", got)
	}
	var notOK, expected int
	for _, k := range got {
		for _, c := range k.subtests {
			switch {
			case c.skip == "XFAIL":
				expected++
			case !c.ok:
				notOK++
			}
		}
	}
	if notOK != 10 || expected != 1 {
		t.Errorf("%d are not ok, and %d are known; want 10 and 1", notOK, expected)
	}
}

// surefireTime is the type of a time attribute there.
var surefireTime = regexp.MustCompile(`^(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]{0,3})?$`)

// surefire says which elements one may have, in order, and which attributes it
// must and may have (surefire-test-report-3.0.xsd). ! marks what must be there.
var surefire = map[string]struct{ children, attributes []string }{
	"testsuite": {
		[]string{"properties", "testcase"},
		[]string{"xsi", "noNamespaceSchemaLocation", "version", "name!", "time!", "tests!", "errors!", "skipped!", "failures!", "group"},
	},
	"properties":   {[]string{"property"}, nil},
	"property":     {nil, []string{"name!", "value!"}},
	"testcase":     {[]string{"failure", "rerunFailure", "flakyFailure", "skipped", "error", "rerunError", "flakyError", "system-out", "system-err"}, []string{"name!", "classname", "group", "time!"}},
	"failure":      {nil, []string{"message", "type!"}},
	"error":        {nil, []string{"message", "type!"}},
	"skipped":      {nil, []string{"message"}},
	"flakyFailure": {[]string{"stackTrace", "system-out", "system-err"}, []string{"message", "type!"}},
	"stackTrace":   {},
	"system-out":   {},
}

type element struct {
	XMLName  xml.Name
	Attr     []xml.Attr `xml:",any,attr"`
	Children []element  `xml:",any"`
}

func (e element) check(t *testing.T, count map[string]int) {
	t.Helper()
	count[e.XMLName.Local]++
	want, ok := surefire[e.XMLName.Local]
	if !ok {
		t.Errorf("there is no element %s", e.XMLName.Local)
		return
	}
	var have []string
	for _, a := range e.Attr {
		have = append(have, a.Name.Local)
		if !slices.Contains(want.attributes, a.Name.Local) && !slices.Contains(want.attributes, a.Name.Local+"!") {
			t.Errorf("%s has an attribute %s", e.XMLName.Local, a.Name.Local)
		}
		if a.Name.Local == "time" && !surefireTime.MatchString(a.Value) {
			t.Errorf("%s has the time %q", e.XMLName.Local, a.Value)
		}
	}
	for _, a := range want.attributes {
		if name, must := strings.CutSuffix(a, "!"); must && !slices.Contains(have, name) {
			t.Errorf("%s has no attribute %s", e.XMLName.Local, name)
		}
	}
	last := 0
	seen := map[string]int{}
	for _, c := range e.Children {
		name := c.XMLName.Local
		if seen[name]++; seen[name] > 1 && slices.Contains([]string{"skipped", "error", "system-out", "system-err"}, name) {
			t.Errorf("%s has more than one %s", e.XMLName.Local, name)
		}
		at := slices.Index(want.children, name)
		if at < last {
			t.Errorf("%s has %s, there or at all", e.XMLName.Local, c.XMLName.Local)
		}
		last = max(last, at)
		c.check(t, count)
	}
}

func TestJUnitIsSurefires(t *testing.T) {
	var e element
	if err := xml.Unmarshal(written(t, FormatJUnit), &e); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	e.check(t, count)
	if e.XMLName.Local != "testsuite" {
		t.Errorf("its root is %s", e.XMLName.Local)
	}
	said := map[string]string{}
	for _, a := range e.Attr {
		said[a.Name.Local] = a.Value
	}
	for attribute, of := range map[string]string{"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"} {
		if said[attribute] != strconv.Itoa(count[of]) {
			t.Errorf("it says %s=%s, and has %d %s", attribute, said[attribute], count[of], of)
		}
	}
	if count["testcase"] != 50 || count["failure"] != 9 || count["error"] != 1 || count["skipped"] != 1 {
		t.Errorf("it has %v", count)
	}
}

func TestJUnitCallsAnOldRateFlakyAndANewOneAFailure(t *testing.T) {
	r, _ := looked(t)
	c := r.Cases[3]
	cell := c.Cells[2]
	for kind, flaky := range map[Kind]int{RateChanged: 0, StillFailing: 1} {
		r.Changes[1].Kind = kind
		got := r.junitCase(c, cell, r.known(), r.changed())
		if len(got.Flaky) != flaky || (got.Failure == nil) != (flaky > 0) {
			t.Errorf("%s: %d flaky, failure %v", kind, len(got.Flaky), got.Failure)
		}
		src, err := xml.Marshal(got)
		var e element
		if err := errors.Join(err, xml.Unmarshal(src, &e)); err != nil {
			t.Fatal(err)
		}
		e.XMLName.Local = "testcase"
		e.check(t, map[string]int{})
	}
}
