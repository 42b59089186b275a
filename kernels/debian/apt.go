package debian

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/blockrig/blockrig/harness/cachedir"
)

// Config says where an [Apt] keeps its state and what it looks into.
type Config struct {
	CacheDir string   // made when needed; absolute or relative to the working directory
	Suites   []string // bookworm, trixie-backports, trixie-security, sid, …

	// At, a time such as 20261120T000000Z, looks into the suites as they were
	// then, in the archive of the past at the address Snapshot.
	At, Snapshot string
	// Mirror, SecurityMirror and Keyring replace what the machine's own apt
	// sources say. A Keyring is a file as for Signed-By in sources.list(5).
	Mirror, SecurityMirror, Keyring string
	// Sources are files and folders of apt sources to take the mirrors from;
	// nil means the machine's own.
	Sources []string

	Wanted string        // whole names of the packages that Packages gives, a regular expression
	MaxAge time.Duration // lists older than this are updated before they are read; 0 means 12 hours

	// Progress, if set, is told of downloads: what is fetched, and the bytes
	// done and in total (0 when unknown). It is called from one goroutine at
	// a time for each download.
	Progress func(what string, done, total int64)
	Log      *slog.Logger // nil: nothing is logged
}

// Errors that callers tell apart.
var (
	ErrNoApt    = errors.New("apt-get is not on this machine")
	ErrNoMirror = errors.New("no Debian mirror is known")
	ErrDownload = errors.New("the package can't be downloaded")
)

// An Apt has package lists of its own. Open makes one.
type Apt struct {
	cfg     Config
	wanted  *regexp.Regexp
	main    source   // Debian's own archive, not the security one
	sources []string // for each of cfg.Suites, a .sources file; "" for one without a mirror
	lists   *cachedir.Dir

	mu      sync.Mutex
	updated bool // tried in this process
}

// Open reads the machine's apt sources. It makes nothing, and does not use the
// network.
//
// It fails with ErrNoApt where there is no apt, and with ErrNoMirror when
// neither cfg nor the machine's sources name a mirror for any of the suites.
func Open(ctx context.Context, cfg Config) (*Apt, error) {
	a, err := open(ctx, cfg)
	if err == nil {
		err = a.lists.Trim(ctx) // what dead processes left
	}
	if err != nil {
		return nil, fmt.Errorf("open apt state: %w", err)
	}
	return a, nil
}

// Check is Open for the errors alone.
func Check(ctx context.Context, cfg Config) error {
	_, err := open(ctx, cfg)
	return err
}

func open(ctx context.Context, cfg Config) (_ *Apt, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoApt, err)
	}
	cfg.MaxAge = cmp.Or(cfg.MaxAge, 12*time.Hour)
	if cfg.CacheDir, err = filepath.Abs(cfg.CacheDir); err != nil {
		return nil, err
	}
	if err := checkConfig(cfg); err != nil {
		return nil, err
	}
	a := &Apt{cfg: cfg}
	if a.wanted, err = regexp.Compile("^(?:" + cfg.Wanted + ")$"); err != nil {
		return nil, err
	}
	paths := cfg.Sources
	if paths == nil {
		if paths, err = a.machineSources(ctx); err != nil {
			return nil, err
		}
	}
	sources, err := readSources(paths)
	if err != nil {
		return nil, err
	}
	arch := a.archives(sources)
	a.main = arch.main
	var without []string
	for _, suite := range cfg.Suites {
		a.sources = append(a.sources, arch.write(suite))
		if a.sources[len(a.sources)-1] == "" {
			without = append(without, suite)
		}
	}
	if len(without) == len(cfg.Suites) {
		return nil, fmt.Errorf("%w for %s: %s name none; set mirror (and keyring) in the configuration",
			ErrNoMirror, strings.Join(cfg.Suites, ", "), strings.Join(paths, " and "))
	}
	if len(without) > 0 {
		cfg.Log.Warn("these suites are left out, since the machine's apt sources have no mirror for them",
			"suites", strings.Join(without, " "))
	}
	// Two sets of sources can't share lists: apt removes those that its
	// sources don't name.
	sum := sha256.Sum256([]byte(strings.Join(append(a.sources, cfg.Wanted), "\n")))
	a.lists = cachedir.New(filepath.Join(cfg.CacheDir, hex.EncodeToString(sum[:6])), cachedir.Options{What: "set of package lists", Keep: 1, Log: cfg.Log})
	return a, nil
}

