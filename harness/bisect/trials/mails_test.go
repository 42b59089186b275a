package trials

import (
	"encoding/base64"
	"fmt"
	"mime/quotedprintable"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

const aPatch = `diff --git a/f b/f
index 0000000..1111111 100644
--- a/f
+++ b/f
@@ -1 +1 @@
-a = 1
+a = 2
`

func aMail(head, body string) string {
	return "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\nFrom: A <a@a.example>\nDate: Mon, 1 Jun 2026 00:00:00 +0000\n" + head + "\n" + body + "\n"
}

// aPart is a body or a part of one, encoded.
func aPart(kind, encoding, body string) string {
	var b strings.Builder
	switch encoding {
	case "base64":
		for s := base64.StdEncoding.EncodeToString([]byte(body)); s != ""; s = s[min(len(s), 76):] {
			b.WriteString(s[:min(len(s), 76)] + "\n")
		}
	case "quoted-printable":
		w := quotedprintable.NewWriter(&b)
		_, _ = w.Write([]byte(body)) // to memory
		_ = w.Close()
	default:
		b.WriteString(body)
	}
	return "Content-Type: " + kind + "\nContent-Transfer-Encoding: " + encoding + "\n\n" + b.String()
}

func emptyRepo(t *testing.T) *gitcmd.Repo {
	t.Helper()
	dir := t.TempDir()
	repo, err := gitcmd.Init(filepath.Join(dir, ".git"), dir)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// Given patches in mails of several forms, when they are taken out, then what
// the mail did to them is undone; cover letters and answers are none.
func TestPatchesInMails(t *testing.T) {
	repo := emptyRepo(t)
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	body := "Words.\n---\n" + aPatch + "-- \n2.39\n"
	multi := "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=XX\n"
	cover := aMail("Subject: [PATCH 0/1] a cover letter\n", "Words.\n---\n f | 2 +-\n 1 file changed")
	plain := aMail("Subject: [PATCH] x\n", body)
	quoted := aMail("Subject: [PATCH] x\nMIME-Version: 1.0\n"+strings.TrimSuffix(aPart("text/plain; charset=utf-8", "quoted-printable", ""), "\n"), "Words.\n---\n"+strings.ReplaceAll(aPatch, "= ", "=3D "))
	for _, c := range []struct {
		name, text string
		n          int
	}{
		{"a plain patch", aPatch, 1},
		{"a plain patch of another system", crlf(aPatch), 1},
		{"a mail", plain, 1},
		{"a mail of another system", crlf(plain), 1},
		{"quoted-printable", quoted, 1},
		{"quoted-printable, lines of another system", aMail("Subject: [PATCH] x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n", strings.ReplaceAll(strings.ReplaceAll("Words.\n---\n"+aPatch, "=", "=3D"), "\n", "=0D\n")), 1},
		{"base64", aMail("Subject: [PATCH] x\nMIME-Version: 1.0\n"+aPart("text/plain; charset=utf-8", "base64", body), ""), 1},
		{"base64, lines of another system", aMail("Subject: [PATCH] x\nMIME-Version: 1.0\n"+aPart("text/plain; charset=utf-8", "base64", crlf(body)), ""), 1},
		{"an attachment", aMail("Subject: fix\n"+multi, "--XX\n"+aPart("text/plain", "7bit", "See the patch.\n")+"\n--XX\n"+aPart("application/octet-stream; name=x.patch", "base64", crlf(aPatch))+"--XX--"), 1},
		{"a text and its HTML", aMail("Subject: [PATCH] x\n"+strings.Replace(multi, "mixed", "alternative", 1), "--XX\n"+aPart("text/plain", "7bit", body)+"\n--XX\n"+aPart("text/html", "7bit", "<p>Words</p>\n")+"--XX--"), 1},
		{"a series with a cover letter", cover + plain + quoted, 2},
		{"an answer with a quote", plain + aMail("Subject: Re: [PATCH] x\n", "> Words\n> "+strings.ReplaceAll(aPatch, "\n", "\n> ")), 1},
		{"an answer with another patch", plain + aMail("Subject: Re: [PATCH] x\n", "Better:\n"+strings.ReplaceAll(aPatch, "2", "3")), 1},
		{"a cover letter", cover, 0},
		{"nothing", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := Patches(t.Context(), repo, File{"m.mbox", []byte(c.text)}, filepath.Join(t.TempDir(), "patch"))
			if (err != nil) != (c.n == 0) || len(got) != c.n {
				t.Fatalf("%d patches, %v; want %d", len(got), err, c.n)
			}
			for _, p := range got {
				text, err := os.ReadFile(p.Path)
				if err != nil || !strings.Contains(string(text), "+a = 2\n") || strings.Contains(string(text), "\r") {
					t.Errorf("%v: %q", err, text)
				}
			}
		})
	}
}

// Given the mails of a series, then the patches come in its order; what can't
// be told apart is refused, and what is missing is said.
func TestPatchesOfASeries(t *testing.T) {
	repo := emptyRepo(t)
	patch := func(subject, to string) string {
		return aMail("Subject: "+subject+"\n", "---\n"+strings.ReplaceAll(aPatch, "+a = 2", "+a = "+to))
	}
	for _, c := range []struct {
		name, text  string
		want, notes []string
		wrong       string
	}{
		{name: "in order", text: patch("[PATCH 1/2] a", "1") + patch("[PATCH 2/2] b", "2"), want: []string{"1", "2"}},
		{name: "backwards", text: patch("[PATCH v3 02/10] b", "2") + patch("[RFC PATCH v3 10/10] c", "3") + patch("[PATCH v3 01/10] a", "1"), want: []string{"1", "2", "3"}, notes: []string{"3/10", "4/10", "5/10", "6/10", "7/10", "8/10"}},
		{name: "encoded subject", text: patch("=?utf-8?q?=5BPATCH_2/2=5D_b?=", "2") + patch("=?utf-8?b?W1BBVENIIDEvMl0gYQ==?=", "1"), want: []string{"1", "2"}},
		{name: "folded subject", text: patch("[PATCH\n 2/2] b", "2") + patch("[PATCH 1/2] a", "1"), want: []string{"1", "2"}},
		{name: "the same mail twice", text: patch("[PATCH 2/2] b", "2") + patch("[PATCH 1/2] a", "1") + patch("[PATCH 2/2] b", "2"), want: []string{"1", "2"}},
		{name: "an answer among them", text: patch("[PATCH 2/2] b", "2") + patch("Re: [PATCH 1/2] a", "9") + patch("[PATCH 1/2] a", "1"), want: []string{"1", "2"}, notes: []string{"1 answers"}},
		{name: "no series", text: patch("b", "2") + patch("a", "1"), want: []string{"2", "1"}},
		{name: "partly a series", text: patch("[PATCH 2/2] b", "2") + patch("a", "1"), want: []string{"2", "1"}, notes: []string{"not all of it is of one series"}},
		{name: "one of a series", text: patch("[PATCH 2/2] b", "2"), want: []string{"2"}, notes: []string{"1/2"}},
		{name: "two versions", text: patch("[PATCH 1/1] a", "1") + patch("[PATCH v2 1/1] a", "2"), wrong: `versions 1 and 2 of a series (mail 1, "[PATCH 1/1] a"; mail 2, "[PATCH v2 1/1] a")`},
		{name: "a number twice", text: patch("[PATCH 1/2] a", "1") + patch("[PATCH 1/2] b", "2"), wrong: "it has patch 1/2 twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			patches, notes, err := Patches(t.Context(), repo, File{"m.mbox", []byte(c.text)}, filepath.Join(t.TempDir(), "patch"))
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) || !strings.HasPrefix(err.Error(), "m.mbox: ") {
					t.Errorf("%v, want %q", err, c.wrong)
				}
				return
			}
			var got []string
			for _, p := range patches {
				text, err := os.ReadFile(p.Path)
				if err != nil {
					t.Fatal(err)
				}
				_, to, _ := strings.Cut(string(text), "+a = ")
				got = append(got, to[:1])
			}
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil || len(notes) != len(c.notes) {
				t.Errorf("%v, notes %q (-want +got):\n%s", err, notes, diff)
			}
			for i, n := range c.notes {
				if i < len(notes) && !strings.Contains(notes[i], n) {
					t.Errorf("%q, want %q", notes[i], n)
				}
			}
		})
	}
}

