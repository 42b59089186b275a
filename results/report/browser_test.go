//go:build browser

package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-rod/rod"
	"github.com/go-rod/rod/lib/input"
	"github.com/go-rod/rod/lib/launcher"
	"github.com/go-rod/rod/lib/proto"
)

// chromium is a headless one; `just deps-browser` installs it.
func chromium(t *testing.T) *rod.Browser {
	t.Helper()
	bin, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is not on PATH: just deps-browser installs it")
	}
	l := launcher.New().Bin(bin).Leakless(false).NoSandbox(os.Getuid() == 0).Set("disable-gpu")
	url, err := l.Launch()
	if err != nil {
		t.Fatal(err)
	}
	b := rod.New().ControlURL(url).MustConnect()
	t.Cleanup(func() {
		b.MustClose()
		l.Cleanup()
	})
	return b
}

// A tab shows a page. What its console says is an error, unless it is taken.
type tab struct {
	*rod.Page
	t       *testing.T
	where   string
	blocked *atomic.Int32 // programs that the policy did not let run
}

// sampleAt is the sample's page in a file.
func sampleAt(t *testing.T) string {
	t.Helper()
	return pageAt(t, func(b *bytes.Buffer) error {
		r, files := looked(t)
		return HTML(b, r, files)
	})
}

func pageAt(t *testing.T, write func(*bytes.Buffer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return "file://" + path
}

// show opens a page in a window of that size.
func show(t *testing.T, b *rod.Browser, address string, width, height int, scheme string) tab {
	t.Helper()
	p := b.MustPage("").Timeout(time.Minute)
	p.MustSetViewport(width, height, 1, width < 600)
	if err := (proto.EmulationSetEmulatedMedia{Features: []*proto.EmulationMediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}).Call(p); err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 100)
	ctx, stop := context.WithCancel(context.Background())
	heard := make(chan struct{})
	var blocked atomic.Int32
	wait := p.Context(ctx).EachEvent(func(e *proto.RuntimeConsoleAPICalled) {
		said <- fmt.Sprint(e.Type, p.MustObjectsToJSON(e.Args))
	}, func(e *proto.RuntimeExceptionThrown) {
		said <- "exception: " + e.ExceptionDetails.Text + " " + fmt.Sprint(e.ExceptionDetails.Exception)
	}, func(e *proto.LogEntryAdded) {
		if strings.Contains(e.Entry.Text, "Content Security Policy") {
			blocked.Add(1)
			return
		}
		said <- fmt.Sprintf("%s: %s", e.Entry.Level, e.Entry.Text)
	})
	go func() {
		defer close(heard)
		wait()
	}()
	if err := errors.Join(proto.LogEnable{}.Call(p), proto.RuntimeEnable{}.Call(p)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		<-heard
		close(said)
		for s := range said {
			t.Errorf("the browser's console says: %s", s)
		}
		p.Close()
	})
	p.MustNavigate(address)
	p.MustElement("main section, main article, main .none")
	return tab{p, t, address, &blocked}
}

func (p tab) text(selector string) string {
	p.t.Helper()
	return p.MustElement(selector).MustText()
}

func (p tab) count(selector string) int { return len(p.MustElements(selector)) }

// eval runs a function in the page and gives what it returns.
func (p tab) eval(js string) string {
	p.t.Helper()
	return p.MustEval("() => String(" + js + ")").Str()
}

// until waits for something to be so.
func (p tab) until(js string) {
	p.t.Helper()
	if err := p.Page.Timeout(10 * time.Second).Wait(rod.Eval("() => !!(" + js + ")")); err != nil {
		p.t.Fatalf("waiting for %s: %v", js, err)
	}
}

// picture keeps a picture of the whole page in $REPORT_PICTURES, if that is set.
func (p tab) picture(name string) {
	dir := os.Getenv("REPORT_PICTURES")
	if dir == "" {
		return
	}
	src := p.MustScreenshotFullPage()
	if err := os.WriteFile(filepath.Join(dir, name+".png"), src, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

const trialHash = "#t=20261126T020000.000Z-bbbbbbbb%2F4"

func TestThePageShowsAllItsParts(t *testing.T) {
	b, address := chromium(t), sampleAt(t)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{1280, 400} {
			t.Run(fmt.Sprintf("%s %d", scheme, width), func(t *testing.T) {
				p := show(t, b, address, width, 900, scheme)
				for selector, want := range map[string]int{".change": 4, "#grid tbody tr:not(.group)": 14, "#grid .cell": 50, "#history li": 24, ".bisection": 1, "#runs tbody tr": 2, ".steps .dot": 7} {
					if n := p.count(selector); n != want {
						t.Errorf("there are %d %s, want %d", n, selector, want)
					}
				}
				if wide := p.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth"); wide != "0" {
					t.Errorf("it is %s pixels wider than its window", wide)
				}
				p.picture(fmt.Sprintf("all-%s-%d", scheme, width))
				p.eval("location.hash = '" + trialHash + "&line=103'")
				p.until("document.querySelector('.console .l.at')")
				if wide := p.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth"); wide != "0" {
					t.Errorf("a trial is %s pixels wider than its window", wide)
				}
				p.picture(fmt.Sprintf("trial-%s-%d", scheme, width))
			})
		}
	}
}