// Archive gives the mirror that Debian's packages are fetched from, without
// the credentials it may have, and what they are verified with, as Signed-By
// in sources.list(5); "" for the keys that apt trusts for all.
func (a *Apt) Archive() (mirror, signedBy string) {
	mirror = a.main.uri
	if u, err := url.Parse(mirror); err == nil {
		mirror = u.Redacted()
	}
	return mirror, a.main.get("Signed-By")
}

func checkConfig(cfg Config) error {
	if len(cfg.Suites) == 0 {
		return errors.New("no suite is named")
	}
	for _, suite := range cfg.Suites {
		if !suiteRE.MatchString(suite) {
			return fmt.Errorf("%q is no name of a suite", suite)
		}
	}
	for _, v := range []string{cfg.At, cfg.Mirror, cfg.SecurityMirror, cfg.Keyring, cfg.Snapshot} {
		if strings.ContainsAny(v, " \t\r\n") {
			return fmt.Errorf("white space in %q", v)
		}
	}
	return nil
}

// archives gives the two archives, by configuration or by the machine's
// sources.
func (a *Apt) archives(sources []source) archives {
	var arch archives
	arch.main, _ = pickArchive(sources, false)
	arch.security, _ = pickArchive(sources, true)
	if a.cfg.Mirror != "" && a.cfg.Mirror != arch.main.uri {
		arch.main = source{uri: a.cfg.Mirror}
	}
	if a.cfg.SecurityMirror != "" && a.cfg.SecurityMirror != arch.security.uri {
		arch.security = source{uri: a.cfg.SecurityMirror}
	}
	if a.cfg.Keyring != "" {
		for _, s := range []*source{&arch.main, &arch.security} {
			s.fields = slices.DeleteFunc(slices.Clone(s.fields), unverified)
			*s = s.with("Signed-By", a.cfg.Keyring)
		}
	}
	if a.cfg.At != "" {
		// What says until when it is valid is long past that. It is verified,
		// even where the machine trusts its own mirror without that.
		past := strings.TrimRight(a.cfg.Snapshot, "/")
		for _, s := range []*source{&arch.main, &arch.security} {
			s.fields = slices.DeleteFunc(slices.Clone(s.fields), func(f field) bool {
				return !strings.EqualFold(f.name, "Signed-By")
			})
			*s = s.with("Check-Valid-Until", "no")
		}
		arch.main.uri, arch.security.uri = past+"/debian/"+a.cfg.At+"/", past+"/debian-security/"+a.cfg.At+"/"
	}
	return arch
}

// unverified tells of a field that makes apt take what it can't verify.
func unverified(f field) bool {
	return slices.Contains([]string{"trusted", "allow-insecure", "allow-weak", "allow-downgrade-to-insecure"}, strings.ToLower(f.name))
}

// aptConf is read after the machine's own configuration, so that proxies and
// credentials stay. The machine's hooks must not run: they act on the machine's
// own cache.
const aptConf = `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
#clear APT::Default-Release;
APT::Architecture "amd64";
APT::Architectures:: "amd64";
APT::Install-Recommends "false";
APT::Update::Error-Mode "any";
// apt's own user may not enter a home folder; with it, apt only warns.
APT::Sandbox::User "root";
// Lists are read from beginning to end.
Acquire::GzipIndexes "false";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
`

// Files and folders of a set of lists.
const (
	confFile      = "apt.conf"
	statusFile    = "status"   // of what is installed: nothing
	sourcesFolder = "sources"  // one file for each suite
	listsFolder   = "lists"    // apt's
	archFolder    = "archives" // apt's
	packagesFile  = "packages.json"
	failedFile    = "failed" // if there: suites whose lists could not be updated
)

