package kernels

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

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
	name     string // of its folder, of one in the cache
}

// Available gives what Debian has for a prefix of versions (6.18 is a prefix
// of 6.18.15, not of 6.180; "" of all), oldest first, a release candidate
// before its release. Those that can't be used are among them, with the
// reason in Missing.
func (s *Store) Available(ctx context.Context, prefix string) ([]Version, error) {
	all, err := s.versions(ctx, true)
	if err != nil {
		return nil, fmt.Errorf("list Debian's kernels: %w", err)
	}
	want := debianRef{version: prefix}
	return slices.DeleteFunc(all, func(v Version) bool { return prefix != "" && !want.fits(v) }), nil
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
		return Version{}, fmt.Errorf("%w: %s; %s", ErrNotFound, broken[0].Missing, had(versions))
	}
	if r.suite != "" && !slices.ContainsFunc(versions, func(v Version) bool { return slices.Contains(v.Suites, r.suite) }) {
		return Version{}, fmt.Errorf("%w: there is no kernel in %s; %s", ErrNotFound, r.suite, had(versions))
	}
	return Version{}, fmt.Errorf("%w: %s", ErrNotFound, had(versions))
}

// had names the versions that are to be had, newest first.
func had(versions []Version) string {
	var names []string
	for _, v := range slices.Backward(versions) {
		if v.Missing == "" && !slices.Contains(names, v.Version) {
			names = append(names, v.Version)
		}
	}
	if len(names) == 0 {
		return "none is to be had"
	}
	return "to be had are " + strings.Join(names, ", ")
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

// openApt gives the apt state for kernels, made at its first use.
func (s *Store) openApt(ctx context.Context) (*debian.Apt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.apt != nil {
		return s.apt, nil
	}
	file, err := debianConfigFile()
	if err != nil {
		return nil, err
	}
	cfg, err := loadDebianConfig(file)
	if err != nil {
		return nil, err
	}
	s.apt, err = debian.Open(ctx, debian.Config{
		CacheDir: s.aptDir, Suites: cfg.Suites, Sources: s.aptSources,
		Mirror: cfg.Mirror, SecurityMirror: cfg.SecurityMirror, Keyring: cfg.Keyring,
		Progress: s.progress, Log: s.log,
	})
	if errors.Is(err, debian.ErrNoMirror) {
		return nil, fmt.Errorf("%w (configuration is %s)", err, file)
	}
	return s.apt, err
}

// errNoKernels says that the package lists name no kernel at all.
var errNoKernels = errors.New("the package lists name no kernel; they may be cut short, or no suite of debian.yaml has any")

// availableFile holds what versions found out, for as long as the package
// lists stay the same: reading those takes much longer.
const availableFile = "available.json"

type available struct {
	Format   int                `json:"format"`
	State    string             `json:"state"` // of apt
	Updated  time.Time          `json:"updated"`
	Versions []Version          `json:"versions"`
	Packages [][]debian.Package `json:"packages"`
}

// versions gives all of Debian's kernels, oldest first. Without refresh, what
// is known is enough, and it is none when nothing is.
func (s *Store) versions(ctx context.Context, refresh bool) ([]Version, error) {
	apt, err := s.openApt(ctx)
	if err != nil {
		return nil, err
	}
	if refresh {
		if err := apt.Refresh(ctx); err != nil {
			return nil, err
		}
	}
	updated, err := apt.Updated()
	if err != nil || updated.IsZero() {
		return nil, err
	}
	var known available
	file := filepath.Join(s.dir, availableFile)
	if data, err := os.ReadFile(file); err == nil && json.Unmarshal(data, &known) == nil &&
		known.Format == indexFormat && known.State == apt.Dir() && known.Updated.Equal(updated) && len(known.Packages) == len(known.Versions) {
		for i := range known.Versions {
			known.Versions[i].packages = known.Packages[i]
		}
		return known.Versions, nil
	}
	if !refresh {
		return nil, nil
	}
	found, err := apt.Search(ctx, `linux-(image|base|binary|modules)-[0-9].*-amd64(-unsigned)?`)
	if err != nil {
		return nil, err
	}
	known = available{Format: indexFormat, State: apt.Dir(), Updated: updated, Versions: findKernels(found)}
	if len(known.Versions) == 0 {
		// No archive is without one: the lists are not all there. That is
		// nothing to remember, nor to refuse a cached kernel for.
		return nil, errNoKernels
	}
	for _, v := range known.Versions {
		known.Packages = append(known.Packages, v.packages)
	}
	if err := writeJSON(file, known); err != nil {
		return nil, err
	}
	return known.Versions, nil
}

// A release of the plain flavour: neither cloud-amd64 nor rt-amd64.
var plainRE = regexp.MustCompile(`^[0-9][0-9.]*(-rc[0-9]+)?(\+[a-z0-9.+]+)?(-[0-9]+)?(\+[a-z0-9.+]+)?-amd64$`)

// splitPackages are the packages of a kernel from 6.19 on, and what is wrong
// without each. Of several losses the last is told.
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
