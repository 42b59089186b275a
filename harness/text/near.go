package text

import (
	"slices"
	"strings"
)

// Near gives those of names that a person may have meant by word, best first:
// names that differ in few characters, or hold the word.
func Near(word string, names []string) []string {
	if len(word) > 100 {
		return nil
	}
	type guess struct {
		name string
		far  int
	}
	var guesses []guess
	for _, name := range names {
		far := distance(word, name)
		within := len(word) >= 3 && strings.Contains(name, word)
		if far <= max(1, len(word)/3) || within {
			guesses = append(guesses, guess{name, far})
		}
	}
	slices.SortStableFunc(guesses, func(a, b guess) int { return a.far - b.far })
	out := make([]string, len(guesses))
	for i, g := range guesses {
		out[i] = g.name
	}
	return out
}

// DidYouMean is " (did you mean NAME?)" for the name that is nearest to word; ""
// when none is near.
func DidYouMean(word string, names []string) string {
	if guesses := Near(word, names); len(guesses) > 0 {
		return " (did you mean " + guesses[0] + "?)"
	}
	return ""
}

// distance is how many bytes have to be put in, left out, replaced, or changed
// with the next one, to make b of a.
func distance(a, b string) int {
	// Rows of the table before the last, the last and this one.
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