// aptGet runs one apt-get command on the set of lists in dir, with the working
// directory cwd. With suite "" all of its suites are looked into.
func (a *Apt) aptGet(ctx context.Context, dir, suite, cwd string, percent func(float64), args ...string) (string, error) {
	list, parts := "/dev/null", filepath.Join(dir, sourcesFolder)
	if suite != "" {
		list, parts = filepath.Join(parts, sourcesName(slices.Index(a.cfg.Suites, suite))), "/dev/null"
	}
	all := []string{"-q", "-c", filepath.Join(dir, confFile)}
	for _, o := range [][2]string{
		{"State", dir},
		{"State::lists", filepath.Join(dir, listsFolder)},
		{"State::status", filepath.Join(dir, statusFile)},
		{"Cache", dir},
		{"Cache::archives", filepath.Join(dir, archFolder)},
		{"Etc::sourcelist", list},
		{"Etc::sourceparts", parts},
	} {
		all = append(all, "-o", "Dir::"+o[0]+"="+o[1])
	}
	if percent != nil {
		all = append(all, "-q", "-o", "APT::Status-Fd=1")
	}
	return run(ctx, cwd, percent, "apt-get", append(all, args...)...)
}

func sourcesName(suite int) string { return fmt.Sprintf("%02d.sources", suite) }

// machineSources gives the places of the machine's own apt sources. They are asked
// for once: apt takes its time to answer.
func (a *Apt) machineSources(ctx context.Context) ([]string, error) {
	asked.Lock()
	defer asked.Unlock()
	config := os.Getenv("APT_CONFIG")
	if asked.of[config] == nil {
		paths, err := askSources(ctx)
		if err != nil {
			return nil, err
		}
		asked.of[config] = paths
	}
	return slices.Clone(asked.of[config]), nil
}

var asked = struct {
	sync.Mutex
	of map[string][]string // by the environment's APT_CONFIG
}{of: map[string][]string{}}

func askSources(ctx context.Context) ([]string, error) {
	out, err := run(ctx, "", nil, "apt-config", "shell", "FILE", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d")
	if err != nil {
		return nil, fmt.Errorf("find the machine's apt sources: %w", err)
	}
	var paths []string
	for line := range strings.SplitSeq(out, "\n") {
		if _, value, ok := strings.Cut(line, "="); ok {
			paths = append(paths, strings.Trim(value, "'"))
		}
	}
	return paths, nil
}

// keyFormat makes names of sets of lists: the time of the update.
const keyFormat = "20060102T150405.000Z"

// current gives the newest set of lists, and when it was made; nil when there
// is none that is undamaged: all of it, or these files.
func (a *Apt) current(ctx context.Context, files ...string) (*cachedir.Entry, time.Time, error) {
	keys, err := a.lists.Keys()
	if err != nil {
		return nil, time.Time{}, err
	}
	for _, key := range slices.Backward(keys) {
		at, err := time.Parse(keyFormat, key)
		if err != nil {
			continue // not ours
		}
		e, err := a.lists.Open(ctx, key, files...)
		if !errors.Is(err, fs.ErrNotExist) {
			return e, at, err
		}
	}
	return nil, time.Time{}, nil
}

// fresh tells whether a set of lists of that time needs no update.
func (a *Apt) fresh(set *cachedir.Entry, at time.Time, age time.Duration) bool {
	if _, err := os.Lstat(filepath.Join(set.Path(), failedFile)); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	return a.cfg.At != "" || time.Since(at) < age // the past does not change
}

// Update fetches the package lists. A suite that can't be fetched keeps its
// old list, or is left out, with a warning in the log, as long as another one
// can be.
func (a *Apt) Update(ctx context.Context) error { return a.update(ctx, 0) }

// refresh updates the lists when they are older than Config.MaxAge. When that
// fails but there are older lists, it warns and those are used; it tries only
// once in the life of an Apt.
func (a *Apt) refresh(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, at, err := a.current(ctx, packagesFile)
	fresh := e != nil && (a.updated || a.fresh(e, at, a.cfg.MaxAge))
	if err := errors.Join(err, e.Close()); err != nil || fresh {
		return err
	}
	a.updated = true
	err = a.update(ctx, a.cfg.MaxAge)
	if err != nil && e != nil && ctx.Err() == nil {
		a.cfg.Log.Warn("package lists can't be updated, older ones are used", "from", at.Format(time.DateTime), "error", err)
		return nil
	}
	return err
}

func (a *Apt) update(ctx context.Context, age time.Duration) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("update package lists: %w", err)
		}
	}()
	if err := os.MkdirAll(a.cfg.CacheDir, 0o755); err != nil {
		return err
	}
	unlock, err := cachedir.Lock(ctx, a.lists.Path()+".lock")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	old, at, err := a.current(ctx)
	if err != nil {
		return err
	}
	if age > 0 && old != nil && a.fresh(old, at, age) {
		return old.Close() // another process did it while we waited
	}
	made, err := a.lists.Get(ctx, time.Now().UTC().Format(keyFormat), func(ctx context.Context, dir string) error {
		return a.makeLists(ctx, dir, old)
	})
	if err := errors.Join(err, made.Close(), old.Close()); err != nil {
		return err
	}
	return a.lists.Trim(ctx) // the old one
}

