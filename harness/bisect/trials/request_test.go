package trials

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Given a patch that came compressed, as archives of mailing lists have
// theirs, when it is read, then it is the patch; what would fill the memory
// when it is unpacked is refused, and so is what is damaged.
func TestFilesThatComeCompressed(t *testing.T) {
	zipped := func(text []byte) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(text) // to memory
		_ = z.Close()
		return b.Bytes()
	}
	mail := aMail("Subject: [PATCH] f: x\n", aPatch)
	for _, tc := range []struct {
		name       string
		text       []byte
		want, says string
	}{
		{"as it is", []byte(mail), mail, ""},
		{"t.mbox.gz", zipped([]byte(mail)), mail, ""},
		{"twice.gz.gz", zipped(zipped([]byte(mail))), mail, ""},
		{"bomb.gz", zipped(make([]byte, maxFile+1)), "", "when it is unpacked"},
		{"cut.gz", zipped([]byte(mail))[:40], "", "unexpected EOF"},
		{"empty", nil, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), tc.name)
			if err := os.WriteFile(path, tc.text, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := ReadFile("patch", path)
			switch {
			case tc.says == "" && (err != nil || string(f.Text) != tc.want || f.Name != tc.name):
				t.Errorf("%q with %q, %v", f.Name, f.Text, err)
			case tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), path)):
				t.Errorf("%v, want an error that names the file and %q", err, tc.says)
			}
		})
	}
}
