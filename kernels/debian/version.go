package debian

import (
	"cmp"
	"strings"
)

// CompareVersions orders package versions as dpkg does (deb-version(7)): -1
// when a is older than b, 0 when they are equal, 1 when a is newer.
func CompareVersions(a, b string) int {
	ea, ua, ra := splitVersion(a)
	eb, ub, rb := splitVersion(b)
	if c := compareNumbers(ea, eb); c != 0 {
		return c
	}
	if c := comparePart(ua, ub); c != 0 {
		return c
	}
	return comparePart(ra, rb)
}

// Upstream gives the upstream part of a package version:
// "1:6.18.15-1~bpo13+1" -> "6.18.15".
func Upstream(version string) string {
	_, upstream, _ := splitVersion(version)
	return upstream
}

func splitVersion(v string) (epoch, upstream, revision string) {
	if i := strings.IndexByte(v, ':'); i >= 0 {
		epoch, v = v[:i], v[i+1:]
	}
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		v, revision = v[:i], v[i+1:]
	}
	return epoch, v, revision
}

// comparePart compares, in turn, a run without digits and a number.
func comparePart(a, b string) int {
	for a != "" || b != "" {
		na, nb := digitsAt(a), digitsAt(b)
		for i := 0; i < na || i < nb; i++ {
			if c := cmp.Compare(weight(a, i, na), weight(b, i, nb)); c != 0 {
				return c
			}
		}
		a, b = a[na:], b[nb:]
		na, nb = digitsEnd(a), digitsEnd(b)
		if c := compareNumbers(a[:na], b[:nb]); c != 0 {
			return c
		}
		a, b = a[na:], b[nb:]
	}
	return 0
}

// weight orders the characters outside of numbers: a tilde before the end,
// the end before letters, letters before all others.
func weight(s string, i, end int) int {
	switch {
	case i >= end:
		return 0
	case s[i] == '~':
		return -1
	case 'a' <= s[i] && s[i] <= 'z', 'A' <= s[i] && s[i] <= 'Z':
		return int(s[i])
	}
	return int(s[i]) + 256
}

func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return cmp.Compare(a, b)
}

func digitsAt(s string) int {
	if i := strings.IndexAny(s, "0123456789"); i >= 0 {
		return i
	}
	return len(s)
}

func digitsEnd(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}
