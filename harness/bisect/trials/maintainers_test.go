package trials

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/bisect"
)

const aMaintainers = `List of maintainers
===================

	M: *Mail* patches to: FullName <address@domain>
	F: *Files* and directories wildcard patterns.

Maintainers List
----------------

BLOCK LAYER
M:	Jens Axboe <axboe@kernel.dk>
L:	linux-block@vger.kernel.org (moderated for non-subscribers)
S:	Maintained
F:	block/
F:	include/linux/blk*

DEVICE-MAPPER  (LVM)
M:	Alasdair Kergon <agk@redhat.com>
M:	"Mikulas, Patocka" <mpatocka@redhat.com>
R:	A Reviewer <reviewer@example.org>
L:	dm-devel@lists.linux.dev
F:	Documentation/admin-guide/device-mapper/
F:	drivers/md/dm*
X:	drivers/md/dm-vdo/
X:	drivers/md/dm-secret.c
N:	device.mapper

DEVICE-MAPPER VDO
M:	V <vdo@example.org>
F:	drivers/md/dm-vdo/

EVIL
M:	Bad <bad@example.org>, x@example.org
M:	No Address
M:	Two` + "\x1b[31m" + ` <evil@example.org>
L:	list@example.org>
N:	(unclosed
F:	drivers/md/dm-raid1.c

FILES OF A FOLDER
M:	Only <only@example.org>
F:	kernel/*
F:	*/net/

THE REST
M:	Linus Torvalds <torvalds@linux-foundation.org>
L:	linux-kernel@vger.kernel.org
F:	*
F:	*/
`

// Given the MAINTAINERS file of the sources, then those to write to about a
// change are its files' as scripts/get_maintainer.pl has them, and nothing
// gets into a header that is no address.
func TestMaintainersOfFiles(t *testing.T) {
	dm := bisect.People{
		Maintainers: []string{"Alasdair Kergon <agk@redhat.com>", `"Mikulas, Patocka" <mpatocka@redhat.com>`},
		Others:      []string{"A Reviewer <reviewer@example.org>"},
		Lists:       []string{"dm-devel@lists.linux.dev"},
	}
	block := bisect.People{Maintainers: []string{"Jens Axboe <axboe@kernel.dk>"}, Lists: []string{"linux-block@vger.kernel.org"}}
	both := bisect.People{
		Maintainers: append(append([]string{}, dm.Maintainers...), block.Maintainers...), Others: dm.Others,
		Lists: append(append([]string{}, dm.Lists...), block.Lists...),
	}
	only := bisect.People{Maintainers: []string{"Only <only@example.org>"}}
	rest := bisect.People{Lists: []string{"linux-kernel@vger.kernel.org"}}
	evil := dm
	evil.Maintainers = append(append([]string{}, dm.Maintainers...), "Bad <bad@example.org>")
	for _, tc := range []struct {
		files []string
		want  bisect.People
	}{
		{[]string{"block/bio.c", "block/partitions/x/y.c"}, block},
		{[]string{"include/linux/blkdev.h"}, block},
		{[]string{"include/linux/blk/deeper.h"}, rest}, // a pattern without a slash at its end covers its depth
		{[]string{"drivers/md/dm-io.c"}, dm},
		{[]string{"drivers/md/dm-vdo/x.c"}, bisect.People{Maintainers: []string{"V <vdo@example.org>"}}},
		{[]string{"drivers/md/dm-secret.c"}, rest},
		{[]string{"tools/device-mapper.sh"}, dm}, // N:
		{[]string{"drivers/md/dm-io.c", "drivers/md/dm.c", "block/bio.c"}, both},
		{[]string{"drivers/md/dm-raid1.c"}, evil},
		{[]string{"kernel/fork.c"}, only},
		{[]string{"kernel/sched/core.c"}, rest},
		{[]string{"drivers/net/tun.c"}, only},
		{[]string{"README"}, rest},
		{nil, bisect.People{}},
	} {
		if diff := cmp.Diff(tc.want, peopleOf(aMaintainers, tc.files)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.files, diff)
		}
	}
	if got := peopleOf("", []string{"block/bio.c"}); !cmp.Equal(got, bisect.People{}) {
		t.Errorf("without a file: %+v", got)
	}
}

// Given a change of everything, then there is a limit to whom it is sent.
func TestMaintainersAreNotAll(t *testing.T) {
	var text strings.Builder
	for i := range 1000 {
		text.WriteString("S\nM:\tA <a" + strings.Repeat("x", i%60) + string(rune('a'+i%26)) + "@example.org>\nF:\tf\n\n")
	}
	p := peopleOf(text.String(), []string{"f"})
	if len(p.Maintainers) != maxPeople || p.Left == 0 {
		t.Errorf("%d, and %d left", len(p.Maintainers), p.Left)
	}
}

func TestMailbox(t *testing.T) {
	for in, want := range map[string]string{
		"A B <a@b.example>":             "A B <a@b.example>",
		"a@b.example":                   "a@b.example",
		"A. B. <a@b.example>":           `"A. B." <a@b.example>`,
		"Ätna Ö <a@b.example> # 6.1":    "Ätna Ö <a@b.example>",
		`"Q, R" <q@r.example>`:          `"Q, R" <q@r.example>`,
		"A\nBcc: x@y.example <a@b.c>":   `"A Bcc: x@y.example" <a@b.c>`,
		"A <a@b.example\nBcc: x@y.com>": "",
		"A \u202e <a@b.example>":        "",
		"A <a b@c.example>":             "",
		"nobody":                        "",
		"":                              "",
		strings.Repeat("x", 300) + "@y": "",
	} {
		if got := mailbox(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
