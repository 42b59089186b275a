package review

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"mime/quotedprintable"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/child/childtest"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// A linux is a repository with the Makefiles of a few folders.
type linux struct {
	t    *testing.T
	dir  string
	base string
	*gitcmd.Repo
}

var files = map[string]string{
	"drivers/md/Makefile": `# comment
dm-mod-y	+= dm.o dm-table.o dm-target.o \
		   dm-ioctl.o
dm-mirror-y	+= dm-raid1.o
md-mod-y	+= md.o md-bitmap.o
raid456-y	+= raid5.o raid5-cache.o

obj-$(CONFIG_MD_RAID1)		+= raid1.o
obj-$(CONFIG_MD_RAID456)	+= raid456.o
obj-$(CONFIG_BLK_DEV_MD)	+= md-mod.o
obj-$(CONFIG_BLK_DEV_DM)	+= dm-mod.o
obj-$(CONFIG_DM_MIRROR)		+= dm-mirror.o dm-log.o dm-region-hash.o
obj-$(CONFIG_BCACHE)		+= bcache/
`,
	"drivers/md/bcache/Makefile": "obj-y := bcache.o\nbcache-y := super.o\n",
	"drivers/md/dm-raid1.c":      "int mirror;\n",
	"drivers/md/raid1.c":         "int raid1;\n",
	"block/Makefile":             "obj-y := bio.o\n",
	"block/bio.c":                "int bio;\n",
	"net/Makefile":               "obj-$(CONFIG_NET) := socket.o\n",
	"net/socket.c":               "int socket;\n",
}

func newLinux(t *testing.T) *linux {
	l := &linux{t: t, dir: t.TempDir()}
	l.git("init", "-q", "-b", "master")
	for name, text := range files {
		l.write(name, text)
	}
	l.base = l.commit("base")
	l.open()
	return l
}

// open reads the repository as it is now.
func (l *linux) open() {
	l.t.Helper()
	var err error
	if l.Repo, err = gitcmd.Open(l.t.Context(), l.t.TempDir(), l.dir); err != nil {
		l.t.Fatal(err)
	}
}

func (l *linux) git(args ...string) string {
	l.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", l.dir, "-c", "user.name=T", "-c", "user.email=t@t.example", "-c", "commit.gpgsign=false"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (l *linux) write(name, text string) {
	l.t.Helper()
	p := filepath.Join(l.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), 0o644)); err != nil {
		l.t.Fatal(err)
	}
}

func (l *linux) commit(subject string, more ...string) string {
	l.t.Helper()
	l.git("add", "-A")
	l.git(append([]string{"commit", "-q", "--allow-empty", "-m", subject}, more...)...)
	return l.git("rev-parse", "HEAD")
}

// change commits a change of each file, and gives the first commit.
func (l *linux) change(names ...string) (first string) {
	l.t.Helper()
	for i, name := range names {
		l.write(name, files[name]+"int more;\n")
		commit := l.commit(fmt.Sprintf("change %s", name))
		if i == 0 {
			first = commit
		}
	}
	return first
}

func (l *linux) read(mail string, more Source) (*Series, error) {
	l.open()
	more.Mail = strings.NewReader(mail)
	return Read(l.t.Context(), l.Repo, more, l.t.TempDir())
}

