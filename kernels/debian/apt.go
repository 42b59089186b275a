package debian

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// Config says where an [Apt] keeps its state and what it looks into.
type Config struct {
	CacheDir string   // made when missing; absolute or relative to the working directory
	Suites   []string // bookworm, trixie-backports, trixie-security, sid, …

	// Mirror, SecurityMirror and Keyring replace what the machine's own apt
	// sources say. A Keyring is a file as for Signed-By in sources.list(5).
	Mirror, SecurityMirror, Keyring string
	// Sources are files and folders of apt sources to take the mirrors from;
	// nil means the machine's own.
	Sources []string

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
	ErrNotFound = errors.New("no such package")
)

// An Apt is a private apt state. Open makes one.
type Apt struct {
	cfg  Config
	dir  string // of this set of sources
	conf string // apt.conf(5) file
	main source // Debian's own archive, not the security one

	mu      sync.Mutex
	updated bool // tried in this process
}

// missAge is the age from which on a package that isn't found is worth an
// update: another process may just have done one.
const missAge = 10 * time.Minute

// Open prepares a private apt state for cfg.Suites. It reads the machine's apt
// sources but does not use the network.
//
// It fails with ErrNoApt where there is no apt, and with ErrNoMirror when
// neither cfg nor the machine's sources name a mirror for any of the suites.
func Open(ctx context.Context, cfg Config) (*Apt, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = 12 * time.Hour
	}
	cache, err := filepath.Abs(cfg.CacheDir)
	if err != nil {
		return nil, fmt.Errorf("open apt state: %w", err)
	}
	if strings.ContainsAny(cache, "\"\n\\;{}") {
		return nil, fmt.Errorf("open apt state: apt can't use a folder of this name: %q", cache)
	}
	cfg.CacheDir = cache
	if err := checkConfig(cfg); err != nil {
		return nil, err
	}
	a := &Apt{cfg: cfg}
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
	list, without := arch.write(cfg.Suites)
	if len(without) == len(cfg.Suites) {
		return nil, fmt.Errorf("%w for %s: %s name none; set mirror (and keyring) in the configuration",
			ErrNoMirror, strings.Join(cfg.Suites, ", "), strings.Join(paths, " and "))
	}
	if len(without) > 0 {
		cfg.Log.Warn("these suites are left out, since the machine's apt sources have no mirror for them",
			"suites", strings.Join(without, " "))
	}
	// Two sets of sources can't share a folder: apt removes the lists that
	// its sources don't name.
	sum := sha256.Sum256([]byte(list))
	a.dir = filepath.Join(cache, hex.EncodeToString(sum[:6]))
	a.conf = filepath.Join(a.dir, "apt.conf")
	for _, sub := range []string{"lists/partial", "archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(a.dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("open apt state: %w", err)
		}
	}
	for name, text := range map[string]string{
		"blockrig.sources": list, "status": "", "apt.conf": a.aptConf(),
	} {
		if err := writeFile(filepath.Join(a.dir, name), text); err != nil {
			return nil, fmt.Errorf("open apt state: %w", err)
		}
	}
	if err := a.sweep(); err != nil {
		return nil, fmt.Errorf("open apt state: %w", err)
	}
	return a, nil
}

func checkConfig(cfg Config) error {
	if len(cfg.Suites) == 0 {
		return errors.New("open apt state: no suite is named")
	}
	for _, suite := range cfg.Suites {
		if !suiteRE.MatchString(suite) {
			return fmt.Errorf("open apt state: %q is no name of a suite", suite)
		}
	}
	for _, v := range []string{cfg.Mirror, cfg.SecurityMirror, cfg.Keyring} {
		if strings.ContainsAny(v, " \t\r\n") {
			return fmt.Errorf("open apt state: white space in %q", v)
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
			s.fields = slices.DeleteFunc(slices.Clone(s.fields), func(f field) bool { return strings.EqualFold(f.name, "Signed-By") })
			s.fields = append(s.fields, field{"Signed-By", a.cfg.Keyring})
		}
	}
	return arch
}

