package verdict

import (
	"encoding/json"
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

func TestASignatureIsReadAsItWasWritten(t *testing.T) {
	for _, text := range []string{
		"", "//clean", "step//bug: BUG: a/b; WARNING in c", "done/pread/pass", "stack/pread/hang: task hung in d: e",
	} {
		line, err := json.Marshal(parsed(t, text))
		if err != nil || string(line) != `"`+text+`"` {
			t.Errorf("%q is written as %s, %v", text, line, err)
		}
		var back Signature
		if err := json.Unmarshal(line, &back); err != nil || back.String() != text {
			t.Errorf("%q is read as %q, %v", text, back, err)
		}
	}
	for _, text := range []string{"hang", "step/hang", "step/pread/none", "step/pread/", ": x"} {
		if s, err := ParseSignature(text); err == nil {
			t.Errorf("%q is taken for the signature %+v", text, s)
		}
	}
}
