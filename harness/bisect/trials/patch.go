package trials

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
	"github.com/blockrig/blockrig/results"
)

// A PatchRequest compares a commit with and without a patch.
type PatchRequest struct {
	Base       string // full hash
	Runs       int    // trials of each case and kernel in a round; 0: 12
	Boots      int    // boots of each kernel in a round; 0: 4
	Rounds     int    // at most; 0: 5
	Confidence float64
}

// A CaseResult is what a patch does to one case.
type CaseResult struct {
	Scenario string `json:"scenario"`
	Case     string `json:"case"`
	bisect.PatchResult
}

// A PatchAnswer is what a patch does.
type PatchAnswer struct {
	Effect bisect.Effect `json:"effect"`
	Cases  []CaseResult  `json:"cases"`
	Base   string        `json:"base"`
	// SameBinary says that the patch touches nothing that is compiled into
	// the kernel: there was nothing to try.
	SameBinary bool   `json:"same_binary,omitempty"`
	Release    string `json:"release"` // of the patched kernel
	Accel      string `json:"accel"`
	CPUs       int    `json:"cpus"`
}

// Fails tells whether anything failed on the patched kernel.
func (a PatchAnswer) Fails() bool {
	return slices.ContainsFunc(a.Cases, func(c CaseResult) bool { return c.Patched.Fails > 0 })
}

// Sentence says what the patch does.
func (a PatchAnswer) Sentence() string {
	if a.SameBinary {
		return "changes nothing: it touches nothing that is compiled into this kernel, which is the same binary with it and without"
	}
	return map[bisect.Effect]string{
		bisect.Helps: "helps", bisect.Harms: "harms", bisect.Nothing: "changes nothing",
		bisect.Unclear: "may help or not: that is not clear after so many trials",
	}[a.Effect]
}

// PatchContext is what the answer's text says besides.
func PatchContext(ctx context.Context, a PatchAnswer, r Request, b Build, repo, patch string) bisect.Context {
	args := append([]string{"blockrig", "try-patch", "--repo", repo, "--base", a.Base}, b.args()...)
	args = append(args, patch, cmp.Or(r.Scenario.File, r.Scenario.Name))
	return bisect.Context{
		Release: a.Release + ", " + bisect.Subject{Commit: a.Base}.String(), Machine: machineOf(ctx, results.Record{Accel: a.Accel, CPUs: a.CPUs}),
		Command: commandLine(args),
	}
}

// A NoKernelError says why one of the two kernels is missing.
type NoKernelError struct {
	Patched    bool
	NotApplied bool // the patch does not apply
	Why        string
	Log        string
}

func (e *NoKernelError) Error() string {
	what := "the base"
	if e.Patched {
		what = "with the patch"
	}
	text := what + ": " + e.Why
	if e.Log != "" {
		text += "; make's output is in " + e.Log
	}
	return text
}

// TryPatch tries the commit with and without the patches of the tester's
// Commits, until it is known what they do, or rounds are over.
func (t *Tester) TryPatch(ctx context.Context, r PatchRequest) (PatchAnswer, error) {
	if r.Runs <= 0 {
		r.Runs = 12
	}
	if r.Boots <= 0 {
		r.Boots = 4
	}
	if r.Rounds <= 0 {
		r.Rounds = 5
	}
	a := PatchAnswer{Base: r.Base}
	subjects := [2]bisect.Subject{{Commit: r.Base}, {Commit: r.Base, Patched: true}}
	var digest string
	for i, s := range subjects {
		p, err := t.Prepare(ctx, s)
		switch {
		case err != nil:
			return a, err
		case p.Failure != "":
			return a, &NoKernelError{Patched: i == 1, NotApplied: p.Failure == bisect.KindNone, Why: p.Reason, Log: p.Log}
		case i == 1 && p.Digest == digest:
			a.Effect, a.Release, a.SameBinary = bisect.Nothing, p.Release, true
			return a, nil
		}
		digest, a.Release = p.Digest, p.Release
	}
	type caseOf struct{ scenario, id string }
	var seen [2]map[caseOf][]bisect.Outcome
	open := t.Cases
	for round := 0; round < r.Rounds && len(open) > 0; round++ {
		for i, s := range subjects {
			if seen[i] == nil {
				seen[i] = map[caseOf][]bisect.Outcome{}
			}
			req := bisect.Request{Subject: s, Boots: r.Boots, Runs: (r.Runs + r.Boots - 1) / r.Boots}
			err := t.try(ctx, req, open, func(r results.Record, o bisect.Outcome) error {
				if r.Accel != "" {
					a.Accel, a.CPUs = r.Accel, r.CPUs
				}
				of := caseOf{r.Scenario, r.Case}
				seen[i][of] = append(seen[i][of], o)
				return nil
			})
			if err != nil {
				return a, err
			}
		}
		a.Cases, open = nil, nil
		for _, c := range t.Cases {
			of := caseOf{c.Scenario.Name, c.ID}
			res := bisect.Compare(seen[0][of], seen[1][of], r.Confidence)
			a.Cases = append(a.Cases, CaseResult{c.Scenario.Name, c.ID, res})
			if res.Effect == bisect.Unclear && res.Base.Runs+res.Base.BootFailures > 0 && res.Patched.Runs+res.Patched.BootFailures > 0 {
				open = append(open, c)
			}
		}
	}
	a.Effect = overall(a.Cases)
	return a, nil
}

