package engine

import (
	"bytes"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/initramfs/protocol"
)

// The pattern shows a hole, a shift and a swap of sectors.
func TestPattern(t *testing.T) {
	const n = 64 << 10
	seen := map[string]int64{}
	for at := int64(0); at < n; at += 512 {
		var b strings.Builder
		for i := range int64(512) {
			c := protocol.Pattern(at + i)
			if c == 0 {
				t.Fatalf("byte %d is zero, as a hole's", at+i)
			}
			b.WriteByte(c)
		}
		if other, ok := seen[b.String()]; ok {
			t.Fatalf("the sectors at %d and %d are the same", other, at)
		}
		seen[b.String()] = at
	}
}

// Given what may stand where, when bytes are looked at, then the first that is
// wrong is found, and what stands there is named.
func TestTheOracleNamesWhatIsWrong(t *testing.T) {
	const at, n = 8192, 4096
	written := func(g uint32, from int64) []byte {
		b := make([]byte, n)
		protocol.Fill(b, g, from)
		return b
	}
	put := func(b []byte, from int, with []byte) []byte {
		copy(b[from:], with)
		return b
	}
	of := func(g ...uint32) []protocol.Extent {
		return []protocol.Extent{{Offset: 0, Length: 1 << 20, Generations: g}}
	}
	whole := of(1, 2)
	whole[0].Whole = true
	mix := []protocol.Extent{{Offset: 0, Length: 1 << 20, Mixed: []uint32{1}}}
	zeroOr := of(2)
	zeroOr[0].Zero = true
	part := []protocol.Extent{{Offset: at + 1000, Length: 100, Generations: []uint32{2}}}
	for name, tt := range map[string]struct {
		may   []protocol.Extent
		got   []byte
		wrong int64
		kind  string
	}{
		"what was written":                  {of(2), written(2, at), -1, ""},
		"either of two":                     {of(1, 2), put(written(2, at), 512, written(1, at+512)[:512]), -1, ""},
		"an older write":                    {of(2), put(written(2, at), 1024, written(1, at+1024)[:512]), 1024, stale},
		"what stood there first":            {of(2), written(0, at), 0, stale},
		"another place":                     {of(2), put(written(2, at), 512, written(2, 512)[:512]), 512, otherPlace},
		"an older write of another place":   {of(2), written(1, 65536), 0, otherPlace},
		"a mix of two that may be mixed":    {mix, put(put(written(1, at), 100, written(2, at+100)[:50]), 700, written(2, at+700)[:1]), -1, ""},
		"one of two that may be mixed":      {mix, written(2, at), -1, ""},
		"a third in a mix":                  {mix, put(written(1, at), 512, written(0, at+512)[:512]), 512, stale},
		"garbage in a mix":                  {mix, put(written(1, at), 600, bytes.Repeat([]byte{0x7f}, 100)), 600, garbage},
		"a sector in two parts":             {of(2), put(written(2, at), 512+200, written(1, at+512+200)[:312]), 712, torn},
		"a sector in two parts that may be": {of(1, 2), put(written(2, at), 200, written(1, at+200)[:312]), 200, torn},
		"zeroes":                            {of(2), put(written(2, at), 3584, make([]byte, 512)), 3584, zero},
		"zeroes that may be":                {zeroOr, put(written(2, at), 3584, make([]byte, 512)), -1, ""},
		"the end of a sector zeroed":        {of(2), put(written(2, at), 3800, make([]byte, 296)), 3800, torn},
		"a flipped bit":                     {of(2), put(written(2, at), 4095, []byte{written(2, at)[4095] ^ 1}), 4095, garbage},
		"a write that is not whole":         {whole, put(written(2, at), 512, written(1, at+512)), 512, torn},
		"one that is":                       {whole, written(1, at), -1, ""},
		"nothing is known":                  {nil, make([]byte, n), -1, ""},
		"a part is known, and wrong":        {part, put(written(2, at), 1010, []byte("xxxxxxxxxxxxx")), 1010, garbage},
		"a part is known, and right":        {part, put(written(2, at), 0, make([]byte, 1000)), -1, ""},
	} {
		o := oracle{tt.may, 2, 1 << 20}
		if wrong, kind := o.check(tt.got, at); wrong != tt.wrong || kind != tt.kind {
			t.Errorf("%s: byte %d, %q; want %d, %q", name, wrong, kind, tt.wrong, tt.kind)
		}
	}
}
