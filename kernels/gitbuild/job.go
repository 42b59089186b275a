package gitbuild

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"

	"github.com/blockrig/blockrig/kernels/config"
)

// A Job is a build as a plain value, for another machine: all that decides what
// comes of it. Its sources are those of a commit with every change to it made,
// so that what does not apply is known before anybody builds.
type Job struct {
	Commit   string        `json:"commit"` // that it is of, which says what it is near to; it decides nothing
	Tree     string        `json:"tree"`   // git's hash of the sources
	Wants    []config.Want `json:"wants"`
	Start    string        `json:"start,omitempty"` // hex SHA-256 of the .config to begin with; "" is none
	Compiler string        `json:"compiler"`        // see Build.Compiler
}

// Key is the hash of what decides what comes of the job.
func (j Job) Key() string {
	sum := sha256.New()
	fmt.Fprintf(sum, "blockrig build job 1\ntree %s\nconfig %s\n", j.Tree, j.Start)
	for _, w := range j.Wants {
		fmt.Fprintln(sum, w)
	}
	fmt.Fprintf(sum, "compiler %s\n", j.Compiler)
	return hex.EncodeToString(sum.Sum(nil))
}

// digestOf names a .config to begin with.
func digestOf(start []byte) string {
	if start == nil {
		return ""
	}
	sum := sha256.Sum256(start)
	return hex.EncodeToString(sum[:])
}

// Limits of a job.
const (
	maxWants    = 20_000
	maxCompiler = 400 // bytes
)

var (
	treeForm   = regexp.MustCompile(`^[0-9a-f]{40}$`)
	digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ErrJob is the error of a job that no machine can do.
var ErrJob = errors.New("this can't be built anywhere")

// check says what in a job that came from elsewhere can't be.
func (j Job) check() error {
	switch {
	case !treeForm.MatchString(j.Tree), !treeForm.MatchString(j.Commit):
		return errors.New("its sources are not named by a hash of git's")
	case j.Start != "" && !digestForm.MatchString(j.Start):
		return errors.New("its config is not named by a SHA-256")
	case len(j.Wants) > maxWants || j.Compiler == "" || len(j.Compiler) > maxCompiler:
		return errors.New("it asks for too much, or for nothing")
	}
	for _, w := range j.Wants {
		if err := w.Check(); err != nil {
			return err
		}
	}
	return nil
}
