package report

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

var (
	kcidbOrigin = regexp.MustCompile(`^[a-z0-9_]+$`)
	kcidbWord   = regexp.MustCompile(`[^A-Za-z0-9_-]+`)
)

// KCIDB writes the report as a submission to KCIDB, I/O schema 5.3: a checkout
// and a build for each kernel, a test for each case on it, and an issue for
// each failure that is news, with its incident. origin names the CI system that
// submits, of small letters, digits and _.
func KCIDB(w io.Writer, r Report, origin string) error {
	if !kcidbOrigin.MatchString(origin) {
		return fmt.Errorf("origin %q: want the name of a CI system, of a-z, 0-9 and _", origin)
	}
	line, err := text.JSONLine(r.kcidb(origin))
	if err != nil {
		return err
	}
	if _, err := w.Write(line); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

type kcidb struct {
	Version   kcidbVersion    `json:"version"`
	Checkouts []kcidbCheckout `json:"checkouts"`
	Builds    []kcidbBuild    `json:"builds"`
	Tests     []kcidbTest     `json:"tests"`
	Issues    []kcidbIssue    `json:"issues"`
	Incidents []kcidbIncident `json:"incidents"`
}

type kcidbVersion struct {
	Major int `json:"major"`
	Minor int `json:"minor"`
}

type kcidbCheckout struct {
	ID      string `json:"id"`
	Origin  string `json:"origin"`
	Commit  string `json:"git_commit_hash,omitempty"`
	Comment string `json:"comment"`
	Valid   bool   `json:"valid"`
}

type kcidbBuild struct {
	ID           string `json:"id"`
	Checkout     string `json:"checkout_id"`
	Origin       string `json:"origin"`
	Comment      string `json:"comment"`
	Architecture string `json:"architecture"`
	Status       string `json:"status"`
}

type kcidbTest struct {
	ID          string           `json:"id"`
	Build       string           `json:"build_id"`
	Origin      string           `json:"origin"`
	Path        string           `json:"path"`
	Comment     string           `json:"comment"`
	Status      string           `json:"status"`
	Excerpt     string           `json:"log_excerpt,omitempty"`
	Started     *time.Time       `json:"start_time,omitempty"`
	Duration    float64          `json:"duration"`
	Environment kcidbEnvironment `json:"environment"`
	Misc        kcidbMisc        `json:"misc"`
}

type kcidbEnvironment struct {
	Comment string `json:"comment"`
}

type kcidbMisc struct {
	Verdict   scenarios.Verdict `json:"blockrig_verdict"`
	Signature string            `json:"blockrig_signature,omitempty"`
	Trials    int               `json:"blockrig_trials"`
	Failures  int               `json:"blockrig_failures"`
	Errors    int               `json:"blockrig_errors"`
}

type kcidbIssue struct {
	ID      string       `json:"id"`
	Version int          `json:"version"`
	Origin  string       `json:"origin"`
	Subject string       `json:"report_subject"`
	Culprit kcidbCulprit `json:"culprit"`
	Comment string       `json:"comment"`
	URL     string       `json:"report_url,omitempty"`
}

type kcidbCulprit struct {
	Code bool `json:"code"`
}

type kcidbIncident struct {
	ID      string `json:"id"`
	Origin  string `json:"origin"`
	Issue   string `json:"issue_id"`
	Issued  int    `json:"issue_version"`
	Test    string `json:"test_id"`
	Present bool   `json:"present"`
}

func (r Report) kcidb(origin string) kcidb {
	id := func(parts ...string) string { return origin + ":" + digest(parts...) }
	k := kcidb{
		Version: kcidbVersion{5, 3}, Checkouts: []kcidbCheckout{}, Builds: []kcidbBuild{}, Tests: []kcidbTest{},
		Issues: []kcidbIssue{}, Incidents: []kcidbIncident{},
	}
	for _, kernel := range r.Kernels {
		of := []string{kernel.Ref, kernel.Release, kernel.Commit}
		comment := strings.TrimSpace(kernel.Release + " (" + kernel.Ref + ")")
		hash := ""
		if fullHash.MatchString(kernel.Commit) {
			hash = kernel.Commit
		}
		k.Checkouts = append(k.Checkouts, kcidbCheckout{id(append(of, "checkout")...), origin, hash, kcidbText(comment), true})
		k.Builds = append(k.Builds, kcidbBuild{id(append(of, "build")...), id(append(of, "checkout")...), origin, kcidbText(comment), "x86_64", "PASS"})
	}
	tests := map[where]string{}
	for _, c := range r.Cases {
		for _, cell := range c.Cells {
			kernel := r.kernel(cell.Kernel)
			of := []string{kernel.Ref, kernel.Release, kernel.Commit}
			name := id(append(of, c.Scenario, c.Name, r.Made.UTC().Format(time.DateOnly))...)
			tests[where{cell.Kernel, c.Scenario, c.Name}] = name
			k.Tests = append(k.Tests, r.kcidbTest(c, cell, kcidbTest{ID: name, Build: id(append(of, "build")...), Origin: origin}))
		}
	}
	for _, c := range r.Changes {
		test, ok := tests[where{c.After.Kernel, c.Scenario, c.Case}]
		if !ok || c.Kind != NewFailure && c.Kind != AnotherFailure && c.Known == nil {
			continue
		}
		issue := kcidbIssue{
			ID: id(c.Scenario, c.Case, c.After.Signature), Version: 1, Origin: origin, Culprit: kcidbCulprit{true},
			Subject: kcidbText(fmt.Sprintf("%s on %s: %s", c.Title(), r.kernel(c.After.Kernel).Name(), c.After.Verdict)), Comment: kcidbText(c.After.Signature),
		}
		if b := r.bisection(c.Bisection); b != nil && b.First != nil {
			issue.Comment = kcidbText(c.After.Signature + "; since " + named(b.First.Hash, b.First.Title))
		}
		if c.Known != nil && strings.HasPrefix(c.Known.Link, "https://") {
			issue.URL = c.Known.Link
		}
		k.Issues = append(k.Issues, issue)
		k.Incidents = append(k.Incidents, kcidbIncident{id(issue.ID, test), origin, issue.ID, issue.Version, test, true})
	}
	return k
}

// digest names what is made of parts: the same in every report.
func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

func (r Report) kcidbTest(c Case, cell Cell, t kcidbTest) kcidbTest {
	t.Path = "blockrig." + kcidbName(c.Scenario)
	if c.Name != "" {
		t.Path += "." + kcidbName(c.Name)
	}
	t.Comment = kcidbText(c.Title() + ": failed in " + cell.in())
	t.Duration = float64(cell.MS) * float64(cell.Trials) / 1000
	t.Misc = kcidbMisc{Verdict: cell.Verdict, Trials: cell.Trials, Failures: cell.Failures, Errors: cell.Errors}
	t.Environment.Comment = "QEMU"
	switch {
	case cell.Failures > 0:
		t.Status = "FAIL"
	case cell.Judged() > 0:
		t.Status = "PASS"
	case cell.Trials > 0:
		t.Status = "ERROR"
	default:
		t.Status = "MISS"
	}
	if told := r.trial(cell.Trial); told != nil {
		started := told.Started.UTC()
		t.Started, t.Misc.Signature = &started, told.Signature
		t.Environment.Comment = fmt.Sprintf("QEMU, %s, %d CPU", kcidbText(told.Accel), told.CPUs)
		if cell.Failures > 0 {
			t.Excerpt = cut(kcidbText(told.Reason+"\n"+told.shown()), maxExcerpt)
		}
	}
	return t
}

// maxExcerpt is the schema's bound of a log's excerpt, in characters.
const maxExcerpt = 16384

func cut(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most])
	}
	return s
}

