package verdict

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestFailuresAreTheSameWhateverTheirTitles(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"step/pread/hang: a", "step/pread/hang: a", true},
		{"step/pread/hang: a", "step/pread/hang: b; c", true},
		{"step/pread/hang", "step/pread/hang: b", true},
		{"step/pread/hang: a", "stack/pread/hang: a", false},
		{"step/pread/hang: a", "step/pread/bug: a", false},
		{"step/pread/hang: a", "step/pwrite/hang: a", false},
	} {
		if same := parsed(t, tt.a).Failure().String() == parsed(t, tt.b).Failure().String(); same != tt.same {
			t.Errorf("%q and %q: same %t, want %t", tt.a, tt.b, same, tt.same)
		}
	}
}

func parsed(t *testing.T, text string) Signature {
	t.Helper()
	s, err := ParseSignature(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestASignatureIsReadWithoutItsTitles(t *testing.T) {
	for text, want := range map[string]Signature{
		"":                                     {},
		"//clean":                              {Verdict: "clean"},
		"step//bug: BUG: a/b; WARNING in c":    {Phase: "step", Verdict: "bug"},
		"done/pread/pass":                      {Phase: "done", Step: "pread", Verdict: "pass"},
		"done/parallel: run/error":             {Phase: "done", Step: "parallel: run", Verdict: "error"},
		"step//bbin/gosh: a/hang: b/bug: c":    {Phase: "step", Step: "/bbin/gosh: a", Verdict: "hang"},
		"stack/pread/hang: task hung in d: e;": {Phase: "stack", Step: "pread", Verdict: "hang"},
	} {
		var got Signature
		if err := json.Unmarshal([]byte(`"`+text+`"`), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"hang", "step/hang", "step/pread/none", "step/pread/", ": x"} {
		if s, err := ParseSignature(text); err == nil {
			t.Errorf("%q is taken for the signature %+v", text, s)
		}
	}
}

func TestASignatureIsWrittenAsAText(t *testing.T) {
	s := Signature{Phase: "step", Step: "pread", Verdict: "bug", Titles: []string{"BUG: a", "WARNING in b"}}
	if line, err := json.Marshal(s); err != nil || string(line) != `"step/pread/bug: BUG: a; WARNING in b"` {
		t.Errorf("%s, %v", line, err)
	}
}
