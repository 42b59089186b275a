package layer

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// Set writes texts to files of the kernel's, and reads each back. told is what
// one says that took another text; err is a file's no, or ErrCannot of one that
// this kernel does not have.
func Set(files []scenarios.FileText) (told string, err error) {
	for _, f := range files {
		info, err := os.Stat(f.File)
		if errors.Is(err, os.ErrNotExist) {
			why := ""
			if f.Needs != "" {
				why = "; it takes " + f.Needs
			}
			return "", fmt.Errorf("%w: this kernel has no %s%s", ErrCannot, f.File, why)
		}
		if err != nil {
			return "", err
		}
		if choice, err := ReadText(f.File); err == nil && isChoice(choice) && !slices.Contains(choices(choice), f.Text) {
			return "", fmt.Errorf("%w: %s has no %q: it offers %q", ErrCannot, f.File, f.Text, choice)
		}
		if err := WriteText(f.File, f.Text); err != nil {
			return "", err
		}
		if info.Mode().Perm()&0o444 == 0 {
			continue // nobody can read it
		}
		got, err := ReadText(f.File)
		if err != nil {
			return "", err
		}
		if got = chosen(got); got != strings.Join(strings.Fields(f.Text), " ") {
			return fmt.Sprintf("%s says %q after %q was written", f.File, got, f.Text), nil
		}
	}
	return "", nil
}

// isChoice says whether a file says all that it may be, and marks what it is:
// none [mq-deadline] kyber.
func isChoice(text string) bool { return strings.Contains(text, "[") && strings.Contains(text, "]") }

func choices(text string) []string {
	return strings.Fields(strings.NewReplacer("[", "", "]", "").Replace(text))
}

// chosen is what a file says that it is.
func chosen(text string) string {
	if isChoice(text) {
		_, text, _ = strings.Cut(text, "[")
		text, _, _ = strings.Cut(text, "]")
	}
	return strings.Join(strings.Fields(text), " ")
}
