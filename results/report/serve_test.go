package report

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func served(t *testing.T, r *Report) (*Server, *httptest.Server) {
	t.Helper()
	_, files := looked(t)
	s := NewServer(func(context.Context) (Report, error) {
		if r == nil {
			return Report{}, errors.New("no \x1b[31mdisk")
		}
		return *r, nil
	}, files)
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	return s, web
}

func get(t *testing.T, address string) (int, http.Header, string) {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	src, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(src)
}

func TestAServerGivesThePageItsDataAndConsoles(t *testing.T) {
	r, _ := looked(t)
	_, web := served(t, &r)
	status, header, page := get(t, web.URL+"/")
	if status != http.StatusOK || !strings.Contains(page, "<body data-live>") || strings.Contains(page, `data-console="2026`) {
		t.Errorf("the page is %d, %.100q", status, page)
	}
	if csp := header.Get("Content-Security-Policy"); !strings.Contains(csp, "connect-src 'self'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("the policy is %q", csp)
	}
	_, _, data := get(t, web.URL+"/data")
	var p struct{ Headline string }
	if err := json.Unmarshal([]byte(data), &p); err != nil || p.Headline != r.Headline() {
		t.Errorf("the data say %q, %v", p.Headline, err)
	}
	if status, _, c := get(t, web.URL+"/console?trial="+r.Trials[0].Name); status != http.StatusOK || !strings.Contains(c, "unable to handle page fault") {
		t.Errorf("the console is %d, %.100q", status, c)
	}
	for _, bad := range []string{"/console?trial=../../etc/passwd", "/console", "/x", "/page.js"} {
		if status, _, _ := get(t, web.URL+bad); status != http.StatusNotFound {
			t.Errorf("%s is %d", bad, status)
		}
	}
}

func TestAServerOnlyReads(t *testing.T) {
	r, _ := looked(t)
	_, web := served(t, &r)
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		req, err := http.NewRequest(method, web.URL+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s is %d", method, resp.StatusCode)
		}
	}
}

func TestAServerOfThisMachineHasNoOtherName(t *testing.T) {
	r, _ := looked(t)
	s, web := served(t, &r)
	s.hosts = []string{"localhost", "127.0.0.1", "::1"}
	if status, _, _ := get(t, web.URL+"/"); status != http.StatusOK {
		t.Errorf("by its own name it is %d", status)
	}
	req, err := http.NewRequest("GET", web.URL+"/data", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "attacker.example:8080"
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("by a stranger's name it is %d", resp.StatusCode)
	}
}

func TestWhatCantBeReadIsSaidHarmlessly(t *testing.T) {
	_, web := served(t, nil)
	if status, _, said := get(t, web.URL+"/"); status != http.StatusInternalServerError || strings.Contains(said, "\x1b") || !strings.Contains(said, "disk") {
		t.Errorf("%d, %q", status, said)
	}
}

func TestAnOpenPageIsToldOfAChange(t *testing.T) {
	r, _ := looked(t)
	s, web := served(t, &r)
	resp, err := http.Get(web.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() || lines.Text() != ": hello" {
		t.Fatalf("the first line is %q", lines.Text())
	}
	get(t, web.URL+"/data")
	r.Title = "Another"
	s.changed()
	for lines.Scan() && lines.Text() != "event: changed" {
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if _, _, data := get(t, web.URL+"/data"); !strings.Contains(data, `"title":"Another"`) {
		t.Error("the data are those from before")
	}
}

func TestAServiceFollowsTheResultsFolder(t *testing.T) {
	root := t.TempDir()
	said := make(chan string, 10)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Service{Root: root, Listen: "127.0.0.1:0", Tool: "test", Say: func(format string, args ...any) { said <- fmt.Sprintf(format, args...) }}.Serve(ctx)
	}()
	var address string
	select {
	case line := <-said:
		address = line[strings.Index(line, "http://"):]
	case err := <-done:
		t.Fatal(err)
	case <-time.After(10 * time.Second):
		t.Fatal("it does not begin")
	}
	if _, _, data := get(t, address+"data"); !strings.Contains(data, "No runs yet") {
		t.Errorf("an empty folder gives %.200q", data)
	}
	resp, err := http.Get(address + "events")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Scan()
	writeRun(t, root)
	for lines.Scan() && lines.Text() != "event: changed" {
	}
	if _, _, data := get(t, address+"data"); !strings.Contains(data, `"headline":"1 new failure"`) {
		t.Errorf("what was recorded gives %.300q", data)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	resp.Body.Close()
	for _, wrong := range []Service{{Root: root, Listen: "8080"}, {Root: root, Listen: "127.0.0.1:0", Words: []string{"nosuch"}}} {
		wrong.Say = t.Logf
		if err := wrong.Serve(context.Background()); err == nil {
			t.Errorf("%+v is served", wrong)
		}
	}
}
