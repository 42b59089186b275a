package kernels

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/kernels/debian"
)

// A Version is a kernel that Debian has.
type Version struct {
	Ref     string   `json:"ref"`               // an exact reference
	Version string   `json:"version"`           // 6.18.15, 7.3-rc7
	Release string   `json:"release"`           // 6.18.15+deb13-amd64
	Package string   `json:"package"`           // version of the package: 6.18.15-1~bpo13+1
	Suites  []string `json:"suites"`            // in the order of debian.yaml
	RC      bool     `json:"rc"`                // a release candidate
	Missing string   `json:"missing,omitempty"` // why it can't be used; "" when it can
	Bytes   int64    `json:"bytes"`             // to fetch

	packages []debian.Package
	at       string // time of the archive that has it; "" is now
	name     string // of its folder, of one in the cache
}

// Available gives what Debian has for a prefix of versions (6.18 is a prefix
// of 6.18.15, not of 6.180; "" of all), oldest first, a release candidate
// before its release. Those that can't be used are among them, with the
// reason in Missing.
func (s *Store) Available(ctx context.Context, prefix string) ([]Version, error) {
	want, err := parsePrefix(prefix)
	if err != nil {
		return nil, err
	}
	all, err := s.versions(ctx, "", true)
	if err != nil {
		return nil, fmt.Errorf("list Debian's kernels: %w", err)
	}
	return slices.DeleteFunc(all, func(v Version) bool { return prefix != "" && !want.fits(v) }), nil
}

// parsePrefix refuses what no version begins with.
func parsePrefix(prefix string) (debianRef, error) {
	if prefix != "" && (prefix == "newest" || !debianVersionRE.MatchString(prefix)) {
		return debianRef{}, fmt.Errorf("%w: %q: want a version or the beginning of one, such as 6.18", ErrRef, prefix)
	}
	return debianRef{version: prefix}, nil
}

// version gives the Version that an entry was made of.
func (e Entry) version() Version {
	return Version{Ref: e.Exact, Version: e.Version, Release: e.Release, Package: e.Package, Suites: e.Suites, RC: isRC(e.Version), name: e.Name}
}

func isRC(version string) bool { return strings.Contains(version, "-rc") }

// exactly tells whether r names this one kernel, and no series of kernels.
func (r debianRef) exactly(v Version) bool {
	return r.version == v.Package || r.version == v.Release ||
		strings.ReplaceAll(r.version, "~rc", "-rc") == v.Version && (v.RC || strings.Count(v.Version, ".") >= 2)
}

// names tells whether r can mean no other kernel than one in the cache.
func (r debianRef) names(e Entry) bool {
	v := e.version()
	return e.Package != "" && r.suite == "" && (r.version == v.Package || r.version == v.Release)
}

// fits tells whether v is one of the kernels that r can mean.
func (r debianRef) fits(v Version) bool {
	if r.suite != "" && !slices.Contains(v.Suites, r.suite) {
		return false
	}
	return r.version == "newest" || r.exactly(v) || r.version == v.Version || strings.HasPrefix(v.Version, r.version+".") ||
		v.RC && strings.HasPrefix(v.Version, r.version+"-rc")
}

// pick gives the newest of versions (oldest first) that r means. Without a
// suite, a release candidate must be named.
func (r debianRef) pick(versions []Version) (Version, error) {
	var broken []Version
	for _, v := range slices.Backward(versions) {
		if !r.fits(v) || v.RC && r.suite == "" && !r.exactly(v) {
			continue
		}
		if v.Missing == "" {
			return v, nil
		}
		broken = append(broken, v)
	}
	if len(broken) > 0 {
		return Version{}, fmt.Errorf("%w: %s; %s", ErrNotFound, broken[0].Missing, available(versions))
	}
	if r.suite != "" && !slices.ContainsFunc(versions, func(v Version) bool { return slices.Contains(v.Suites, r.suite) }) {
		return Version{}, fmt.Errorf("%w: there is no kernel in %s; %s", ErrNotFound, r.suite, available(versions))
	}
	return Version{}, fmt.Errorf("%w: %s", ErrNotFound, available(versions))
}

// available names the versions that there are, newest first.
func available(versions []Version) string {
	var names []string
	for _, v := range slices.Backward(versions) {
		if v.Missing == "" && !slices.Contains(names, v.Version) {
			names = append(names, v.Version)
		}
	}
	if len(names) == 0 {
		return "none is available"
	}
	return "available: " + strings.Join(names, ", ")
}

// compareKernels orders by version, a candidate before its release, then by
// the package's version.
func compareKernels(versionA, packageA, versionB, packageB string) int {
	tilde := func(v string) string { return strings.ReplaceAll(v, "-rc", "~rc") }
	if c := debian.CompareVersions(tilde(versionA)+"-", tilde(versionB)+"-"); c != 0 {
		return c
	}
	return debian.CompareVersions(packageA, packageB)
}

// openApt gives the apt state for kernels, of now or of a time in the past,
// made at its first use.
func (s *Store) openApt(ctx context.Context, at string) (*debian.Apt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if apt := s.apts[at]; apt != nil {
		return apt, nil
	}
	cfg, file, err := debianConfiguration()
	if err != nil {
		return nil, err
	}
	var suites []string
	for _, suite := range cfg.Suites {
		if suite.At == at {
			suites = append(suites, suite.Name)
		}
	}
	apt, err := debian.Open(ctx, debian.Config{
		CacheDir: s.aptDir, Suites: suites, At: at, Sources: s.aptSources,
		Mirror: cfg.Mirror, SecurityMirror: cfg.SecurityMirror, Snapshot: cfg.Snapshot, Keyring: cfg.Keyring,
		Wanted:   `linux-(image|base|binary|modules)-[0-9].*-amd64(-unsigned)?`,
		Progress: s.progress, Log: s.log,
	})
	if errors.Is(err, debian.ErrNoMirror) {
		return nil, fmt.Errorf("%w (configuration is %s)", err, file)
	}
	if errors.Is(err, debian.ErrNoApt) {
		return nil, fmt.Errorf("there are no kernels of Debian here, only your own (file:, git:): %w", err)
	}
	if err == nil {
		s.apts[at] = apt
	}
	return apt, err
}

