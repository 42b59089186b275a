//go:build vm

package qemu_test

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/blockrig/blockrig/harness/qemu"
)

func TestNextBootSeesWhatThePowerCutLeft(t *testing.T) {
	// Given a guest that writes to disks of every bus, with a flush between, with
	// O_DSYNC, and at last without,
	disks := faultDisks()
	l := startLinux(t, linuxSpec(t, disks...))
	rec, err := l.Record()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rec.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, d := range disks {
		if got := l.write(d.ID, 0, 8192, 'x') + l.flush(d.ID); got != "" {
			t.Fatal(d.ID, got)
		}
		rec.Mark("flushed " + d.ID)
		if s := l.do(ask{Do: "write", Disk: d.ID, Offset: 8192, Length: 4096, Byte: 'y', Sync: true}); s.String() != "" {
			t.Fatal(d.ID, s)
		}
		if got := l.write(d.ID, 0, 4096, 'z'); got != "" {
			t.Fatal(d.ID, got)
		}
		rec.Mark("written " + d.ID)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	moments := rec.Moments()
	at := func(mark string) qemu.Moment {
		i := slices.IndexFunc(moments, func(m qemu.Moment) bool { return m.Mark == mark && m.Op == "" })
		if i < 0 {
			t.Fatalf("no mark %q in %+v", mark, moments)
		}
		return moments[i]
	}

	// when the power fails, then the next boot sees exactly what it may.
	for _, tt := range []struct {
		name   string
		at     qemu.Moment
		choice qemu.Choice
		want   map[string]string
	}{
		{"at the end, all that was not flushed is lost", moments[len(moments)-1], qemu.Choice{Lose: qemu.LoseAll}, map[string]string{
			"a": "8192x 4096y 40960", "b": "8192x 4096y 40960", "c": "8192x 4096y 40960",
			"d": "4096z 4096x 4096y 40960", // NVMe: every write may have had FUA
		}},
		{"between two disks, nothing is lost", at("flushed b"), qemu.Choice{Lose: qemu.LoseNone}, map[string]string{
			"a": "4096z 4096x 4096y 40960", "b": "8192x 81920", "c": "163840", "d": "163840",
		}},
	} {
		dir := t.TempDir()
		after, err := rec.Image(t.Context(), tt.at, tt.choice, dir)
		if err != nil {
			t.Fatal(err)
		}
		spec := linuxSpec(t)
		spec.Disks = after
		l := startLinux(t, spec)
		for disk, want := range tt.want {
			if got := l.read(disk, 0, 16384); got != want {
				t.Errorf("%s: disk %s has %q, want %q", tt.name, disk, got, want)
			}
		}
		if err := errors.Join(l.Close(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	}
}
