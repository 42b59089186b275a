package debian

import "net/url"

// Archive gives the mirror that Debian's packages are fetched from, without
// the credentials it may have, and what they are verified with, as Signed-By
// in sources.list(5); "" for the keys that apt trusts for all.
func (a *Apt) Archive() (mirror, signedBy string) {
	arch := a.main
	mirror = arch.uri
	if u, err := url.Parse(mirror); err == nil {
		mirror = u.Redacted()
	}
	return mirror, arch.get("Signed-By")
}
