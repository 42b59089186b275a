package bisect

import "context"

// A Subject is a kernel to try: a commit or a release, or a commit with
// another one's change taken back or made, or with the patches under test.
type Subject struct {
	Commit  string `json:"commit"`
	Revert  string `json:"revert,omitempty"`
	Partly  bool   `json:"partly,omitempty"` // as far as Revert applies
	Apply   string `json:"apply,omitempty"`  // a commit whose change alone is made
	Patched bool   `json:"patched,omitempty"`
}

// String names the subject for people.
func (s Subject) String() string { return s.name(short) }

// Full is String with whole hashes: no other subject has it.
func (s Subject) Full() string { return s.name(func(commit string) string { return commit }) }

func (s Subject) name(of func(commit string) string) string {
	text := of(s.Commit)
	if s.Revert != "" {
		text += " without " + of(s.Revert)
	}
	if s.Partly {
		text += " as far as that applies"
	}
	if s.Apply != "" {
		text += " with " + of(s.Apply) + " alone"
	}
	if s.Patched {
		text += " with the patch"
	}
	return text
}

// Prepared is a kernel that is ready to boot, or the reason why there is none.
type Prepared struct {
	Digest  string  `json:"digest,omitempty"`  // of the image; equal digests are the same kernel; "" when not known
	Release string  `json:"release,omitempty"` // uname -r
	Failure Kind    `json:"failure,omitempty"` // KindBuild, KindNone or KindError
	Reason  string  `json:"reason,omitempty"`
	Absent  bool    `json:"absent,omitempty"` // with KindNone: what was to be taken back is not there
	Log     string  `json:"log,omitempty"`    // file with the build's output
	Seconds float64 `json:"seconds,omitempty"`
}

// A Request asks for trials of a subject: Runs trials in each of Boots boots
// that this search did not have yet. A boot that was kept from before, such as
// a snapshot, will do if its ID is not among those Used.
type Request struct {
	Subject Subject
	Boots   int
	Runs    int
	Used    []string // boot IDs
}

// A Tester tries kernels. Both methods return an error only when the search
// must stop (the context ended, the disk is full); what goes wrong with one
// kernel is an outcome. Trials of one boot must be recorded one after the
// other with the same boot ID. With several builders, as many goroutines call
// it, each for another subject.
type Tester interface {
	// Prepare builds or fetches the kernel. A search that is resumed
	// asks for trials of a kernel without preparing it again.
	Prepare(ctx context.Context, s Subject) (Prepared, error)
	// Test calls record once for each trial as soon as it is done. It may
	// stop early after an outcome that isn't a verdict. When record fails
	// it stops and returns that error.
	Test(ctx context.Context, r Request, record func(Outcome) error) error
}

// An Inspector is a Tester that knows which files went into a kernel.
type Inspector interface {
	// Compiled gives those of the paths, relative to the source tree, that
	// were read by the build of the subject.
	Compiled(ctx context.Context, s Subject, paths []string) ([]string, error)
}