func TestAFilterIsALink(t *testing.T) {
	b, address := chromium(t), sampleAt(t)
	p := show(t, b, address+"#q=museum+corrupt&f=1", 1280, 900, "light")
	if n := p.count("#grid tbody tr"); n != 1 {
		t.Errorf("the link shows %d cases, want 1", n)
	}
	if q := p.eval("document.getElementById('q').value"); q != "museum corrupt" {
		t.Errorf("the field says %q", q)
	}
	p.MustElement("#clear").MustClick()
	p.until("document.querySelectorAll('#grid .cell').length === 50")
	p.MustElement("#k").MustSelect("6.18.15+deb13-amd64")
	p.until("location.hash.includes('k=6.18.15')")
	if n := p.count("#grid thead th.k"); n != 1 {
		t.Errorf("%d kernels are shown, want 1", n)
	}
	p.MustNavigateBack()
	p.until("document.querySelectorAll('#grid thead th.k').length === 4")
	p.MustElement("#q").MustInput("dm-mirror: look at")
	p.until("document.querySelectorAll('.bisection').length === 1 && document.querySelectorAll('.change').length === 1")
	// The address that one sends shows the same.
	other := show(t, b, p.eval("location.href"), 1280, 900, "light")
	if n := other.count(".change"); n != 1 {
		t.Errorf("the link that was sent shows %d changes, want 1", n)
	}
	gone := show(t, b, address+"#t=none%2F1", 1280, 900, "light")
	if s := gone.text("main"); !strings.Contains(s, "does not tell of trial none/1") {
		t.Errorf("a trial that is not there: %q", s)
	}
}

func TestThePageIsUsedWithTheKeyboard(t *testing.T) {
	p := show(t, chromium(t), sampleAt(t), 1280, 900, "light")
	p.MustElement("body").MustFocus()
	p.Keyboard.MustType('/')
	if at := p.eval("document.activeElement.id"); at != "q" {
		t.Errorf("/ leads to %q, want the search", at)
	}
	// One cell is a stop of the tab key; arrows lead to the others.
	if n := p.count("#grid .cell[tabindex='0']"); n != 1 {
		t.Errorf("%d cells are stops", n)
	}
	p.MustElement("#grid .cell[tabindex='0']").MustFocus()
	p.Keyboard.MustType(input.ArrowDown)
	if at := p.eval("document.activeElement.getAttribute('aria-label')"); !strings.Contains(at, "length=4096,memory_offset=32 on 6.18.15+deb13-amd64: hang, 20 of 20 failed") {
		t.Errorf("arrow down leads to %q", at)
	}
	p.Keyboard.MustType(input.Enter)
	p.until("document.activeElement.id === 'trial-h'")
	p.Keyboard.MustType(input.Escape)
	p.until("document.getElementById('changes')")
}

func TestAScreenReaderCanTellWhatThereIs(t *testing.T) {
	p := show(t, chromium(t), sampleAt(t), 1280, 900, "light")
	for _, hash := range []string{"", trialHash + "&line=103"} {
		p.eval("location.hash = '" + hash + "'")
		p.until(map[bool]string{true: "document.querySelector('.console .l')", false: "document.getElementById('grid')"}[hash != ""])
		bad := p.eval(`[...document.querySelectorAll("button, input, select, a, svg[role=img], [role=region], table")].filter((e) => e.getClientRects().length).filter((e) => {
			const label = e.getAttribute("aria-label") || (e.closest("label") || e).textContent.trim() || e.getAttribute("placeholder");
			return !label || e.tagName === "TABLE" && (!e.caption || !e.querySelector("th[scope=col]"));
		}).map((e) => e.outerHTML.slice(0, 100)).join("\n")`)
		if bad != "" {
			t.Errorf("without a name:\n%s", bad)
		}
		if p.eval(`document.querySelectorAll("h1").length`) != "1" || p.eval(`document.documentElement.lang`) != "en" {
			t.Error("there is not one heading, or no language")
		}
		levels := p.eval(`[...document.querySelectorAll("main h2, main h3")].map((e) => e.tagName[1]).join("")`)
		if !strings.HasPrefix(levels, "2") {
			t.Errorf("headings are of levels %s", levels)
		}
	}
	// Every colour of a text on its ground can be read (WCAG 2.1: 4.5 to 1).
	for _, scheme := range []string{"light", "dark"} {
		p := show(t, p.Browser(), p.where, 1280, 900, scheme)
		if bad := p.eval(contrast); bad != "" {
			t.Errorf("%s: too little contrast:\n%s", scheme, bad)
		}
	}
}

