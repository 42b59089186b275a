package results

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestStoryTable(t *testing.T) {
	sc, cases, records := story(t)
	held := CheckStory(sc, cases, records)
	unknown := CheckStory(sc, cases, nil)
	records[0].Verdict = "hang"
	off := CheckStory(sc, cases, records)
	var b strings.Builder
	err := StoryTable(&b, []Telling{
		{Scenario: sc, Check: held, Took: 2600 * time.Millisecond},
		{Scenario: sc, Check: off},
		{Scenario: sc, Check: unknown},
		{Scenario: sc, Err: errors.New("no such kernel")},
	}, Style{})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for i, want := range []string{
		"STORY BEFORE WITH AFTER SHOWN SECONDS",
		"lvm-mirror-dio-read before-release with-release after-release yes 3",
		"lvm-mirror-dio-read before-release with-release after-release no 0",
		"lvm-mirror-dio-read debian:6.17 debian:6.18 debian:newest not known 0",
		"lvm-mirror-dio-read debian:6.17 debian:6.18 debian:newest not known 0",
		"1 of 4 bugs shown, 1 not as the story has it, 2 not known",
	} {
		if got := strings.Join(strings.Fields(lines[i]), " "); got != want {
			t.Errorf("line %d: %q, want %q", i, got, want)
		}
	}
}
