package bisect

import (
	"strings"
	"testing"
)

func TestExpr(t *testing.T) {
	o := Outcome{
		Kind: KindVerdict, Verdict: "hang", Also: []string{"warn", "degraded"},
		Phase: "step", Step: "pread", Titles: []string{"WARNING in bio_add_page", `say "x" \ y`},
	}
	for text, want := range map[string]bool{
		`verdict == hang`:                    true,
		`verdict == "hang"`:                  true,
		`verdict != hang`:                    false,
		`verdict in (hang, bug)`:             true,
		`verdict in (bug)`:                   false,
		`also == warn`:                       true,
		`also != warn`:                       false,
		`also != bug`:                        true,
		`errno == EIO`:                       false,
		`errno != EIO`:                       true,
		`title =~ bio_add`:                   true,
		`title =~ "^WARNING in bio_.*page$"`: true,
		`title !~ "^BUG"`:                    true,
		`title !~ WARN`:                      false,
		`title == "say \"x\" \\ y"`:          true,
		`verdict == bug || verdict == hang && also == warn`:      true,
		`(verdict == bug || verdict == hang) && also == corrupt`: false,
		`!(verdict == bug)`:                           true,
		`!verdict == bug && phase==step&&step==pread`: true,
		"\tverdict\n==\nhang ":                        true,
	} {
		e, err := ParseExpr(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := e.Holds(o); got != want {
			t.Errorf("%s is %v", text, got)
		}
		if e.String() != text {
			t.Errorf("%q became %q", text, e.String())
		}
	}
}

func TestExprErrorsSayWhere(t *testing.T) {
	for text, want := range map[string]string{
		``:                             "column 1: the end is no field; there are verdict",
		`verdict`:                      "column 8: after verdict comes ==",
		`verdict = hang`:               "column 9: '=' can't stand here",
		`verdict == `:                  "column 12: a value for verdict is missing",
		`verdict == hung`:              `column 12: "hung" is no verdict; there are corrupt, hang`,
		`also == error`:                `"error" is no verdict`,
		`phase == run`:                 `"run" is no phase`,
		`kind == x`:                    `"kind" is no field`,
		`"verdict" == hang`:            "is no field",
		`verdict == hang verdict`:      `column 17: "verdict" is left over`,
		`verdict == hang &&`:           "the end is no field",
		`(verdict == hang`:             `")" is missing`,
		`verdict in hang`:              "a list in parentheses",
		`verdict in (hang bug)`:        "goes on with , or ends with )",
		`verdict in ()`:                "a value for verdict is missing",
		`title =~ "("`:                 "missing closing )",
		`title == "x`:                  `column 10: the text has no closing "`,
		`title == ""`:                  "an empty text",
		`title == 'x'`:                 `put texts in`,
		`verdict == &&`:                "a value for verdict is missing",
		`verdict "==" hang`:            "after verdict comes",
		strings.Repeat("!", 200) + "x": "too deeply",
		"title == \x1b":                `'\x1b' can't stand here`,
	} {
		_, err := ParseExpr(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%q: unsafe message %q", text, err)
		}
	}
}

func FuzzExpr(f *testing.F) {
	for _, s := range []string{`verdict == hang && !(also in (warn, bug))`, `title =~ "a|b"`, `"`, `!(`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := ParseExpr(s); err == nil {
			e.Holds(simTarget)
		}
	})
}
