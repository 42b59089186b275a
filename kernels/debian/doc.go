// Package debian fetches Debian packages with apt, without root and without
// touching the host's apt.
//
// An [Apt] has a state of its own below [Config].CacheDir: package lists,
// cache and a source list. Mirror, keyring, proxies and credentials are those
// of the machine's own apt configuration; only the suites differ. Nothing is
// installed: packages are downloaded, checked by apt against the signed lists,
// and read with [ReadDeb] or unpacked with [Extract].
//
//	apt, err := debian.Open(ctx, debian.Config{
//		CacheDir: filepath.Join(cache, "apt"),
//		Suites:   []string{"trixie", "trixie-security"},
//		Log:      log,
//	})
//	if err != nil {
//		return err
//	}
//	// Everything lvm2 needs to run, and lvm2 itself, which comes last.
//	pkgs, err := apt.Depends(ctx, "trixie", "lvm2")
//	if err != nil {
//		return err
//	}
//	for _, p := range pkgs {
//		path, err := apt.Download(ctx, p.Name, p.Version, p.Suite)
//		if err != nil {
//			return err
//		}
//		err = debian.Extract(path, root, func(name string) string {
//			if strings.HasPrefix(name, "usr/share/") {
//				return "" // left out
//			}
//			return name
//		})
//		if err != nil {
//			return err
//		}
//	}
//
// A name alone is enough to get the newest that the suites have:
//
//	path, err := apt.Download(ctx, "mdadm", "", "")
//
// An Apt may be used by several goroutines, and its folder by several
// processes, at once.
package debian
