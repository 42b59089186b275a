package verdict

import (
	"fmt"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// A Signature names a failure, so that two can be told to be the same. In
// JSON it is a text for people: "step/pread/hang: WARNING in a; BUG: b". A
// title may have a "; " in it, so none is read from that text: what holds a
// signature has a list of titles beside it. The zero value, "", is that of a
// trial that was not judged.
type Signature struct {
	Phase   string
	Step    string // the operation; "" in a log without a trial's report
	Verdict scenarios.Verdict
	Titles  []string // of the findings, sorted
}

func (s Signature) String() string {
	if s.Verdict == "" {
		return ""
	}
	text := s.Phase + "/" + s.Step + "/" + string(s.Verdict)
	if len(s.Titles) > 0 {
		text += ": " + strings.Join(s.Titles, "; ")
	}
	return text
}

// ParseSignature reads what String wrote, but for the titles.
func ParseSignature(text string) (Signature, error) {
	if text == "" {
		return Signature{}, nil
	}
	phase, rest, _ := strings.Cut(text, "/")
	// A step may have a slash or a colon in it: the verdict is the first one.
	for i := range len(rest) {
		if rest[i] != '/' {
			continue
		}
		word, _, _ := strings.Cut(rest[i+1:], ": ")
		if v := scenarios.Verdict(word); v.Known() || word == string(scenarios.Clean) {
			return Signature{Phase: phase, Step: rest[:i], Verdict: v}, nil
		}
	}
	return Signature{}, fmt.Errorf("%q is no signature; one is PHASE/STEP/VERDICT[: TITLES]", text)
}

// MarshalText implements encoding.TextMarshaler.
func (s Signature) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; see ParseSignature.
func (s *Signature) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSignature(string(text))
	return err
}

// Failure is the signature without the titles. Two failures are the same when
// theirs agree; titles that differ are a drift: one bug can show several.
func (s Signature) Failure() Signature {
	s.Titles = nil
	return s
}
