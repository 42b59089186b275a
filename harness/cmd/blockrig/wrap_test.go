package main

import "testing"

func TestFold(t *testing.T) {
	for _, c := range []struct {
		name, text string
		width      int
		want       string
	}{
		{"no terminal", "one two three four five six", 0, "one two three four five six"},
		{"fits", "one two three four", 20, "one two three four"},
		{"breaks at spaces", "one two three four five six", 20, "one two three four\nfive six"},
		{"keeps the indent", "off:\n  one two three four five six", 22, "off:\n  one two three four\n  five six"},
		{"keeps a path whole", "records: /a/path/that/is/longer/than/the/terminal", 20, "records:\n/a/path/that/is/longer/than/the/terminal"},
		{"counts characters", "äöü äöü äöü äöü äöü", 20, "äöü äöü äöü äöü äöü"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := fold(c.text, c.width); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}