// Given a series as mails, then the base is that of the mail, or the one that
// is named.
func TestSeriesOfMails(t *testing.T) {
	l := newLinux(t)
	l.change("drivers/md/dm-raid1.c", "drivers/md/raid1.c")
	mails := l.git("format-patch", "--stdout", "--base="+l.base, l.base)
	s, err := l.read(mails, Source{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Base != l.base || len(s.Patches) != 2 || !slices.Equal(s.Paths, []string{"drivers/md/dm-raid1.c", "drivers/md/raid1.c"}) {
		t.Errorf("got %+v", s)
	}
	if err := trials.CheckApply(t.Context(), l.Repo, s.Base, nil, s.Patches, t.TempDir()); err != nil {
		t.Error(err)
	}
	plain := l.git("format-patch", "--stdout", l.base)
	if _, err := l.read(plain, Source{}); !errors.Is(err, ErrNoBase) {
		t.Errorf("without a base: %v", err)
	}
	if s, err := l.read(plain, Source{Base: "master~2"}); err != nil || s.Base != l.base {
		t.Errorf("named: %v", err)
	}
}

// Given a cover letter from b4, then the patches are those of the branch that
// b4 has checked out, without b4's own commit at its tip.
func TestSeriesOfB4(t *testing.T) {
	l := newLinux(t)
	first := l.change("drivers/md/dm-raid1.c", "block/bio.c")
	l.commit("cover letter", "-m", "--- b4-review-tracking ---")
	l.git("branch", "b4/review/20261126-fix-1234")
	tracking := filepath.Join(t.TempDir(), "tracking.json")
	record := func(base, first, change string) {
		text := fmt.Sprintf(`{"series": {"base-commit": %q, "first-patch-commit": %q, "change-id": %q, "revision": 1}, "patches": []}`, base, first, change)
		if err := os.WriteFile(tracking, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const cover = "From: A <a@example.org>\nSubject: [PATCH 0/2] fix\n\nTwo fixes.\n"
	record(l.base, first, "20261126-fix-1234")
	s, err := l.read(cover, Source{Tracking: tracking})
	if err != nil {
		t.Fatal(err)
	}
	if s.Base != l.base || len(s.Patches) != 2 || !slices.Equal(s.Paths, []string{"block/bio.c", "drivers/md/dm-raid1.c"}) {
		t.Errorf("got %+v", s)
	}
	if _, err := l.read(cover, Source{}); !errors.Is(err, ErrNothing) {
		t.Errorf("a cover letter alone: %v", err)
	}
	for _, bad := range [][3]string{
		{l.base, "--output=/tmp/x", "20261126-fix-1234"},
		{"--help", first, "20261126-fix-1234"},
		{l.base, first, "../../heads/master"},
		{l.base, first, "x --output=y"},
	} {
		record(bad[0], bad[1], bad[2])
		if s, err := l.read(cover, Source{Tracking: tracking}); err == nil {
			t.Errorf("%q: %+v", bad, s)
		}
	}
}

// encodedMail is a mail whose text is encoded, with the line ends of mails.
func encodedMail(subject, encoding, text string) string {
	body := text
	switch encoding {
	case "base64":
		body = base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
		for i := 76; i < len(body); i += 78 {
			body = body[:i] + "\r\n" + body[i:]
		}
	case "quoted-printable":
		var b strings.Builder
		w := quotedprintable.NewWriter(&b)
		if _, err := w.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n"))); err != nil {
			panic(err) // a strings.Builder takes all
		}
		if err := w.Close(); err != nil {
			panic(err)
		}
		body = b.String()
	}
	return "From: A <a@example.org>\r\nSubject: " + subject + "\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n" +
		"Content-Transfer-Encoding: " + encoding + "\r\n\r\n" + body + "\r\n"
}

// Given mails that are encoded, with the line ends of mails, then patch and base
// are found in them, and the patch applies.
func TestEncodedMails(t *testing.T) {
	l := newLinux(t)
	l.change("drivers/md/dm-raid1.c")
	patch := l.git("format-patch", "--stdout", "--base="+l.base, l.base)
	_, text, _ := strings.Cut(patch, "\n\n")
	for _, encoding := range []string{"base64", "quoted-printable", "8bit"} {
		s, err := l.read(encodedMail("[PATCH] dm: x", encoding, "Grüße.\n\n"+text+"\n"), Source{})
		if err != nil {
			t.Errorf("%s: %v", encoding, err)
			continue
		}
		if s.Base != l.base || !slices.Equal(s.Paths, []string{"drivers/md/dm-raid1.c"}) {
			t.Errorf("%s: %+v", encoding, s)
		}
		if err := trials.CheckApply(t.Context(), l.Repo, s.Base, nil, s.Patches, t.TempDir()); err != nil {
			t.Errorf("%s: %v", encoding, err)
		}
	}
}

// Given an encoded cover letter, then the patches are those that b4 has checked
// out, and without b4 there are none.
func TestEncodedCoverLetter(t *testing.T) {
	l := newLinux(t)
	first := l.change("drivers/md/dm-raid1.c")
	l.commit("cover letter")
	l.git("branch", "b4/review/20261126-fix-1234")
	tracking := filepath.Join(t.TempDir(), "tracking.json")
	if err := os.WriteFile(tracking, fmt.Appendf(nil, `{"series": {"base-commit": %q, "first-patch-commit": %q, "change-id": "20261126-fix-1234"}}`, l.base, first), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, encoding := range []string{"base64", "quoted-printable"} {
		cover := encodedMail("[PATCH 0/1] fix", encoding, "Grüße, one fix.\n")
		if s, err := l.read(cover, Source{Tracking: tracking}); err != nil || len(s.Patches) != 1 {
			t.Errorf("%s: %+v, %v", encoding, s, err)
		}
		if _, err := l.read(cover, Source{}); !errors.Is(err, ErrNothing) {
			t.Errorf("%s, without b4: %v", encoding, err)
		}
	}
}

// Given a patch that renames a file and changes nothing of it, then it is one.
func TestRename(t *testing.T) {
	l := newLinux(t)
	l.git("mv", "drivers/md/dm-raid1.c", "drivers/md/dm-mirror.c")
	l.commit("rename")
	s, err := l.read(l.git("format-patch", "--stdout", "--base="+l.base, l.base), Source{})
	if err != nil || !slices.Equal(s.Paths, []string{"drivers/md/dm-mirror.c", "drivers/md/dm-raid1.c"}) {
		t.Errorf("%+v, %v", s, err)
	}
}

// Given what is no series, then the error says why, and that it is the mail's.
func TestMailsThatCantBeUsed(t *testing.T) {
	l := newLinux(t)
	l.change("drivers/md/dm-raid1.c")
	mails := l.git("format-patch", "--stdout", "-v1", "--start-number=1", "-n", "--base="+l.base, l.base) + "\n\n" +
		l.git("format-patch", "--stdout", "-v2", "-n", "--base="+l.base, l.base) + "\n"
	for name, tt := range map[string]struct{ mail, want string }{
		"two versions":          {mails, "versions 1 and 2 of a series"},
		"a base from elsewhere": {strings.ReplaceAll(l.git("format-patch", "--stdout", "--base="+l.base, l.base), l.base, strings.Repeat("a", 40)), "the base of the series: no commit"},
		"a huge one":            {strings.Repeat("x", maxMail+1), "more than 33554432 bytes"},
	} {
		_, err := l.read(tt.mail, Source{})
		var mail *MailError
		if !errors.As(err, &mail) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want a MailError with %q", name, err, tt.want)
		}
	}
	for name, mail := range map[string]string{
		"nothing": "", "a text": "hello\nworld\n", "a mail": "From: A <a@example.org>\nSubject: lunch\n\nAt noon?\n", "bytes": "\x00\xff\xfe\x1b[31m\n\x00",
		"an encoded mail": encodedMail("Re: lunch", "base64", "At noon.\n"),
	} {
		if _, err := l.read(mail, Source{}); !errors.Is(err, ErrNothing) {
			t.Errorf("%s: %v, want ErrNothing", name, err)
		}
	}
	var mail *MailError
	if _, err := l.read(l.git("format-patch", "--stdout", l.base), Source{Base: "no-such-commit"}); err == nil || errors.As(err, &mail) {
		t.Errorf("a base that the user names is not the mail's: %v", err)
	}
}

// Given paths, then the scenarios that are concerned are those that need what
// the tree's Makefiles build of them.
func TestConcerned(t *testing.T) {
	l := newLinux(t)
	names, err := language.Names()
	if err != nil {
		t.Fatal(err)
	}
	var all []scenarios.Case
	for _, n := range names {
		sc, err := language.Load(n)
		if err != nil {
			t.Fatal(err)
		}
		cases, err := language.Cases(sc, nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, cases...)
	}
	concerned := func(paths ...string) map[string]int {
		cases, err := Concerned(t.Context(), l.Repo, &Series{Base: l.base, Paths: paths}, all, 1000)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]int{}
		for _, c := range cases {
			out[c.Scenario.Name]++
		}
		return out
	}
	for _, tc := range []struct {
		path      string
		with, not string
	}{
		{"drivers/md/dm-raid1.c", "lvm-mirror-dio-read", "md-raid1-dio-read"},
		{"drivers/md/raid1.c", "md-raid1-dio-read", "lvm-mirror-dio-read"},
		{"drivers/md/md-bitmap.c", "md-raid1-dio-read", "plain-dio-read"},
		{"drivers/md/dm-table.c", "lvm-linear-dio-read", "plain-dio-read"},
		{"drivers/md/raid5.c", "museum-md-raid1-takeover-hang", "lvm-mirror-dio-read"},
		{"block/bio.c", "plain-dio-read", ""},
	} {
		got := concerned(tc.path)
		if got[tc.with] == 0 || got[tc.not] != 0 {
			t.Errorf("%s: %v", tc.path, got)
		}
	}
	for _, path := range []string{"net/socket.c", "drivers/md/bcache/super.c", "Documentation/x.rst", "no/such/file.c"} {
		if got := concerned(path); len(got) != 0 {
			t.Errorf("%s: %v", path, got)
		}
	}
	few, err := Concerned(t.Context(), l.Repo, &Series{Base: l.base, Paths: []string{"drivers/md/dm-raid1.c"}}, all, 3)
	if err != nil || len(few) != 3 {
		t.Errorf("at most three: %d, %v", len(few), err)
	}
}

func answer(e bisect.Effect, base, patched int) trials.CaseResult {
	return trials.CaseResult{Scenario: "lvm-mirror-dio-read", Case: "length=512", PatchResult: bisect.PatchResult{
		Effect: e, Base: bisect.Side{Runs: 12, Fails: base}, Patched: bisect.Side{Runs: 12, Fails: patched},
	}}
}

func twoScenarios() []scenarios.Case {
	return []scenarios.Case{{Scenario: &scenarios.Scenario{Name: "a"}}, {Scenario: &scenarios.Scenario{Name: "b"}}}
}

// Given what was seen, then what got worse fails, what is not known warns, and
// what fails without the series, too, passes.
func TestStatus(t *testing.T) {
	for _, tc := range []struct {
		cases  []trials.CaseResult
		status Status
		says   string
	}{
		{[]trials.CaseResult{answer(bisect.Nothing, 0, 0)}, Pass, "changes nothing"},
		{[]trials.CaseResult{answer(bisect.Nothing, 12, 12)}, Pass, "still fails"},
		{[]trials.CaseResult{answer(bisect.Helps, 12, 0)}, Pass, "helps"},
		{[]trials.CaseResult{answer(bisect.Unclear, 1, 2)}, Warn, "not clear"},
		{[]trials.CaseResult{answer(bisect.Helps, 12, 0), answer(bisect.Harms, 0, 12)}, Fail, "harms 1 of 2"},
	} {
		r, err := Check(t.Context(), twoScenarios()[:1], time.Hour, func(context.Context, []scenarios.Case) (trials.PatchAnswer, error) {
			return trials.PatchAnswer{Cases: tc.cases}, nil
		})
		if err != nil || r.Status != tc.status || !strings.Contains(r.Summary, tc.says) || r.Tool != "blockrig" || strings.Contains(r.Summary, "\n") {
			t.Errorf("%+v: %+v, %v", tc.cases, r, err)
		}
	}
}

// Given a series that does not build, then that is its failure; a base that
// does not build is not.
func TestKernelThatDoesNotBuild(t *testing.T) {
	for patched, want := range map[bool]Status{true: Fail, false: Warn} {
		r, err := Check(t.Context(), twoScenarios(), time.Hour, func(context.Context, []scenarios.Case) (trials.PatchAnswer, error) {
			return trials.PatchAnswer{}, &trials.NoKernelError{Patched: patched, Why: "dm.c:3: error: x\x1b[31m"}
		})
		if err != nil || r.Status != want || strings.Contains(r.Summary, "\x1b") {
			t.Errorf("patched %v: %+v, %v", patched, r, err)
		}
	}
}

// Given that the time is up, then what was tried counts, and what was not is
// said; an interrupt is none of that.
func TestTimeIsUp(t *testing.T) {
	done := 0
	try := func(ctx context.Context, _ []scenarios.Case) (trials.PatchAnswer, error) {
		if done++; done == 2 {
			<-ctx.Done()
			return trials.PatchAnswer{}, ctx.Err()
		}
		return trials.PatchAnswer{Cases: []trials.CaseResult{answer(bisect.Nothing, 0, 0)}}, nil
	}
	r, err := Check(t.Context(), twoScenarios(), 50*time.Millisecond, try)
	if err != nil || r.Status != Warn || !strings.Contains(r.Summary, "1 case was not tried within 50ms") {
		t.Errorf("%+v, %v", r, err)
	}
	done = 1
	if r, err := Check(t.Context(), twoScenarios(), 50*time.Millisecond, try); err != nil || r.Status != Warn || !strings.Contains(r.Summary, "nothing could be tried") {
		t.Errorf("%+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Check(ctx, twoScenarios(), time.Hour, try); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// Given a disk with ever more room on it, when a mail is read and its series applied
// there, then that is done or the disk is said to be full, and never something to be
// wrong with the mail.
func TestAFullDiskIsNoFaultOfTheMail(t *testing.T) {
	const size, page = 1 << 20, 4096
	disk := childtest.OnSmallDisk(t, size)
	if disk == "" {
		return
	}
	l := newLinux(t)
	l.write("block/bio.c", strings.Repeat("int more_and_more_and_more;\n", 500))
	l.commit("much")
	mail := l.git("format-patch", "--stdout", "--base="+l.base, l.base)
	l.open()
	full, read := 0, 0
	for room := 0; read == 0 && room < size/page; room++ {
		dir := filepath.Join(disk, "series")
		ballast := filepath.Join(disk, "ballast")
		if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755), os.WriteFile(ballast, make([]byte, size-(room+1)*page), 0o600)); err != nil {
			t.Fatal(err)
		}
		s, err := Read(t.Context(), l.Repo, Source{Mail: strings.NewReader(mail)}, dir)
		var refused error
		if err == nil {
			refused = trials.CheckApply(t.Context(), l.Repo, s.Base, nil, s.Patches, filepath.Join(dir, "check"))
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		var bad *MailError
		var no *trials.NotAppliedError
		switch {
		case err == nil && refused == nil:
			read++
		case errors.As(refused, &no):
			t.Errorf("with room for %d pages it does not apply: %v", room, refused)
		case err != nil && (errors.As(err, &bad) || !errors.Is(err, syscall.ENOSPC)):
			t.Errorf("with room for %d pages: %T: %v", room, err, err)
		default:
			full++
		}
	}
	if full == 0 || read == 0 {
		t.Errorf("the disk was full %d times, and the series applied %d times", full, read)
	}
}

// Given errors of git, then one of this machine's is not the mail's.
func TestWhatGitCanNotDoIsNoFaultOfTheMail(t *testing.T) {
	for said, of := range map[string]struct {
		status int
		mail   bool
	}{
		"error: cannot convert from x to UTF-8":           {1, true},
		"patch: No space left on device":                  {1, false},
		"fatal: cannot write output: Disk quota exceeded": {128, false},
		"fatal: Out of memory, malloc failed":             {128, false},
		"":                                                {-1, false}, // killed
	} {
		var bad *MailError
		err := mailError(t.Context(), fmt.Errorf("read it: %w", &gitcmd.Error{Args: []string{"mailinfo"}, Status: of.status, Stderr: said + "\n"}))
		if errors.As(err, &bad) != of.mail {
			t.Errorf("%q: %T", said, err)
		}
	}
}