// aptConf is read after the machine's own configuration, so that proxies and
// credentials stay and all that names a place is replaced. The machine's hooks
// must not run: they act on the machine's own cache.
func (a *Apt) aptConf() string {
	var b strings.Builder
	for _, hook := range []string{"APT::Update::Pre-Invoke", "APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success", "APT::Architectures", "APT::Default-Release"} {
		fmt.Fprintf(&b, "#clear %s;\n", hook)
	}
	for _, o := range [][2]string{
		{"APT::Architecture", "amd64"},
		{"APT::Architectures::", "amd64"},
		{"Dir::State", a.dir},
		{"Dir::State::lists", filepath.Join(a.dir, "lists")},
		{"Dir::State::status", filepath.Join(a.dir, "status")},
		{"Dir::State::extended_states", filepath.Join(a.dir, "extended_states")},
		{"Dir::Cache", a.dir},
		{"Dir::Cache::archives", filepath.Join(a.dir, "archives")},
		{"Dir::Cache::pkgcache", filepath.Join(a.dir, "pkgcache.bin")},
		{"Dir::Cache::srcpkgcache", ""},
		{"Dir::Etc::sourcelist", filepath.Join(a.dir, "blockrig.sources")},
		{"Dir::Etc::sourceparts", "/dev/null"},
		{"Dir::Etc::preferences", "/dev/null"},
		{"Dir::Etc::preferencesparts", "/dev/null"},
		{"Acquire::GzipIndexes", "false"}, // lists are read from beginning to end, often
		{"Acquire::Retries", "2"},
		{"Acquire::http::Timeout", "30"},
		{"Acquire::https::Timeout", "30"},
		{"APT::Update::Error-Mode", "any"},
		// apt's own user may not enter a home folder; with it, apt only warns.
		{"APT::Sandbox::User", "root"},
	} {
		fmt.Fprintf(&b, "%s \"%s\";\n", o[0], o[1])
	}
	return b.String()
}

