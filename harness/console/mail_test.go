package console

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Given the mail that this project began with, when it is read, then each
// thing that the kernel said is found once, among quotes and a C program.
func TestMail(t *testing.T) {
	f, err := os.Open(filepath.Join("testdata", "mail-raid1-odirect.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	log, err := ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if log.Release != "7.1.0-rc7+" {
		t.Errorf("release %q", log.Release)
	}
	type short struct {
		Kind    Kind
		Title   string
		Place   string
		Count   int64
		Tainted string
	}
	var got []short
	for _, f := range log.Findings {
		got = append(got, short{f.Kind, f.Title, f.Place, f.Count, f.Tainted})
	}
	want := []short{
		{KindIO, "dm-mirror: Mirror read failed", "252:25", 2, ""},
		{KindWarn, "WARNING in bio_add_page", "block/bio.c:1044", 2, ""},
		{KindWarn, "WARNING in scsi_alloc_sgtables", "drivers/scsi/scsi_lib.c:1164", 2, "G W"},
		{KindIO, "I/O error, READ", "sdb", 241_011, ""},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if w := log.Findings[1]; w.Workqueue != "kmirrord do_mirror" || w.PID != 369 || len(w.Trace) != 19 {
		t.Errorf("WARNING in bio_add_page: %+v", w)
	}
	if !log.Findings[3].Consequence || log.Findings[1].Consequence {
		t.Error("the I/O errors follow the warning, the warning follows nothing")
	}
}
