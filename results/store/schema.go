package store

// migrations bring a database from each version to the next; the version is
// PRAGMA user_version. None is ever changed once it was released: a database of
// any older version is brought up to date.
//
// Times are milliseconds since 1970, lists are JSON.
var migrations = []string{
	`
CREATE TABLE runs (
	no       INTEGER PRIMARY KEY,
	id       TEXT NOT NULL UNIQUE,
	command  TEXT NOT NULL,
	verb     TEXT NOT NULL,
	started  INTEGER NOT NULL,
	finished INTEGER NOT NULL, -- 0: it is not
	night    TEXT NOT NULL,
	asked    INTEGER NOT NULL,
	digest   TEXT NOT NULL,
	trials   INTEGER NOT NULL,
	failures INTEGER NOT NULL,
	errors   INTEGER NOT NULL,
	problem  TEXT NOT NULL,    -- the first of what is wrong with the folder
	problems INTEGER NOT NULL,
	-- How far the files of the run's folder were read: see Mark.
	bytes    INTEGER NOT NULL,
	lines    INTEGER NOT NULL,
	state    TEXT NOT NULL
);
CREATE INDEX runs_by_night ON runs (night);
CREATE TABLE kernels (
	no          INTEGER PRIMARY KEY,
	ref         TEXT NOT NULL,
	exact       TEXT NOT NULL,
	"release"   TEXT NOT NULL,
	digest      TEXT NOT NULL,
	commit_hash TEXT NOT NULL,
	UNIQUE (ref, exact, "release", digest, commit_hash)
);
CREATE TABLE cases (
	no       INTEGER PRIMARY KEY,
	scenario TEXT NOT NULL,
	name     TEXT NOT NULL,
	UNIQUE (scenario, name)
);
-- How trials ended. What many have in common is here, so that to count them is
-- to compare numbers.
CREATE TABLE outcomes (
	no      INTEGER PRIMARY KEY,
	verdict TEXT NOT NULL,
	also    TEXT NOT NULL,
	phase   TEXT NOT NULL,
	said    TEXT NOT NULL,
	errno   TEXT NOT NULL,
	-- The signature:
	in_phase   TEXT NOT NULL,
	in_step    TEXT NOT NULL,
	in_verdict TEXT NOT NULL,
	titles     TEXT NOT NULL,
	UNIQUE (verdict, also, phase, said, errno, in_phase, in_step, in_verdict, titles)
);
CREATE TABLE boots (
	no INTEGER PRIMARY KEY,
	id TEXT NOT NULL UNIQUE
);
CREATE TABLE trials (
	run      INTEGER NOT NULL REFERENCES runs (no) ON DELETE CASCADE,
	line     INTEGER NOT NULL,
	task     INTEGER NOT NULL,
	started  INTEGER NOT NULL,
	kernel   INTEGER NOT NULL REFERENCES kernels (no),
	"case"   INTEGER NOT NULL REFERENCES cases (no),
	outcome  INTEGER NOT NULL REFERENCES outcomes (no),
	failed   INTEGER NOT NULL,
	boot     INTEGER NOT NULL, -- 0: it names none
	kept     INTEGER NOT NULL, -- there is a folder
	reason   TEXT NOT NULL,
	bytes    INTEGER NOT NULL,
	accel    TEXT NOT NULL,
	cpus     INTEGER NOT NULL,
	warm     INTEGER NOT NULL,
	boot_ms  INTEGER NOT NULL,
	trial_ms INTEGER NOT NULL,
	guest_ms INTEGER NOT NULL,
	took_ms  INTEGER NOT NULL,
	attempts INTEGER NOT NULL,
	dir      TEXT NOT NULL,
	PRIMARY KEY (run, line)
) WITHOUT ROWID;
CREATE INDEX trials_by_case ON trials ("case", kernel, run, boot, outcome, started, took_ms, task, kept);
CREATE INDEX trials_by_kernel ON trials (kernel);
CREATE INDEX trials_by_start ON trials (started);
CREATE INDEX failed_trials ON trials (run, line) WHERE failed;
CREATE TABLE findings (
	run     INTEGER NOT NULL,
	line    INTEGER NOT NULL,
	no      INTEGER NOT NULL,
	kind    TEXT NOT NULL,
	title   TEXT NOT NULL,
	place   TEXT NOT NULL,
	at_line INTEGER NOT NULL,
	PRIMARY KEY (run, line, no),
	FOREIGN KEY (run, line) REFERENCES trials (run, line) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX findings_by_title ON findings (title);
-- What runs were to do: each of these cases on each of these kernels.
CREATE TABLE asked_cases (
	run    INTEGER NOT NULL REFERENCES runs (no) ON DELETE CASCADE,
	"case" INTEGER NOT NULL REFERENCES cases (no),
	PRIMARY KEY (run, "case")
) WITHOUT ROWID;
CREATE TABLE asked_kernels (
	run INTEGER NOT NULL REFERENCES runs (no) ON DELETE CASCADE,
	ref TEXT NOT NULL,
	PRIMARY KEY (run, ref)
) WITHOUT ROWID;
CREATE TABLE builds (
	run       INTEGER NOT NULL REFERENCES runs (no) ON DELETE CASCADE,
	kernel    TEXT NOT NULL,
	exact     TEXT NOT NULL,
	digest    TEXT NOT NULL,
	cc        TEXT NOT NULL,
	config    TEXT NOT NULL,
	fragments TEXT NOT NULL,
	patches   TEXT NOT NULL,
	PRIMARY KEY (run, kernel)
) WITHOUT ROWID;
CREATE TABLE bisections (
	name       TEXT PRIMARY KEY,
	started    INTEGER NOT NULL,
	command    TEXT NOT NULL,
	scenario   TEXT NOT NULL,
	"case"     TEXT NOT NULL,
	what       TEXT NOT NULL,
	old        TEXT NOT NULL,
	new        TEXT NOT NULL,
	state      TEXT NOT NULL,
	first      TEXT NOT NULL,
	subject    TEXT NOT NULL,
	grade      TEXT NOT NULL,
	confidence REAL NOT NULL,
	trials     INTEGER NOT NULL,
	file_state TEXT NOT NULL -- names the files as they were read
) WITHOUT ROWID;
`,
	`
-- Who made trials, of a hub's workers. What is there is read anew for it.
DELETE FROM runs;
CREATE TABLE workers (
	no   INTEGER PRIMARY KEY,
	name TEXT NOT NULL,
	cpu  TEXT NOT NULL,
	UNIQUE (name, cpu)
);
ALTER TABLE trials ADD COLUMN worker INTEGER NOT NULL DEFAULT 0; -- 0: it was made here
ALTER TABLE trials ADD COLUMN wait_ms INTEGER NOT NULL DEFAULT 0;
CREATE INDEX trials_by_worker ON trials (worker) WHERE worker > 0;
`,
}
