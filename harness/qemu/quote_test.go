package qemu

import "testing"

func TestQuoteIsFitForATerminal(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"plain text", 100, "plain text"},
		{"two\r\nlines\n", 100, "two  lines"},
		{"\x1b[31mred\x07", 100, `\x1b[31mred\x07`},
		{"\xff\xfe", 100, `\xff\xfe`},
		{"\u202egnp", 100, `\xe2\x80\xaegnp`}, // turns the reading direction round
		{"\u009b2J", 100, `\xc2\x9b2J`},       // CSI in one rune
		{"größe", 100, "größe"},
		{"0123456789abc", 10, "0123456789…"},
	} {
		if got := Quote([]byte(tt.in), tt.limit); got != tt.want {
			t.Errorf("Quote(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}
