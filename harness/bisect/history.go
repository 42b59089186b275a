package bisect

import (
	"context"
	"time"
)

// A Mark is what is said of a commit, in the terms of the search: New has the
// change that is looked for, Old is before it.
type Mark string

// Marks.
const (
	Old  Mark = "old"
	New  Mark = "new"
	Skip Mark = "skip"
)

// Marked is a commit and its mark.
type Marked struct {
	Commit string `json:"commit"`
	Mark   Mark   `json:"mark"`
}

// Next is where a history stands: exactly one of Commit, First and Among is
// set.
type Next struct {
	Commit string   // to be tried next
	First  string   // the first new commit
	Among  []string // only skipped commits are left: the first new one is one of these
	Left   int      // commits left to try after this, about
}

// Between is what is left of a history: commits that are New or below it, and
// not below any of Old.
type Between struct {
	Old     []string `json:"old"` // none below another
	New     string   `json:"new"`
	Commits int      `json:"commits"` // New is one of them
}

// A Commit is what a history says of a commit, for people.
type Commit struct {
	Hash   string    `json:"hash"`
	Title  string    `json:"title,omitempty"`
	Author string    `json:"author,omitempty"` // name <address>
	Date   time.Time `json:"date,omitzero"`    // of the author
	Tags   []string  `json:"tags,omitempty"`   // the first ones that contain it
}

// A History says which commit to try next. Git's own bisect is one, a list of
// releases another.
type History interface {
	// Replay starts over with these ends and marks.
	Replay(ctx context.Context, new string, old []string, marks []Marked) (Next, error)
	// Mark adds one to the marks.
	Mark(ctx context.Context, m Marked) (Next, error)
	// Parents gives the commits right before one, as far as the search
	// looks at them (only the first with --first-parent).
	Parents(ctx context.Context, commit string) ([]string, error)
	// MergeBases gives the best common ancestors of new and each of old that
	// is no ancestor of it.
	MergeBases(ctx context.Context, new string, old []string) ([]string, error)
	// Between tells what is left by the marks so far.
	Between(ctx context.Context) (Between, error)
	// Describe looks a commit up.
	Describe(ctx context.Context, commit string) (Commit, error)
	// Files lists the paths that a commit changes.
	Files(ctx context.Context, commit string) ([]string, error)
	// Log is the record of all marks in git bisect's own form.
	Log(ctx context.Context) (string, error)
}

// A Toucher is a History that knows which commits may have undone a change.
type Toucher interface {
	// Since are the commits with a commit below them, up to an end, that change
	// one of its files.
	Since(ctx context.Context, commit, end string) ([]string, error)
}
