package report

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/gzip"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

func unpack(t *testing.T, s string) []byte {
	t.Helper()
	zip, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(s)))
	if err != nil {
		t.Fatal(err)
	}
	src, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestAPageHoldsNothingOfStrangersThatIsMarkup(t *testing.T) {
	src := written(t, FormatHTML)
	for _, bad := range []string{"owned", "onerror", "http://", "https://", " src=", "\u202e"} {
		if bytes.Contains(bytes.ReplaceAll(src, []byte("http://www.w3.org/2000/svg"), nil), []byte(bad)) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if n := bytes.Count(src, []byte("<script")); n != 2+len(sample().Trials) {
		t.Errorf("it has %d scripts, want the data, the program and a console for each trial", n)
	}
	if !bytes.Contains(src, []byte("default-src &#39;none&#39;; script-src &#39;sha256-")) {
		t.Error("it has no policy")
	}
}

func TestTheDataOfAPageAreTheReport(t *testing.T) {
	src := written(t, FormatHTML)
	m := regexp.MustCompile(`id="data">([^<]+)<`).FindSubmatch(src)
	if m == nil {
		t.Fatal("it has no data")
	}
	var got struct {
		Cases []struct {
			History []int `json:"history"`
		} `json:"cases"`
		Trials []struct {
			Name    string        `json:"name"`
			Console *consoleParts `json:"console"`
		} `json:"trials"`
	}
	if err := json.Unmarshal(unpack(t, string(m[1])), &got); err != nil {
		t.Fatal(err)
	}
	want, _ := looked(t)
	for i, c := range want.Cases {
		if len(got.Cases[i].History) != 9*len(c.History) {
			t.Errorf("%s has %d numbers for %d points", c.Title(), len(got.Cases[i].History), len(c.History))
		}
	}
	if len(got.Trials) != len(want.Trials) || got.Trials[0].Console == nil || got.Trials[0].Console.Lines != 218 {
		t.Errorf("trials are %+v", got.Trials)
	}
}

func TestAConsoleIsShownWithoutWhatATerminalActsUpon(t *testing.T) {
	r, files := looked(t)
	c, err := readConsole(files, r.Trials[2])
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(c.text, "\x1b\x00\u202e") || !strings.Contains(c.text, `\u001b[31m`) || c.Lines != 4 {
		t.Errorf("%d lines: %q", c.Lines, c.text)
	}
}

func TestAroundFindingsTheirLinesKeepTheirNumbers(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "line %d\n", i+1)
	}
	c := consoleText{consoleParts{1000, [][2]int{{1, 1000}}}, b.String()}
	got := c.around([]Finding{{Line: 3}, {Line: 500, LastLine: 510}, {Line: 580}})
	want := [][2]int{{1, 63}, {440, 201}}
	if fmt.Sprint(got.Parts) != fmt.Sprint(want) || got.Lines != 1000 {
		t.Errorf("parts are %v of %d lines, want %v of 1000", got.Parts, got.Lines, want)
	}
	if lines := strings.Split(got.text, "\n"); lines[62] != "line 63" || lines[63] != "line 440" || len(lines) != 63+201+1 {
		t.Errorf("line 63 is %q, the next %q, of %d", lines[62], lines[63], len(lines))
	}
}

func TestFindingsGetTheirTracesAndTheirPlaceInTime(t *testing.T) {
	r, _ := looked(t)
	of := r.Trials[0]
	if f := of.Findings[1]; len(f.Trace) == 0 || f.LastLine <= f.Line {
		t.Errorf("the finding is %+v", f)
	}
	var kernel []string
	for _, e := range of.Events {
		if e.From == "kernel" {
			kernel = append(kernel, fmt.Sprintf("%d %s", e.MS, e.What))
		}
	}
	want := []string{"280 dm-mirror: Mirror read failed", "282 BUG: unable to handle kernel paging request in bio_add_page"}
	if fmt.Sprint(kernel) != fmt.Sprint(want) {
		t.Errorf("the kernel said %q, want %q", kernel, want)
	}
	if what := of.Events[0].What; !strings.HasPrefix(what, "step: pread, ") || strings.Contains(what, "trial") {
		t.Errorf("the first event is %q", what)
	}
}

