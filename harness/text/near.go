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

// distance is the Levenshtein distance, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