// overall is what a patch does to all cases together: what it breaks weighs
// more than what it fixes.
func overall(cases []CaseResult) bisect.Effect {
	for _, e := range []bisect.Effect{bisect.Harms, bisect.Unclear, bisect.Helps} {
		if slices.ContainsFunc(cases, func(c CaseResult) bool { return c.Effect == e }) {
			return e
		}
	}
	return bisect.Nothing
}

// Text is an answer to the patch, ready to send.
func (a PatchAnswer) Text(who string, cx bisect.Context) string {
	if a.SameBinary {
		return "The patch " + a.Sentence() + ".\n"
	}
	var helped []CaseResult
	for _, c := range a.Cases {
		if c.Effect == bisect.Helps {
			helped = append(helped, c)
		}
	}
	// One case stands for all in the first sentence: the one that changed.
	shown := a.Cases[0]
	if len(helped) > 0 {
		shown = helped[0]
	}
	for _, c := range a.Cases {
		if c.Effect == bisect.Harms {
			shown = c
		}
	}
	cx.Scenario = strings.TrimSpace(shown.Scenario + " " + shown.Case)
	res := shown.PatchResult
	res.Effect = a.Effect
	text := bisect.TestedBy(res, who, cx)
	if len(a.Cases) > 1 {
		var b strings.Builder
		for _, c := range a.Cases {
			fmt.Fprintf(&b, "  %-34s %-16s %d/%d -> %d/%d\n", strings.TrimSpace(c.Case), c.Effect,
				c.Base.Fails, c.Base.Runs, c.Patched.Fails, c.Patched.Runs)
		}
		head, tail, ok := strings.Cut(text, "\nTested-by:")
		text = head + "\nAll cases (failures/trials without and with it):\n" + b.String()
		if ok {
			text += "\nTested-by:" + tail
		}
	}
	return text
}

// Mbox takes the patches out of a mail or a mailbox, so that what a mail does
// to a text (quoted-printable, base64) is undone. A plain patch stays as it
// is. dir is a folder for them.
func Mbox(ctx context.Context, repo *gitcmd.Repo, file File, dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("read %s: %w", file.Name, err)
	}
	text := string(file.Text)
	for _, plain := range []string{"diff ", "--- ", "Index: "} {
		if strings.HasPrefix(text, plain) {
			name, err := putFile(dir, "0001-"+file.Name, file.Text)
			return []string{name}, err
		}
	}
	mails := filepath.Join(dir, "mails")
	if err := os.MkdirAll(mails, 0o755); err != nil {
		return nil, fmt.Errorf("read %s: %w", file.Name, err)
	}
	box, err := putFile(dir, "mbox", file.Text)
	if err != nil {
		return nil, err
	}
	if _, err := repo.Run(ctx, "mailsplit", "-b", "-o"+mails, "--", box); err != nil {
		return nil, fmt.Errorf("read the mails in %s: %w", file.Name, err)
	}
	entries, err := os.ReadDir(mails)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file.Name, err)
	}
	var out []string
	for _, e := range entries {
		mail, err := os.ReadFile(filepath.Join(mails, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file.Name, err)
		}
		patch := filepath.Join(dir, e.Name()+".patch")
		if _, err := repo.RunInput(ctx, bytes.NewReader(mail), "mailinfo", filepath.Join(dir, e.Name()+".msg"), patch); err != nil {
			return nil, fmt.Errorf("read mail %s of %s: %w", e.Name(), file.Name, err)
		}
		text, err := os.ReadFile(patch)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file.Name, err)
		}
		if strings.Contains("\n"+string(text), "\n+++ ") { // a cover letter has none
			out = append(out, patch)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: %w", file.Name, errors.New("there is no patch in it"))
	}
	return out, nil
}