// contrast lists texts that are too much like their ground.
const contrast = `(() => {
	const parse = (c) => (c.match(/[\d.]+/g) || []).map(Number);
	const channel = (c) => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
	const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
	const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
	const bad = new Set();
	for (const e of document.querySelectorAll("main *, header *")) {
		if (!e.getClientRects().length || e.closest("svg") || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
		const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) bad.add(ratio.toFixed(2) + " " + e.tagName + "." + e.className);
	}
	return [...bad].join("\n");
})()`

func TestAHostileConsoleChangesNothing(t *testing.T) {
	p := show(t, chromium(t), sampleAt(t)+"#t=20261126T020000.000Z-bbbbbbbb%2F9&line=2", 1280, 900, "light")
	p.until("document.querySelector('.console .l.at')")
	if title := p.MustInfo().Title; title != "Kernel storage, 2026-11-26" {
		t.Errorf("the title is now %q", title)
	}
	if n := p.count("img, main script, iframe, main [onerror]"); n != 0 {
		t.Errorf("%d elements came in", n)
	}
	if s := p.text(".console"); !strings.Contains(s, "<img src=x onerror=document.title='owned'>") || !strings.Contains(s, `\u202e`) {
		t.Errorf("the console shows %q", s)
	}
	if s := p.text(".findings"); !strings.Contains(s, "</script><script>") || strings.Contains(s, "\u202e") {
		t.Errorf("the finding shows %q", s)
	}
	// The policy holds even where a program could be put in.
	blocked := show(t, p.Browser(), p.where, 1280, 900, "light")
	blocked.MustEval(`() => { const s = document.createElement("script"); s.textContent = "document.title = 'owned'"; document.body.append(s); }`)
	if title := blocked.MustInfo().Title; title == "owned" {
		t.Error("a program that was put in is run")
	}
	if n := p.blocked.Load(); n != 0 {
		t.Errorf("the policy had to stop %d programs", n)
	}
}

func TestAConsoleOfAHundredThousandLinesIsQuick(t *testing.T) {
	r, files := large()
	address := pageAt(t, func(b *bytes.Buffer) error { return HTML(b, r, files) })
	began := time.Now()
	p := show(t, chromium(t), address, 1280, 900, "light")
	t.Logf("a page of 1,000 cases is there after %v", time.Since(began))
	p.eval("location.hash = '#t=20261126T020000.000Z-bbbbbbbb%2F1&line=99990'")
	p.until("document.querySelector('.console .l.at')")
	if s := p.text(".console .l.at"); !strings.HasPrefix(s, "99990") {
		t.Errorf("line 99990 is %q", s)
	}
	if n := p.count(".console .l"); n > 200 {
		t.Errorf("%d lines are in the page at once", n)
	}
	ms := p.MustEval(`async () => {
		const box = document.querySelector(".console"), frame = () => new Promise(requestAnimationFrame);
		const took = [];
		for (let i = 0; i < 61; i++) {
			const t = performance.now();
			box.scrollTop = (i * 7919 * 18) % box.scrollHeight;
			await frame(); await frame();
			took.push(performance.now() - t);
		}
		return took.sort((a, b) => a - b)[30];
	}`).Num()
	t.Logf("a jump through it took %.0f ms (median of 61)", ms)
	if ms > 200 {
		t.Errorf("a jump through the console took %.0f ms", ms)
	}
	took := p.MustEval(`async () => {
		const input = document.querySelector(".tools input"), t = performance.now();
		input.value = "tag#31 FAILED"; input.dispatchEvent(new Event("input"));
		while (!document.querySelector(".console mark")) await new Promise(requestAnimationFrame);
		return performance.now() - t;
	}`).Num()
	t.Logf("a search in it took %.0f ms", took)
	if s := p.text(".tools [role=status]"); !strings.HasPrefix(s, "1 of 3") {
		t.Errorf("the search says %q", s)
	}
}

func TestALivePageTakesWhatChanges(t *testing.T) {
	r, files := looked(t)
	changed := make(chan struct{})
	s := NewServer(func(context.Context) (Report, error) { return r, nil }, files)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.follow(ctx, changed) }()
	web := httptest.NewServer(s)
	defer func() {
		stop()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		web.CloseClientConnections()
		web.Close()
	}()
	p := show(t, chromium(t), web.URL+"/", 1280, 900, "light")
	p.until("document.getElementById('live').textContent === 'live'")
	r.Changes = append([]Change{{Kind: NewFailure, Scenario: "just-now", Before: Side{Kernel: -1}, After: r.Changes[0].After}}, r.Changes...)
	changed <- struct{}{}
	p.until("document.querySelector('.change h3').textContent === 'just-now'")
	// Consoles are asked for.
	p.eval("location.hash = '" + trialHash + "&line=103'")
	p.until("document.querySelector('.console .l.at')")
	if got := p.text(".console .l.at"); !strings.Contains(got, "unable to handle page fault") {
		t.Errorf("the console shows %q", got)
	}
}
