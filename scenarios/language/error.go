package language

import (
	"fmt"
	"unicode/utf8"

	"github.com/blockrig/blockrig/harness/text"
)

// An Error is what is wrong with a scenario file, and where.
type Error struct {
	File string // as it was named
	Line int    // from 1
	Msg  string // what is wrong and what is allowed, one line
}

// Error gives FILE:LINE: message.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d: %s", text.Escape(e.File), e.Line, e.Msg)
}

// quote makes a value of a file fit for a message: escaped, and cut to 40
// runes.
func quote(value string) string {
	if utf8.RuneCountInString(value) > 40 {
		value = string([]rune(value)[:40]) + "…"
	}
	return fmt.Sprintf("%q", value)
}
