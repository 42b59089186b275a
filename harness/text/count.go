package text

import (
	"fmt"
	"strings"
)

// Count is a number of things, of which thing is the name of one: "1 byte",
// "2 passes".
func Count[N int | int64](n N, thing string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(thing, "s"):
		thing += "es"
	default:
		thing += "s"
	}
	return fmt.Sprint(n, " ", thing)
}
