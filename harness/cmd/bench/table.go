package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/blockrig/blockrig/harness/text"
)

// A row is a figure beside what is to be reached.
type row struct {
	what  string
	unit  string // s, ms, x (a ratio), %, MB, MB/s
	value float64
	limit float64 // 0: none
	least bool    // the limit is the least, not the most
	note  string
}

func (r row) reached() bool {
	if r.least {
		return r.value >= r.limit
	}
	return r.value <= r.limit
}

func (r row) cells() (measured, target, verdict string) {
	measured = number(r.value) + " " + r.unit
	if r.limit == 0 {
		return measured, "-", ""
	}
	target = "at most "
	if r.least {
		target = "at least "
	}
	target += number(r.limit) + " " + r.unit
	verdict = "missed"
	if r.reached() {
		verdict = "reached"
	}
	return measured, target, verdict
}

// number gives three digits that mean something.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func printTable(w io.Writer, rows []row) error {
	t := text.Table{Head: []string{"WHAT", "MEASURED", "TARGET", "", "NOTE"}}
	for _, r := range rows {
		measured, target, verdict := r.cells()
		t.Add(r.what, measured, target, verdict, r.note)
	}
	return t.Write(w)
}

// median is the middle one, or the mean of the two in the middle; 0 of none.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return 0
	}
	return (v[(n-1)/2] + v[n/2]) / 2
}
