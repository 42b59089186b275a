package hunt

import (
	"slices"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// A rule says which other answers than all of the data are right for an
// operation.
type rule struct {
	holds   func(o scenarios.IO, on Stack) bool
	answers []string // errnos, or "short"
}

func flag(name string) func(scenarios.IO, Stack) bool {
	return func(o scenarios.IO, _ Stack) bool { return slices.Contains(o.Flags, name) }
}

// rules are the documented limits of stacks. One that holds for a program makes
// its answers right, whatever another stack answers.
var rules = []rule{
	{ // O_DIRECT restricts address, length and offset, and how much differs from device to device; what one can't take is EINVAL (open(2))
		func(o scenarios.IO, on Stack) bool { return o.Direct && o.Transfers() && !o.Aligned(on.Block()) },
		[]string{"EINVAL"},
	},
	{ // what is not a multiple of the logical block is EINVAL (blkdiscard(8), fallocate(2))
		func(o scenarios.IO, on Stack) bool {
			return !o.Transfers() && !on.OnFile() && (o.Offset%on.Block() != 0 || o.Length%on.Block() != 0)
		},
		[]string{"EINVAL"},
	},
	{ // a device need not take discards (ioctl BLKDISCARD)
		func(o scenarios.IO, _ Stack) bool { return o.Op == "discard" },
		[]string{"ENOTSUP"},
	},
	{ // a device or file system need not have the mode (fallocate(2))
		func(o scenarios.IO, _ Stack) bool { return o.Op == "fallocate" },
		[]string{"ENOTSUP"},
	},
	{ // RWF_NOWAIT need not be possible, and what would wait is EAGAIN or ends early (preadv2(2))
		flag("NOWAIT"),
		[]string{"EAGAIN", "ENOTSUP", "short"},
	},
	{ // f2fs does not declare FOP_BUFFER_WASYNC: a buffered write that must not wait is EINVAL then (generic_write_checks_count in fs/read_write.c)
		func(o scenarios.IO, on Stack) bool {
			return slices.Contains(o.Flags, "NOWAIT") && o.Writes() && !o.Direct && on.top() == "f2fs"
		},
		[]string{"EINVAL"},
	},
	{ // RWF_HIPRI needs a device that can be polled (preadv2(2))
		flag("HIPRI"),
		[]string{"ENOTSUP"},
	},
	{ // RWF_ATOMIC needs O_DIRECT, a device that can do it, and a length of a power of two that it allows (pwritev2(2))
		flag("ATOMIC"),
		[]string{"EINVAL", "ENOTSUP"},
	},
	{ // a buffer with a page that is not mapped is EFAULT (read(2))
		func(o scenarios.IO, _ Stack) bool { return o.Unmapped },
		[]string{"EFAULT"},
	},
	{ // or what came before that page moves
		func(o scenarios.IO, _ Stack) bool { return o.Unmapped && o.MemoryOffset+o.Length > guestPage },
		[]string{"short"},
	},
}

// limitsOf are the other answers than all of the data that are right for an
// operation.
func limitsOf(o scenarios.IO, on Stack) (answers []string) {
	for _, r := range rules {
		if r.holds(o, on) {
			answers = append(answers, r.answers...)
		}
	}
	return answers
}

// guestPage is that of x86, in bytes.
const guestPage = 4096

// right says whether an answer (see engine.Sweeper) is right for an operation. Of
// none of the bytes it never is: where something is to move, an error says why
// nothing did.
func right(o scenarios.IO, on Stack, answer string) bool {
	if answer == "short 0" {
		return false
	}
	if strings.HasPrefix(answer, "short ") {
		answer = "short"
	}
	return answer == "" || slices.Contains(limitsOf(o, on), answer)
}

// expectOf is the same for a scenario.
func expectOf(o scenarios.IO, on Stack) scenarios.Expect {
	outcomes := []string{"data"}
	for _, a := range limitsOf(o, on) {
		if !slices.Contains(outcomes, a) {
			outcomes = append(outcomes, a)
		}
	}
	if o.Aligned(dmaAlignment + 1) {
		return scenarios.Expect{Aligned: outcomes}
	}
	return scenarios.Expect{Misaligned: outcomes}
}