// makeLists fetches what is not in the old set of lists already.
func (a *Apt) makeLists(ctx context.Context, dir string, old *cachedir.Entry) error {
	for _, sub := range []string{sourcesFolder, listsFolder + "/partial", archFolder + "/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	files := map[string]string{confFile: aptConf, statusFile: ""}
	for i, text := range a.sources {
		if text != "" {
			files[filepath.Join(sourcesFolder, sourcesName(i))] = text
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	a.cfg.Log.Info("updating package lists", "suites", strings.Join(a.cfg.Suites, " "))
	if old != nil {
		// apt never writes to a list, it replaces it.
		lists, err := filepath.Glob(filepath.Join(old.Path(), listsFolder, "*_*"))
		for _, list := range lists {
			err = errors.Join(err, os.Link(list, filepath.Join(dir, listsFolder, filepath.Base(list))))
		}
		if err != nil {
			return err
		}
	}
	if err := a.fetchLists(ctx, dir); err != nil {
		return err
	}
	lists, err := a.find(ctx, dir)
	if err != nil {
		return err
	}
	found := []Package{}
	for _, l := range lists {
		if found, err = l.packages(found, a.wanted.Match); err != nil {
			return err
		}
	}
	slices.SortStableFunc(found, func(p, q Package) int {
		return cmp.Or(cmp.Compare(p.Name, q.Name), CompareVersions(p.Version, q.Version),
			cmp.Compare(slices.Index(a.cfg.Suites, p.Suite), slices.Index(a.cfg.Suites, q.Suite)))
	})
	data, err := json.Marshal(found)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, packagesFile), data, 0o644)
}

// fetchLists fetches the lists into the set in dir. A suite that the mirror
// doesn't have is left out of the set. One that can't be had for another
// reason keeps the list that there is, and the set is not fresh.
func (a *Apt) fetchLists(ctx context.Context, dir string) error {
	_, err := a.aptGet(ctx, dir, "", "", a.progress("package lists", 0), "update")
	if err == nil || ctx.Err() != nil {
		return err
	}
	// Which suite it is about, apt says best when it is asked for one alone.
	had, failed := false, ""
	for i, suite := range a.cfg.Suites {
		if a.sources[i] == "" {
			continue
		}
		said, why := a.aptGet(ctx, dir, suite, "", nil, "-o", "APT::Get::List-Cleanup=false", "update")
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case why == nil:
			had = true
		case notThere(said):
			a.cfg.Log.Warn("a suite is not on the mirror and is left out", "suite", suite, "error", why)
			if err := os.Remove(filepath.Join(dir, sourcesFolder, sourcesName(i))); err != nil {
				return err
			}
		default:
			a.cfg.Log.Warn("the package list of a suite can't be updated; an older one is used if there is one", "suite", suite, "error", why)
			failed += suite + "\n"
		}
	}
	if !had {
		return err
	}
	if failed == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, failedFile), []byte(failed), 0o644)
}

var (
	aptFailed   = regexp.MustCompile(`(?m)^Err:.*\n +(.*)$`)
	aptNotFound = regexp.MustCompile(`^404 |\(2: No such file or directory\)`)
	aptNoSuite  = regexp.MustCompile(`(?m)^(Err|Ign):\d+ .* Release$`)
)

// notThere tells by what an update of one suite said whether the mirror
// answered that it has no such suite, and nothing else was wrong.
func notThere(said string) bool {
	failures := aptFailed.FindAllStringSubmatch(said, -1)
	return aptNoSuite.MatchString(said) && len(failures) > 0 &&
		!slices.ContainsFunc(failures, func(f []string) bool { return !aptNotFound.MatchString(f[1]) })
}

// A list is the package list of a suite, as apt has checked and stored it.
type list struct{ suite, path string }

