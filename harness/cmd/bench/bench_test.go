package main

import (
	"bytes"
	"slices"
	"testing"
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

// Given a program that ends, then its lines, its status and its times are known.
func TestMeasure(t *testing.T) {
	r, err := measure(t.Context(), []string{"X=y"}, "sh", "-c", `echo one; echo "$X"; echo three >&2; exit 3`)
	if err != nil {
		t.Fatal(err)
	}
	if r.status != 3 || !slices.Equal(r.lines, []string{"one", "y"}) || r.said != "three\n" || r.first <= 0 || r.first > r.wall {
		t.Errorf("%+v", r)
	}
	if _, err := measure(t.Context(), nil, "/nosuch"); err == nil {
		t.Error("a program that is not there was run")
	}
}

// Given what blockrig says with --timing, then what it took itself is read.
func TestCost(t *testing.T) {
	said := "records: /x\nblockrig itself: 1.25 s of CPU time, 4.5% of 27.80 s in all;\n83 MiB of memory at most\n"
	if got, err := (run{said: said}).cost(); err != nil || got != (cost{1.25, 4.5, 83}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := (run{said: "records: /x\n"}).cost(); err == nil {
		t.Error("nothing was taken for a cost")
	}
}