// Given a patch that does not apply, then it is said where in the user's file
// it breaks, and what stands there in the sources.
func TestWhereAPatchBreaks(t *testing.T) {
	src := newSources(t)
	var file strings.Builder
	for i := range 30 {
		fmt.Fprintf(&file, "\tline %d;\n", i+1)
	}
	src.commit("d/f.c", file.String(), "one")
	base := src.commit("other", "x\n", "two")
	repo := sourceOf(t, src).repo
	// A patch of two hunks, from line 10 and from line 20, each a line of
	// context around what it changes.
	head := "diff --git a/d/f.c b/d/f.c\n--- a/d/f.c\n+++ b/d/f.c\n"
	hunk := func(at int, middle string) string {
		return fmt.Sprintf("@@ -%d,3 +%d,3 @@ x\n \tline %d;\n-%s\n+\tnew;\n \tline %d;\n", at, at, at, middle, at+2)
	}
	good, bad := hunk(10, "\tline 11;"), hunk(20, "\tcolumn 21;")
	whole := head + good + bad
	words := "Words.\n---\n"
	for _, c := range []struct {
		name, text string
		want       string // "" : it applies
	}{
		{"it applies", head + good + hunk(20, "\tline 21;"), ""},
		{"the second hunk", whole, `p.patch:11: does not apply to ` + base[:12] + `: hunk 2 of d/f.c has "column 21;" for line 21, where there is "line 21;"`},
		{"of another system", strings.ReplaceAll(whole, "\n", "\r\n"), `p.patch:11: does not apply`},
		{"in a mail", aMail("Subject: [PATCH] x\n", words+whole), `p.patch:18 (mail 1, "[PATCH] x"): does not apply to ` + base[:12] + `: hunk 2 of d/f.c has "column 21;"`},
		{"encoded", aMail("Subject: [PATCH] x\nMIME-Version: 1.0\n"+aPart("text/plain", "base64", words+whole), ""), `p.patch (mail 1, "[PATCH] x"): does not apply to ` + base[:12] + `: hunk 2 of d/f.c has "column 21;"`},
		{
			"the second of a series", aMail("Subject: [PATCH 2/2] b\n", words+whole) + aMail("Subject: [PATCH 1/2] a\n", words+head+hunk(20, "\tline 21;")),
			`p.patch:18 (mail 1, "[PATCH 2/2] b"): does not apply to ` + base[:12] + `: hunk 2 of d/f.c has "column 21;" for line 21, where there is "new;"`,
		},
		{"moved", head + strings.Replace(hunk(14, "\tline 15;"), "line 15", "nothing", 1), `hunk 1 of d/f.c has "nothing;" for line 15, where there is "line 15;"`},
		{"in another place", head + strings.Replace(bad, "@@ -20,3 +20,3", "@@ -5,3 +5,3", 1), `for line 21, where there is "line 21;"`},
		{"spaces for tabs", head + strings.ReplaceAll(good, "\t", "        "), "hunk 1 of d/f.c differs from line 10 in white space only"},
		{"beyond the end", head + "@@ -30,2 +30,3 @@\n \tline 30;\n \tline 31;\n+\tmore;\n", `has "line 31;" for line 31, where the file has ended`},
		{"of a line that no file has", head + strings.Replace(bad, "@@ -20,3", "@@ -99999999999999999999,3", 1), "does not apply to "},
		{"no such file", strings.ReplaceAll(head, "d/f.c", "d/g.c") + good, `p.patch:4: does not apply to ` + base[:12] + `: there is no file d/g.c`},
		{"a file that is there", "diff --git a/other b/other\nnew file mode 100644\n--- /dev/null\n+++ b/other\n@@ -0,0 +1 @@\n+y\n", "the file other, which it makes, is there already"},
		{"cut off", whole[:len(whole)-12], "p.patch:9: does not apply to " + base[:12] + ": hunk 2 of d/f.c is damaged: it ends before it has as many lines as it says"},
		{"format=flowed", aMail("Subject: [PATCH] x\nContent-Type: text/plain; charset=utf-8;\n format=flowed\n", words+strings.ReplaceAll(whole, " \t", "  ")), "; the mail is format=flowed, which breaks the lines"},
		{"format=flowed, by name only", aMail("Subject: [PATCH] x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8; format=flowed\n", words+head+good+hunk(20, "\tline 21;")), ""},
		{"format=flowed, as it should be", aMail("Subject: [PATCH] x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8; format=flowed\n", words+strings.ReplaceAll(head+good+hunk(20, "\tline 21;"), "\n ", "\n  ")), ""},
		{"there already", "diff --git a/other b/other\n--- a/other\n+++ b/other\n@@ -1 +1 @@\n-w\n+x\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			patches, _, err := Patches(t.Context(), repo, File{"p.patch", []byte(c.text)}, filepath.Join(dir, "patch"))
			if err != nil {
				t.Fatal(err)
			}
			err = CheckApply(t.Context(), repo, base, nil, patches, filepath.Join(dir, "check"))
			switch {
			case c.name == "there already": // of the two things to say about it, either will do
				if err == nil || !strings.Contains(err.Error(), "does not apply to "+base[:12]) {
					t.Error(err)
				}
			case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v\nwant %q", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("more than a line, or a path of our own: %v", err)
			}
		})
	}
}

