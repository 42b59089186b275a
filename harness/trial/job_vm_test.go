//go:build vm

package trial

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Given a job that one process has written down, when another one, which has
// prepared nothing, reads and runs it, then its outcome is the same, and the
// files are beside it.
func TestAJobTravels(t *testing.T) {
	l := mirrorJob(t, oneSector)
	l.Cold = true
	here := ran{runAttempts(testContext(t), l, run), l.Dir}

	dir := t.TempDir()
	file := filepath.Join(dir, "job.json")
	text, err := json.Marshal(l.Job)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, own := range []string{l.Image, l.Initrd, l.Dir} {
		if bytes.Contains(text, []byte(own)) {
			t.Errorf("the job has a path of this machine in it: %s", own)
		}
	}
	cmd := playing(t, playJob+"="+file)
	var said, failed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &failed
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &failed)
	}
	there := ran{dir: filepath.Join(dir, "there")}
	if err := json.Unmarshal(said.Bytes(), &there.Outcome); err != nil {
		t.Fatalf("%v: %s", err, &said)
	}
	if diff := cmp.Diff(answerOf(here), answerOf(there)); diff != "" {
		t.Errorf("-here +there:\n%s\nhere: %s\nthere: %s", diff, show(here), show(there))
	}
	if here.Signature.String() != there.Signature.String() || here.Release != there.Release || here.BootID == there.BootID {
		t.Errorf("here %s on %s, boot %s; there %s on %s, boot %s", here.Signature, here.Release, here.BootID, there.Signature, there.Release, there.BootID)
	}
	for _, r := range []ran{here, there} {
		for _, name := range []string{ConsoleFile, EventsFile, ArgsFile} {
			if info, err := os.Stat(filepath.Join(r.dir, name)); err != nil || info.Size() == 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
		wantNothingLeft(t, r.dir)
	}
}
