package protocol

import (
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/programs"
)

// A Sweep has the guest do many short programs of I/O, each on several parts of
// the stack. The guest ends it early once something else than an answer shows
// that a program broke something.
type Sweep struct {
	programs.Set // done on each part, one after the other

	Trial uint64           `json:"trial"`
	Parts []string         `json:"parts"`          // layers or disks, by name
	Space int64            `json:"space"`          // bytes at the beginning of each that programs use
	Skip  map[string][]int `json:"skip,omitempty"` // by part: programs that are not done on it, by their place
	Each  bool             `json:"each,omitempty"` // look at health and log after each program, not once for a part
	// Guest time that the host gave, in milliseconds:
	LimitMS int64 `json:"limit_ms"` // of all programs on one part
	IdleMS  int64 `json:"idle_ms"`  // without disk activity, until the child is killed
	ReapMS  int64 `json:"reap_ms"`  // as a step's
	WaitMS  int64 `json:"wait_ms"`  // as a step's
}

// Swept is what programs of a Sweep showed on one part. It is sent once for
// each part, or with Each once for each program of a part, until one has
// Stopped set or is the last.
type Swept struct {
	Part string `json:"part"`
	From int    `json:"from"` // place of the first program
	// Answers has for each program one answer for each of its operations, and
	// one more where what it wrote does not read back: see engine.Sweeper. It is
	// nil for a program that was skipped or not begun.
	Answers [][]string `json:"answers"`
	Reads   int64      `json:"reads"` // requests that the part's disks completed
	Writes  int64      `json:"writes"`
	Last    bool       `json:"last,omitempty"` // nothing more follows

	// Where something happened, and the sweep is over:
	Stopped bool `json:"stopped,omitempty"`
	At      int  `json:"at"` // place of the program that was under way; -1 when none was
	// Operation is which of its operations was; as many as it has where that was read back.
	Operation int             `json:"operation,omitempty"`
	Hung      *Unkillable     `json:"hung,omitempty"`    // the child that did it can't be killed
	Killed    string          `json:"killed,omitempty"`  // why it was sent SIGKILL
	Died      string          `json:"died,omitempty"`    // how it ended by itself
	Changed   []string        `json:"changed,omitempty"` // what else is not as it was, a line each
	Legs      []scenarios.Leg `json:"legs,omitempty"`    // those that are not well
	Differ    string          `json:"differ,omitempty"`  // where copies differ that must be the same
}
