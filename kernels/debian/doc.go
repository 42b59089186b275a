// Package debian fetches Debian packages with apt, without root and without
// touching the host's apt.
//
// An [Apt] has package lists of its own below [Config].CacheDir. Mirror,
// keyring, proxies and credentials are those of the machine's own apt
// configuration; only the suites differ. Nothing is installed: apt downloads
// packages and checks them against the signed lists; they are read with
// [ReadDeb] or unpacked with [Extract].
//
//	apt, err := debian.Open(ctx, debian.Config{CacheDir: dir, Suites: []string{"trixie"}, Log: log})
//	…
//	pkgs, err := apt.Depends(ctx, "trixie", "lvm2") // lvm2 and all that it needs to run
//	…
//	debs, err := apt.Download(ctx, tmp, pkgs...)
//	…
//	err = debian.Extract(debs[0], root, func(name string) string {
//		if strings.HasPrefix(name, "usr/share/") {
//			return "" // left out
//		}
//		return name
//	})
//
// With Config.Wanted, Packages gives what the lists have of certain names.
//
// The lists are a folder in a cachedir for each update: what is damaged is
// fetched anew. An Apt may be used by several goroutines, and its folder by
// several processes, at once.
package debian