// find gives the lists of the set in dir.
func (a *Apt) find(ctx context.Context, dir string) ([]list, error) {
	out, err := a.aptGet(ctx, dir, "", "", nil, "indextargets", "--format", "$(RELEASE)|$(FILENAME)", "Created-By: Packages")
	if err != nil {
		return nil, fmt.Errorf("find package lists: %w", err)
	}
	var lists []list
	for line := range strings.Lines(out) {
		if suite, path, ok := strings.Cut(strings.TrimSpace(line), "|"); ok {
			lists = append(lists, list{suite, path})
		}
	}
	return lists, nil
}

// Packages gives the packages of Config.Wanted from all suites, ordered by
// name, then version (oldest first), then in the order of Config.Suites.
// Lists that are too old are updated first.
func (a *Apt) Packages(ctx context.Context) ([]Package, error) {
	if err := a.refresh(ctx); err != nil {
		return nil, err
	}
	return a.Known(ctx)
}

// Known is Packages without the network, as of the last update; none when
// there are no lists.
func (a *Apt) Known(ctx context.Context) (found []Package, err error) {
	e, _, err := a.current(ctx, packagesFile)
	if e == nil || err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	data, err := os.ReadFile(filepath.Join(e.Path(), packagesFile))
	if err != nil {
		return nil, err
	}
	return found, json.Unmarshal(data, &found)
}

// whole gives a set of lists that apt can work with.
func (a *Apt) whole(ctx context.Context) (*cachedir.Entry, error) {
	if err := a.refresh(ctx); err != nil {
		return nil, err
	}
	e, _, err := a.current(ctx)
	if e == nil && err == nil { // the last one was damaged
		if err = a.update(ctx, a.cfg.MaxAge); err == nil {
			e, _, err = a.current(ctx)
		}
	}
	if e == nil && err == nil {
		err = errors.New("the package lists are damaged as soon as they are made")
	}
	return e, err
}

// Depends gives the named packages of a suite and all that they depend on
// (Depends and Pre-Depends, not Recommends), as apt would install them where
// nothing is installed, ordered by name.
func (a *Apt) Depends(ctx context.Context, suite string, names ...string) (_ []Package, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("find what %s depends on in %s: %w", strings.Join(names, ", "), suite, err)
		}
	}()
	e, err := a.whole(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	out, err := a.aptGet(ctx, e.Path(), suite, "", nil, append([]string{"install", "--yes", "--print-uris", "--"}, names...)...)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{} // NAME_VERSION of what is to be fetched
	for line := range strings.Lines(out) {
		// 'URI' NAME_VERSION_ARCH.deb SIZE [SHA256:…]
		if words := strings.Fields(line); len(words) >= 3 && strings.HasPrefix(line, "'") {
			wanted[words[1]] = true
		}
	}
	lists, err := a.find(ctx, e.Path())
	if err != nil {
		return nil, err
	}
	var found []Package
	for _, l := range lists {
		if l.suite == suite {
			if found, err = l.packages(found, func([]byte) bool { return true }); err != nil {
				return nil, err
			}
		}
	}
	found = slices.DeleteFunc(found, func(p Package) bool { return !wanted[p.file()] })
	if len(found) != len(wanted) {
		return nil, fmt.Errorf("apt names %d packages, the list has %d of them", len(wanted), len(found))
	}
	return found, nil
}

// Download fetches packages into dir and gives the paths of the .debs. apt
// checks the signature of the lists, and the files against them.
func (a *Apt) Download(ctx context.Context, dir string, packages ...Package) (debs []string, err error) {
	suite, size := packages[0].Suite, int64(0)
	args := []string{"download", "--"}
	for _, p := range packages {
		if p.Suite != suite {
			suite = ""
		}
		size += p.Size
		args = append(args, p.Name+"="+p.Version)
		debs = append(debs, filepath.Join(dir, p.file()))
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("download %s %s: %w", packages[0].Name, packages[0].Version, err)
		}
	}()
	e, err := a.whole(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	a.cfg.Log.Info("fetching packages", "packages", strings.Join(args[2:], " "), "bytes", size)
	if _, err := a.aptGet(ctx, e.Path(), suite, dir, a.progress(packages[0].Name, size), args...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDownload, err)
	}
	return debs, nil
}

func (a *Apt) progress(what string, total int64) func(percent float64) {
	if a.cfg.Progress == nil {
		return nil
	}
	return func(percent float64) { a.cfg.Progress(what, int64(percent/100*float64(total)), total) }
}
