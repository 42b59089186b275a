package scenarios

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// An Error is what is wrong with a scenario file, and where.
type Error struct {
	File string // as it was named
	Line int    // from 1
	Msg  string // what is wrong and what is allowed, one line
}

// Error gives FILE:LINE: message.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d: %s", quoteBare(e.File), e.Line, e.Msg)
}

// quoteBare makes a name fit for a message, without quotes around it.
func quoteBare(s string) string {
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// quote makes a value of a file fit for a message: escaped, and cut to 40
// runes.
func quote(value string) string {
	if utf8.RuneCountInString(value) > 40 {
		value = string([]rune(value)[:40]) + "…"
	}
	return fmt.Sprintf("%q", value)
}