// Given a hunk of any place and any file, then looking for it in a file ends.
func TestAHunkOfAnyPlace(t *testing.T) {
	for _, start := range []int{-1 << 63, -1, 0, 1, 7, 1<<63 - 1} {
		for _, file := range [][]string{nil, {"a"}, {"a", "b", "c"}} {
			for _, old := range [][]string{nil, {"x"}, {"b", "c"}, {"b", "c", "d"}} {
				h := hunk{file: "f", number: 1, start: start, old: old, places: make([]int, len(old))}
				if why, _ := h.against(file); !strings.HasPrefix(why, "hunk 1 of f") {
					t.Errorf("%d: %s", start, why)
				}
			}
		}
	}
	old := make([]string, 10_000)
	h := hunk{file: "f", number: 1, start: 1<<63 - 1, old: old, places: make([]int, len(old))}
	if why, _ := h.against(make([]string, 10_000)); !strings.Contains(why, "the file has ended") {
		t.Error(why)
	}
}

// Given a patch that was to make trees build, then one that is tried is seen
// with it.
func TestPatchesThatComeBefore(t *testing.T) {
	src := newSources(t)
	base := src.commit("f", "a = 0\n", "one")
	repo := sourceOf(t, src).repo
	dir := t.TempDir()
	put := func(name, text string) string {
		path, err := putFile(dir, name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	mend := put("mend", "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a = 0\n+a = 1\n")
	other := put("other", "--- a/none\n+++ b/none\n@@ -1 +1 @@\n-a = 0\n+a = 1\n")
	try := []Patch{{Path: put("try", aPatch), file: File{"try", []byte(aPatch)}}}
	if err := CheckApply(t.Context(), repo, base, nil, try, filepath.Join(dir, "1")); err == nil {
		t.Error("it applies alone")
	}
	if err := CheckApply(t.Context(), repo, base, []string{other, mend}, try, filepath.Join(dir, "2")); err != nil {
		t.Error(err)
	}
}
