package scenarios

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// units of a size, smallest first.
var units = []struct {
	suffix string
	bytes  int64
}{
	{"", 1},
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
}

// ErrSize says what a size may look like.
var ErrSize = errors.New("is no size; write bytes or a whole number of KiB, MiB or GiB: 4096, 64KiB, 64MiB, 1GiB")

// ParseBytes reads a size: decimal digits, then nothing, KiB, MiB or GiB.
func ParseBytes(text string) (Bytes, error) {
	digits := strings.TrimRight(text, "KMGTiBbgmkt")
	n, ok := ParseInt(digits)
	if !ok || strings.HasPrefix(digits, "-") {
		return 0, ErrSize
	}
	for _, unit := range units {
		if text[len(digits):] != unit.suffix {
			continue
		}
		if n > math.MaxInt64/unit.bytes {
			return 0, errors.New("is too large")
		}
		return Bytes(n * unit.bytes), nil
	}
	return 0, ErrSize
}

// String writes a size in the largest unit that divides it.
func (b Bytes) String() string {
	for i := len(units) - 1; i > 0; i-- {
		if unit := units[i]; b != 0 && int64(b)%unit.bytes == 0 {
			return strconv.FormatInt(int64(b)/unit.bytes, 10) + unit.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// ParseInt reads a decimal integer and nothing else: YAML's 0x10, 0o17, 010
// and 1_000 mean different things to different readers.
func ParseInt(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == text
}
