package bisect

import (
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

func TestExpr(t *testing.T) {
	o := Outcome{
		Kind: KindVerdict, Verdict: "hang", Also: []scenarios.Verdict{"warn", "degraded"},
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
		`also in (bug, warn)`:                         true,
		`also in ["bug"] or not (verdict == bug)`:     true,
		`!(also in (bug, corrupt))`:                   true,
		`verdict not in (bug, eio)`:                   true,
		`title contains 'x" \\ y' and step == pread`:  true,
		`title =~ "say\s\"x\""`:                       true,
		`title not matches "^WARN"`:                   false,
		`step == lvm-mirror:2/read`:                   false,
		`step != 2.0-x`:                               true,
		`errno == EIO || errno == "errno 524"`:        false,
		`phase != step`:                               false,
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
		``:                             "column 1: unexpected token EOF",
		`verdict`:                      "it tests nothing",
		`verdict = hang`:               `column 9: unexpected token Operator("=")`,
		`verdict == `:                  "column 11: unexpected token EOF",
		`verdict == hung`:              `column 12: "hung" is no verdict; there are corrupt, hang`,
		`also == error`:                `"error" is no verdict`,
		`phase == run`:                 `"run" is no phase`,
		`errno == EIOX`:                `column 10: "EIOX" is no errno (did you mean EIO?)`,
		`errno == 5`:                   `column 10: "5" is no errno`,
		`errno == "errno 5"`:           `column 10: "errno 5" has the name EIO`,
		`errno == "errno 5000"`:        `column 10: "errno 5000" is no errno`,
		`errno =~ "^EIOX$"`:            `column 10: there is no errno that matches "^EIOX$"`,
		`!(errno contains EOI)`:        `column 18: there is no errno that contains "EOI"`,
		`verdict startsWith hnag`:      `column 20: there is no verdict that startsWith "hnag"`,
		`also !~ warm`:                 `column 9: there is no verdict that matches "warm"`,
		`phase endsWith setp`:          `column 16: there is no phase that endsWith "setp"`,
		`errno in (EIO, ENOMEN)`:       `column 16: "ENOMEN" is no errno (did you mean ENOMEM?)`,
		`kind == x`:                    `"kind" is no field`,
		`verdct == hang`:               `column 1: "verdct" is no field; there are verdict, also, phase, step, errno and title (did you mean verdict?)`,
		`"verdict" == hang`:            `"verdict" is no field`,
		`title =~ x && vrdct == hang`:  `column 15: "vrdct" is no field`,
		`title == a && (verdict == x)`: `column 27: "x" is no verdict`,
		`verdict == hang verdict`:      "column 17: unexpected token",
		`verdict == hang &&`:           "column 18: unexpected token EOF",
		`verdict && phase == step`:     "column 9: invalid operation",
		`verdict == (phase == step)`:   "a value for verdict is missing",
		`(verdict == hang`:             "column 16: unexpected token EOF",
		`verdict in hang`:              "after in comes a list",
		`verdict in (hang bug)`:        "column 18: unexpected token",
		`verdict in ()`:                "after in comes a list",
		`title =~ "("`:                 "missing closing )",
		`title == "x`:                  "not terminated",
		`title == ""`:                  "column 10: an empty text",
		`errno > EIO`:                  `">" is no test`,
		`verdict * step == hang`:       `"*" is no test`,
		`verdict == &&`:                "column 12: unexpected token",
		`verdict "==" hang`:            "column 9: unexpected token",
		`len(title) == 3`:              "only tests such as",
		`any(title, # == "x")`:         "only tests such as",
		`title[0] == x`:                "only tests such as",
		`let x = 1; x == 1`:            `"x" is no field`,
		`true`:                         "only tests such as",
		`$env == x`:                    "column 1: ",
		"title == \x1b":                "column 10: unrecognized character: U+001B",
		"title =~ (\n\n\n":             "unexpected token EOF",
		strings.Repeat("!", 400) + "(verdict == hang)": "exceeds maximum allowed nodes",
		strings.Repeat(" ", 5000):                      "5000 bytes, more than",
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

// Given a condition on the step, then it is refused where the scenario has none
// that it names, and says which there are.
func TestExprOfSteps(t *testing.T) {
	steps := []string{"pwrite", "pread"}
	for text, want := range map[string]string{
		`step == pread`:                     "",
		`step in (pread, zone-reset)`:       "column 17: \"zone-reset\" is no step of the scenario; there are pwrite, pread",
		`verdict == eio && step == preadd`:  "column 27: \"preadd\" is no step",
		`step =~ "^p" && step != pwrite`:    "",
		`verdict == eio || step =~ "reads"`: "\"reads\" is no step",
		`verdict == eio`:                    "",
	} {
		e, err := ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.CheckSteps(steps); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for text, is := range map[string]bool{`errno =~ "^$"`: true, `errno == "errno 524"`: false, `errno startsWith errno`: false, `errno =~ "^E(IO|NOSPC)$"`: false} {
		if e, err := ParseExpr(text); err != nil || e.Holds(Outcome{}) != is {
			t.Errorf("%s: %v", text, err)
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