// CheckDebian says why debian: references can't be looked up on this machine:
// there is no apt, or no mirror is known (debian.ErrNoApt, debian.ErrNoMirror,
// wrapped). It uses no network. Else it gives the mirror and the keyring that
// its packages are verified with, "" for those that apt trusts.
func (s *Store) CheckDebian(ctx context.Context) (mirror, keyring string, err error) {
	a, err := s.openApt(ctx, "")
	if err != nil {
		return "", "", err
	}
	mirror, keyring = a.Archive()
	return mirror, keyring, nil
}

// errNoKernels says that the package lists name no kernel at all.
var errNoKernels = errors.New("the package lists name no kernel; they may be cut short, or no suite of debian.yaml has any")

// versions gives the kernels of Debian's suites, of now or as they were,
// oldest first. Without refresh, what is known is enough, and it is none when
// nothing is.
func (s *Store) versions(ctx context.Context, at string, refresh bool) ([]Version, error) {
	apt, err := s.openApt(ctx, at)
	if err != nil {
		return nil, err
	}
	look := apt.Known
	if refresh {
		look = apt.Packages
	}
	found, err := look(ctx)
	if err != nil {
		return nil, err
	}
	all := findKernels(found)
	if refresh && len(all) == 0 {
		// No archive is without one: the lists are not all there. That is
		// nothing to refuse a cached kernel for.
		return nil, errNoKernels
	}
	for i := range all {
		all[i].at = at
	}
	return all, nil
}

// A release of the plain flavour: neither cloud-amd64 nor rt-amd64.
var plainRE = regexp.MustCompile(`^[0-9][0-9.]*(-rc[0-9]+)?(\+[a-z0-9.+]+)?(-[0-9]+)?(\+[a-z0-9.+]+)?-amd64$`)

// splitPackages are the packages of a kernel from 6.19 on, and what is wrong
// without each. Of several losses the last is named.
var splitPackages = []struct{ name, loss string }{
	{"linux-base-", "its config"},
	{"linux-binary-", "its image"},
	{"linux-modules-", "its modules, and without them it can't drive disks"},
}

// findKernels puts kernels together of packages ordered by version.
//
// Debian packs kernels in two ways: up to 6.18 one linux-image package holds
// image, config and modules, from 6.19 on it is empty and depends on packages
// for each of them.
func findKernels(packages []debian.Package) []Version {
	type key struct{ name, version string }
	byKey := map[key]debian.Package{}
	var all []Version
	suites := map[key][]string{}
	for _, p := range packages {
		k := key{p.Name, p.Version}
		if _, ok := byKey[k]; !ok {
			byKey[k] = p
		}
		suites[k] = append(suites[k], p.Suite)
	}
	seen := map[key]bool{}
	for _, p := range packages {
		release, ok := strings.CutPrefix(p.Name, "linux-image-")
		if !ok {
			continue
		}
		if r, ok := strings.CutSuffix(release, "-unsigned"); ok {
			release = r
			// The signed package, where there is one, has the same kernel.
			if _, ok := byKey[key{"linux-image-" + release, p.Version}]; ok {
				continue
			}
		}
		k := key{p.Name, p.Version}
		if seen[k] || !plainRE.MatchString(release) || strings.Contains(p.Depends, "linux-image-") {
			continue // the last: a meta package, which depends on the newest
		}
		seen[k] = true
		version := strings.ReplaceAll(debian.Upstream(p.Version), "~", "-")
		v := Version{
			Ref: "debian:" + p.Version, Version: version, Release: release, Package: p.Version,
			Suites: suites[k], RC: isRC(version), packages: []debian.Package{p},
		}
		if strings.Contains(p.Depends, "linux-binary-"+release) {
			v.packages, v.Missing = nil, ""
			for _, part := range splitPackages {
				names := []string{part.name + release, part.name + release + "-unsigned"}
				i := slices.IndexFunc(names, func(name string) bool { _, ok := byKey[key{name, p.Version}]; return ok })
				if i < 0 {
					v.Missing = fmt.Sprintf("of %s Debian no longer has %s, %s", version, names[0], part.loss)
					continue
				}
				v.packages = append(v.packages, byKey[key{names[i], p.Version}])
			}
		}
		for _, p := range v.packages {
			v.Bytes += p.Size
		}
		all = append(all, v)
	}
	slices.SortStableFunc(all, func(a, b Version) int { return compareKernels(a.Version, a.Package, b.Version, b.Package) })
	return all
}

// Choose gives the kernel that a debian: reference means now, without fetching
// it. When Debian can't be asked, it is one in the cache.
func (s *Store) Choose(ctx context.Context, text string) (Version, error) {
	ref, err := parseReference(text)
	if err != nil {
		return Version{}, err
	}
	if ref.debian == nil {
		return Version{}, fmt.Errorf("%w: %q: want debian:VERSION[@SUITE]", ErrRef, text)
	}
	cached, err := s.sound()
	if err != nil {
		return Version{}, err
	}
	for _, e := range cached {
		if ref.debian.names(e) {
			return e.version(), nil
		}
	}
	v, err := s.choose(ctx, *ref.debian, cached)
	if err != nil {
		return Version{}, fmt.Errorf("%s: %w", text, err)
	}
	return v, nil
}
