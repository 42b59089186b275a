package verdict

import (
	"strings"

	"github.com/blockrig/blockrig/harness/console"
)

// Where gives the guilty function of a stack as /proc/PID/stack shows it:
// lines of "function+0x1/0x2 [module]", bare addresses among them. "" when
// there is none.
func Where(stack []string) string {
	var functions []string
	for _, line := range stack {
		f, _, _ := strings.Cut(line, "+")
		if f = strings.TrimSpace(f); !strings.HasPrefix(f, "0x") {
			functions = append(functions, f)
		}
	}
	return console.Guilty(functions)
}