// machineSources gives the places of the machine's own apt sources.
func (a *Apt) machineSources(ctx context.Context) ([]string, error) {
	out, err := run(ctx, command{name: "apt-config", args: []string{"shell", "FILE", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"}})
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

// Updated gives the time of the last update of the package lists; zero when
// there are none.
func (a *Apt) Updated() (time.Time, error) {
	info, err := os.Stat(a.stamp())
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read age of package lists: %w", err)
	}
	return info.ModTime(), nil
}

// Dir is the folder of the state. It differs where mirrors or suites do.
func (a *Apt) Dir() string { return a.dir }

func (a *Apt) stamp() string { return filepath.Join(a.dir, "updated") }

// Fresh tells whether the package lists are young enough to be read without
// an update.
func (a *Apt) Fresh() bool {
	at, err := a.Updated()
	return err == nil && !at.IsZero() && time.Since(at) < a.cfg.MaxAge
}

// Update fetches the package lists. A suite that can't be had is left out
// with a warning in the log, as long as another one can be.
func (a *Apt) Update(ctx context.Context) error { return a.update(ctx, 0) }

// Refresh updates the lists when they are older than Config.MaxAge. When that
// fails but there are older lists, it warns and goes on with those; it tries
// only once in the life of an Apt.
func (a *Apt) Refresh(ctx context.Context) error { return a.refresh(ctx, a.cfg.MaxAge) }

func (a *Apt) refresh(ctx context.Context, age time.Duration) error {
	at, err := a.Updated()
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !at.IsZero() && (a.updated || time.Since(at) < age) {
		return nil
	}
	a.updated = true
	err = a.update(ctx, age)
	if err != nil && !at.IsZero() && ctx.Err() == nil {
		a.cfg.Log.Warn("package lists can't be updated, older ones are used", "from", at.Format(time.DateTime), "error", err)
		return nil
	}
	return err
}

func (a *Apt) update(ctx context.Context, age time.Duration) (err error) {
	unlock, err := a.lock(ctx, true)
	if err != nil {
		return err
	}
	defer unlock(&err)
	at, err := a.Updated()
	if err != nil {
		return err
	}
	if age > 0 && time.Since(at) < age {
		return nil // another process did it while we waited
	}
	a.cfg.Log.Info("updating package lists", "suites", strings.Join(a.cfg.Suites, " "))
	_, runErr := a.aptGet(ctx, "", "update", a.progress("package lists", 0))
	if ctx.Err() != nil {
		return fmt.Errorf("update package lists: %w", context.Cause(ctx))
	}
	lists, err := a.lists(ctx)
	if err != nil {
		return err
	}
	if runErr != nil {
		if err := a.judgeUpdate(lists, runErr); err != nil {
			return err
		}
	}
	if err := writeFile(a.stamp(), ""); err != nil {
		return fmt.Errorf("update package lists: %w", err)
	}
	return nil
}

// judgeUpdate decides what a failed update means: lists of a suite that is
// not there are no reason to do without the other suites.
func (a *Apt) judgeUpdate(lists []list, runErr error) error {
	var gone []string
	for _, suite := range a.cfg.Suites {
		if !slices.ContainsFunc(lists, func(l list) bool { return l.suite == suite }) {
			gone = append(gone, suite)
		}
	}
	if len(gone) == 0 || len(lists) == 0 {
		return fmt.Errorf("update package lists: %w", runErr)
	}
	a.cfg.Log.Warn("these suites can't be had and are left out", "suites", strings.Join(gone, " "), "error", runErr)
	return nil
}

// A list is the package list of a suite, as apt has checked and stored it.
type list struct{ suite, path string }

func (a *Apt) lists(ctx context.Context) ([]list, error) {
	out, err := a.aptGet(ctx, "", "indextargets", nil, "--format", "$(RELEASE)|$(FILENAME)", "Created-By: Packages")
	if err != nil {
		return nil, fmt.Errorf("find package lists: %w", err)
	}
	var lists []list
	for line := range strings.SplitSeq(out, "\n") {
		if suite, path, ok := strings.Cut(line, "|"); ok {
			lists = append(lists, list{suite, path})
		}
	}
	return lists, nil
}

// scan refreshes the lists if need be and calls fn for every stanza of suite,
// or of all suites when suite is "".
func (a *Apt) scan(ctx context.Context, suite string, fn func(suite string, name, stanza []byte) error) (err error) {
	if suite != "" && !slices.Contains(a.cfg.Suites, suite) {
		return fmt.Errorf("suite %s is not among those configured: %s", suite, strings.Join(a.cfg.Suites, ", "))
	}
	if err := a.Refresh(ctx); err != nil {
		return err
	}
	unlock, err := a.lock(ctx, false)
	if err != nil {
		return err
	}
	defer unlock(&err)
	lists, err := a.lists(ctx)
	if err != nil {
		return err
	}
	for _, l := range lists {
		if suite != "" && l.suite != suite {
			continue
		}
		err := scanList(l.path, func(name, stanza []byte) error {
			return fn(l.suite, name, stanza)
		})
		if err != nil {
			return fmt.Errorf("read package list of %s: %w", l.suite, err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// Search gives the packages whose whole name matches pattern (a regular
// expression), from all suites, ordered by name, then version (oldest first),
// then in the order of Config.Suites. It gives none without error when there
// are none.
func (a *Apt) Search(ctx context.Context, pattern string) ([]Package, error) {
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return nil, fmt.Errorf("search packages: %w", err)
	}
	var found []Package
	err = a.scan(ctx, "", func(suite string, name, stanza []byte) error {
		if re.Match(name) {
			if p, ok := parsePackage(stanza, suite); ok {
				found = append(found, p)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("search packages: %w", err)
	}
	a.sort(found)
	return found, nil
}

func (a *Apt) sort(pkgs []Package) {
	slices.SortStableFunc(pkgs, func(p, q Package) int {
		return cmp.Or(cmp.Compare(p.Name, q.Name), CompareVersions(p.Version, q.Version),
			cmp.Compare(slices.Index(a.cfg.Suites, p.Suite), slices.Index(a.cfg.Suites, q.Suite)))
	})
}

// Find gives the newest package of that name. A version or a suite that is
// not "" must be met. When it isn't found, the lists are updated once and it
// is looked for again; then the error is ErrNotFound.
func (a *Apt) Find(ctx context.Context, name, version, suite string) (Package, error) {
	for try := 0; ; try++ {
		best, all := Package{}, []string(nil)
		err := a.scan(ctx, suite, func(in string, n, stanza []byte) error {
			if string(n) != name {
				return nil
			}
			p, ok := parsePackage(stanza, in)
			if !ok {
				return nil
			}
			all = append(all, p.Version+" in "+in)
			if (version == "" || p.Version == version) && (best.Name == "" || CompareVersions(p.Version, best.Version) > 0) {
				best = p
			}
			return nil
		})
		if err != nil {
			return Package{}, fmt.Errorf("find package %s: %w", name, err)
		}
		if best.Name != "" {
			return best, nil
		}
		at, err := a.Updated()
		if err != nil {
			return Package{}, err
		}
		if try == 0 && time.Since(at) > missAge {
			if err := a.refresh(ctx, missAge); err != nil {
				return Package{}, fmt.Errorf("find package %s: %w", name, err)
			}
			continue
		}
		what := strings.TrimSpace(name + " " + version)
		if suite != "" {
			what += " in " + suite
		}
		if len(all) > 0 {
			return Package{}, fmt.Errorf("%w: %s (there is %s)", ErrNotFound, what, strings.Join(all, ", "))
		}
		return Package{}, fmt.Errorf("%w: %s (looked into %s)", ErrNotFound, what, strings.Join(a.cfg.Suites, ", "))
	}
}

// Download fetches a package and gives the path of the .deb, which stays in
// the cache until Discard. Version and suite may be "" as for Find. apt checks
// the signature of the lists and the file against them, and blockrig checks a
// file that is already there.
func (a *Apt) Download(ctx context.Context, name, version, suite string) (string, error) {
	p, err := a.Find(ctx, name, version, suite)
	if err != nil {
		return "", err
	}
	return a.fetch(ctx, p)
}

func (a *Apt) fetch(ctx context.Context, p Package) (path string, err error) {
	file := fmt.Sprintf("%s_%s_%s.deb", p.Name, strings.ReplaceAll(p.Version, ":", "%3a"), p.Arch)
	path = filepath.Join(a.dir, "debs", file)
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("download %s %s: %w", p.Name, p.Version, err)
	}
	// One download of a package at a time; the second finds the first's file.
	once := flock.New(path + ".lock")
	if _, err := once.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, once.Close()) }()
	if err := checkDeb(path, p); err == nil {
		return path, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		a.cfg.Log.Warn("a package in the cache is damaged and is fetched again", "file", path, "error", err)
	}
	unlock, err := a.lock(ctx, false)
	if err != nil {
		return fail(err)
	}
	defer unlock(&err)
	tmp, err := os.MkdirTemp(filepath.Join(a.dir, "debs"), "tmp-")
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	alive := flock.New(filepath.Join(tmp, "alive"))
	if err := alive.Lock(); err != nil { // see sweep
		return fail(err)
	}
	defer func() { err = errors.Join(err, alive.Close()) }()
	a.cfg.Log.Info("fetching package", "package", p.Name, "version", p.Version, "suite", p.Suite, "bytes", p.Size)
	if _, err := a.aptGet(ctx, tmp, "download", a.progress(p.Name, p.Size), "--", p.Name+"="+p.Version); err != nil {
		return fail(err)
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fail(fmt.Errorf("apt left %d files instead of one", len(debs)))
	}
	if err := checkDeb(debs[0], p); err != nil {
		return fail(err)
	}
	if err := os.Rename(debs[0], path); err != nil {
		return fail(err)
	}
	return path, nil
}

// Discard removes a file that Download gave.
func (a *Apt) Discard(path string) error {
	debs := filepath.Join(a.dir, "debs")
	if filepath.Dir(path) != debs || filepath.Ext(path) != ".deb" {
		return fmt.Errorf("discard package: %s is not in %s", path, debs)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("discard package: %w", err)
	}
	return nil
}

// checkDeb tells whether the file is that package.
func checkDeb(path string, p Package) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return err
	}
	if n != p.Size {
		return fmt.Errorf("it has %d bytes, the package list says %d", n, p.Size)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != p.SHA256 {
		return fmt.Errorf("its SHA-256 is %s, the package list says %s", got, p.SHA256)
	}
	return nil
}

// lock keeps updates and readers of the lists apart, across processes.
func (a *Apt) lock(ctx context.Context, exclusive bool) (unlock func(*error), err error) {
	l := flock.New(filepath.Join(a.dir, "lock"))
	try := l.TryRLockContext
	if exclusive {
		try = l.TryLockContext
	}
	if _, err := try(ctx, 50*time.Millisecond); err != nil {
		return nil, errors.Join(fmt.Errorf("lock apt state %s: %w", a.dir, err), l.Close())
	}
	return func(err *error) { *err = errors.Join(*err, l.Close()) }, nil
}

// sweep removes what downloads of dead processes left: their lock is free.
func (a *Apt) sweep() error {
	left, err := filepath.Glob(filepath.Join(a.dir, "debs", "tmp-*"))
	if err != nil {
		return err
	}
	for _, tmp := range left {
		info, err := os.Stat(tmp)
		if err != nil || time.Since(info.ModTime()) < time.Minute {
			continue // gone, or so young that its lock may not be there yet
		}
		alive := flock.New(filepath.Join(tmp, "alive"))
		if ok, err := alive.TryLock(); err != nil || !ok {
			continue
		}
		err = errors.Join(os.RemoveAll(tmp), alive.Close())
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *Apt) progress(what string, total int64) func(percent float64) {
	if a.cfg.Progress == nil {
		return nil
	}
	return func(percent float64) { a.cfg.Progress(what, int64(percent/100*float64(total)), total) }
}

// writeFile replaces a file as a whole.
func writeFile(path, text string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