// large is a report of 1,000 cases in 100 nights, with 400 trials and consoles
// of which the first is of 100,000 lines.
func large() (Report, fs.FS) {
	r := sample()
	r.Cases, r.Changes, r.Trials = nil, nil, nil
	files := fstest.MapFS{}
	for n := range 1000 {
		c := Case{Scenario: fmt.Sprintf("scenario-%02d", n/20), Name: fmt.Sprintf("length=%d", 512*n)}
		for k := range r.Kernels {
			cell := Cell{Kernel: k, Tally: tally(20, n*k%7, scenarios.Verdicts[n%7], int64(500+n))}
			if len(r.Trials) < mostTold {
				cell.Trial = fmt.Sprintf("20261126T020000.000Z-bbbbbbbb/%d", len(r.Trials)+1)
				t := sample().Trials[0]
				t.Name, t.Scenario, t.Case, t.Kernel, t.Folder = cell.Trial, c.Scenario, c.Name, k, fmt.Sprintf("run/%04d", len(r.Trials))
				r.Trials = append(r.Trials, t)
				files[path.Join(t.Folder, results.ConsoleFile)] = &fstest.MapFile{Data: longConsole(map[bool]int{true: 100_000, false: 2000}[len(r.Trials) == 1])}
			}
			c.Cells = append(c.Cells, cell)
		}
		for night := range 100 {
			c.History = append(c.History, Point{Night: fmt.Sprintf("2026-%02d-%02d", 1+night/28, 1+night%28), Kernel: night * 4 / 100, Tally: tally(1, n*night%13/12, scenarios.Hang, int64(400+night))})
		}
		r.Cases = append(r.Cases, c)
	}
	return r, files
}

func longConsole(lines int) []byte {
	var b bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&b, "[%5d.%06d] sd 2:0:0:0: [sda] tag#%d FAILED Result: hostbyte=DID_OK driverbyte=DRIVER_OK cmd_age=%ds\n", i/100, i*7919%1000000, i%32, i%17)
	}
	return b.Bytes()
}

func TestALargeReportFitsIntoAPage(t *testing.T) {
	r, files := large()
	var b bytes.Buffer
	if err := HTML(&b, r, files); err != nil {
		t.Fatal(err)
	}
	if b.Len() > MaxPage {
		t.Errorf("the page has %d bytes, want at most %d", b.Len(), MaxPage)
	}
}

func BenchmarkHTML(b *testing.B) {
	r, files := large()
	for b.Loop() {
		var out bytes.Buffer
		if err := HTML(&out, r, files); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(out.Len())/1e6, "MB")
	}
}

// Whatever a guest sends, its events are a bounded number of harmless lines, in
// the order of time.
func FuzzEvents(f *testing.F) {
	src, err := os.ReadFile("testdata/events.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(src)
	f.Add([]byte(`{"ms":-1,"from":"x\u001b","what":{"a":{"name":[1,{"b":null}],"op":"\u202e"}}}` + "\n{}\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		all := events(src)
		if len(all) > mostEvents {
			t.Errorf("there are %d", len(all))
		}
		for i, e := range all {
			if i > 0 && e.MS < all[i-1].MS {
				t.Errorf("event %d is at %d ms, the one before at %d", i, e.MS, all[i-1].MS)
			}
			if text.Escape(e.What) != e.What || text.Escape(e.From) != e.From {
				t.Errorf("%q says %q", e.From, e.What)
			}
		}
		var trial Trial
		trial.Findings = []Finding{{Line: 1}}
		trial.addKernel(src, src)
		trial.addTraces(src)
	})
}

// Whatever a console holds, it is shown as lines of harmless text.
func FuzzConsole(f *testing.F) {
	f.Add([]byte("[    0.000000] Linux\r\n\x1b[2J\xff"))
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := readConsole(fstest.MapFS{"t/console.log": &fstest.MapFile{Data: src}}, Trial{Folder: "t"})
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(c.text, "\n"); n != c.Lines {
			t.Errorf("%d lines, and it says %d", n, c.Lines)
		}
		if text.EscapeLines(c.text) != c.text {
			t.Errorf("it shows %q", c.text)
		}
	})
}
