package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0},
		{[]float64{3}, 3},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 2, 9}, 3},
	} {
		if got := median(tc.values); got != tc.want {
			t.Errorf("%v: %g, want %g", tc.values, got, tc.want)
		}
	}
}

func TestFigures(t *testing.T) {
	out := `goos: linux
BenchmarkQuiet-2   	       5	 219514266 ns/op	 152.86 MB/s	    8704 B/op	      12 allocs/op
BenchmarkQuietJournal-2   	       5	 219514266 ns/op	 1.5 MB/s
BenchmarkQuiet   	       5	 219514266 ns/op	 160 MB/s
PASS
`
	if got := figures(out, "BenchmarkQuiet", "MB/s"); !slices.Equal(got, []float64{152.86, 160}) {
		t.Errorf("got %v", got)
	}
	if got := figures(out, "BenchmarkQuiet", "s"); got != nil {
		t.Errorf("a unit that is not there: %v", got)
	}
}

func TestCPUTimes(t *testing.T) {
	// proc_pid_stat(5): utime is field 14.
	stat := "4242 (a) b) Z 1 4242 4242 0 -1 4 5 6 7 8 150 50 1000 250 20 0 1 0 99"
	own, others, err := cpuTimes(stat)
	if err != nil || own != 2*time.Second || others != 12500*time.Millisecond {
		t.Errorf("%v, %v, %v; want 2s, 12.5s", own, others, err)
	}
	for _, bad := range []string{"", "1 (x) Z 1", strings.Replace(stat, "150", "x", 1)} {
		if _, _, err := cpuTimes(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	rows := []row{
		{what: "a trial", unit: "s", value: .3512, limit: .4, note: "median of 3"},
		{what: "two jobs to one", unit: "x", value: 1.5, limit: 1.7, least: true},
		{what: "all", unit: "s", value: 149.6},
	}
	if err := printTable(&b, rows); err != nil {
		t.Fatal(err)
	}
	want := `WHAT             MEASURED  TARGET                    NOTE
a trial          0.35 s    at most 0.40 s   reached  median of 3
two jobs to one  1.50 x    at least 1.70 x  missed
all              150 s     -
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}

// Given a process with children, then its own time and theirs are told apart.
func TestMeasure(t *testing.T) {
	const busy = `i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done`
	for _, tc := range []struct {
		script string
		child  bool
	}{
		{"echo one; echo two; " + busy + "; exit 3", false},
		{"echo one; echo two; sh -c '" + busy + "'; exit 3", true},
	} {
		r, err := measure(t.Context(), []string{"X=y"}, "sh", "-c", tc.script)
		if err != nil {
			t.Fatal(err)
		}
		if r.status != 3 || !slices.Equal(r.lines, []string{"one", "two"}) || r.first <= 0 || r.first > r.wall || r.peak == 0 {
			t.Errorf("%+v", r)
		}
		if (r.others > r.own) != tc.child {
			t.Errorf("own %v, of children %v, in %q", r.own, r.others, tc.script)
		}
	}
	if _, err := measure(t.Context(), nil, "/nosuch"); err == nil {
		t.Error("a program that is not there was run")
	}
}