// kcidbText is a text that the schema takes: one without NUL.
func kcidbText(s string) string { return text.EscapeLines(s) }

// kcidbName is a part of a test's path.
func kcidbName(s string) string { return strings.Trim(kcidbWord.ReplaceAllString(s, "_"), "_") }

// Submit posts what KCIDB wrote to an address, with a token that says who
// submits. Only https is spoken, but for this machine itself.
func Submit(ctx context.Context, address, token string, submission []byte) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(submission))
	if err != nil {
		return fmt.Errorf("submit to KCIDB: %w", err)
	}
	if host := req.URL.Hostname(); req.URL.Scheme != "https" && host != "localhost" && host != "127.0.0.1" && host != "::1" {
		return fmt.Errorf("submit to KCIDB: %s is no https address: the token would be seen by others", text.Escape(address))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	client := &http.Client{Timeout: 2 * time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("submit to KCIDB: %w", err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return fmt.Errorf("submit to KCIDB: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("submit to KCIDB: it answered %s: %s", resp.Status, text.Excerpt(said, 300))
	}
	if !json.Valid(said) && len(bytes.TrimSpace(said)) > 0 && resp.Header.Get("Content-Type") == "application/json" {
		return fmt.Errorf("submit to KCIDB: it answered something that is no JSON: %s", text.Excerpt(said, 300))
	}
	return nil
}
