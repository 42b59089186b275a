package bisect

// A Grade says how far an answer can be trusted.
type Grade string

// Grades.
const (
	// Proven: one commit, its parent passed and it failed again from fresh
	// boots, every mark is trusted, no check speaks against it, and taking it
	// back (or, where that can't be done, its change alone) shows that it is
	// what the failing end shows. Of a release, none can be taken back.
	Proven Grade = "proven"
	// Likely: nothing contradicts, but a check that matters was not
	// possible, or the revert on the bad end did not help.
	Likely Grade = "likely"
	// Doubtful: several commits are possible, the search could not go on,
	// or something contradicts.
	Doubtful Grade = "doubtful"
)

// Result of a check.
type Result string

// Results.
const (
	Pass        Result = "PASS"
	Fail        Result = "FAIL"
	NotPossible Result = "not possible"
)

// Names of the checks, in the order in which they are listed. The names say
// what PASS means for a regression; for a fix, parent and commit change
// places.
const (
	CheckParent   = "parent passes again"
	CheckCulprit  = "culprit fails again"
	CheckBinary   = "binary differs from the parent's"
	CheckRevert   = "reverting it on the bad end passes"
	CheckCompiled = "diff touches compiled files"
	// Where a revert is not possible.
	CheckPartly = "reverting what still applies of it passes"
	CheckAlone  = "the change alone fails on the good end"
	CheckSince  = "commits since that touch its files fail"

	CheckParentFix = "parent fails again"
	CheckFix       = "fix passes again"
	CheckRevertFix = "reverting it on the fixed end fails"
	CheckPartlyFix = "reverting what still applies of it fails"
	CheckAloneFix  = "the change alone passes on the bad end"
	CheckSinceFix  = "commits since that touch its files pass"
)

// A Check is one test of an answer.
type Check struct {
	Name   string `json:"name"`
	Result Result `json:"result"`
	Why    string `json:"why,omitempty"`
}

// An Answer is what a search found.
type Answer struct {
	Direction  Direction `json:"direction"`
	First      *Commit   `json:"first,omitempty"`   // the commit; nil when it could not be found
	Among      []Commit  `json:"among,omitempty"`   // then, with only skipped ones left, it is one of these
	Between    *Between  `json:"between,omitempty"` // without First: where it is
	Stopped    string    `json:"stopped,omitempty"` // why the search had to stop, a Stop constant
	Grade      Grade     `json:"grade"`
	Why        []string  `json:"why,omitempty"` // why not proven
	Confidence float64   `json:"confidence"`    // that the commit and its parents are marked right; without a commit, that all marks are
	Checks     []Check   `json:"checks"`
	Target     Target    `json:"target"`
	// Became is set when the symptom grew: at First it began as Began, at
	// Became it turned into the target. (For a fix: at Became the target
	// turned into Began, at First it was over.)
	Became       *Commit    `json:"became,omitempty"`
	Began        *Signature `json:"began,omitempty"`
	BecameChecks []Check    `json:"became_checks,omitempty"`

	// Same says that it is the commit of a question before this one.
	Same bool `json:"same,omitempty"`
	// More are the answers to what else the failing end shows.
	More []*Answer `json:"more,omitempty"`

	Ends        []Record `json:"ends"`
	Marks       []Record `json:"marks"`
	AnotherBugs []Record `json:"another_bugs,omitempty"` // commits that failed in another way
	FailRate    Rate     `json:"fail_rate"`              // of kernels with the failure
	FalseRate   Rate     `json:"false_rate"`             // of kernels without
	// PassesNeeded is how many passing trials in a row a good commit needed
	// at these rates.
	PassesNeeded int     `json:"passes_needed"`
	Trials       int     `json:"trials"`
	Boots        int     `json:"boots"`
	Steps        int     `json:"steps"`            // commits with a mark
	Rounds       int     `json:"rounds,omitempty"` // in which they were tried, with more than one builder
	Seconds      float64 `json:"seconds"`          // of builds and trials
	Log          string  `json:"log"`              // git bisect's
}
