package trial

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/blockrig/blockrig/harness/verdict"
)

// MaxAttempts is how often a trial is made that ends in error.
const MaxAttempts = 3

// An Attempt is one of the trials made to get one result.
type Attempt struct {
	Verdict verdict.Verdict `json:"verdict"`
	Phase   string          `json:"phase"`
	Reason  string          `json:"reason"`
	WallMS  int64           `json:"wall_ms"`
	Console string          `json:"-"` // path of its log; "" when there is none
}

// RunAttempts makes a trial, and makes it again when it says nothing about
// the kernel (error), at most MaxAttempts times. Each attempt is recorded.
// Attempt N has its files in the folder attempt-N of spec.Dir.
func RunAttempts(ctx context.Context, spec Spec, run func(context.Context, Spec) Result) Result {
	var all []Attempt
	for n := 1; ; n++ {
		one := spec
		one.Dir = filepath.Join(spec.Dir, fmt.Sprintf("attempt-%d", n))
		var r Result
		if err := makeDir(one.Dir); err != nil {
			r = Failed(one, err)
		} else {
			r = run(ctx, one)
		}
		all = append(all, Attempt{Verdict: r.Verdict, Phase: r.Phase, Reason: r.Reason, WallMS: r.Wall.Milliseconds(), Console: r.Console})
		r.Attempts = all
		if r.Verdict != verdict.Error || n == MaxAttempts || ctx.Err() != nil {
			return r
		}
		if spec.Log != nil {
			spec.Log.Info("a trial said nothing about the kernel and is made again", "attempt", n, "phase", r.Phase, "reason", r.Reason)
		}
	}
}

func makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder of an attempt: %w", err)
	}
	return nil
}

// clearDir gives an empty folder for what may be made once more.
func clearDir(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clear the folder of an attempt: %w", err)
	}
	return makeDir(dir)
}
