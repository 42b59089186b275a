// Package kernels turns a kernel reference into an image, its modules and its
// release.
//
// A reference is one of
//
//	debian:VERSION[@SUITE]                  a Debian kernel
//	file:PATH[,modules=DIR][,config=FILE]   a bzImage of the user's
//	local:NAME                              one that Store.Add put into the cache
//	git:REPO@REV                            built from source, by Store.Builder
//
// VERSION is "newest", a prefix ("6.18": the newest 6.18.x there is), a
// version ("6.18.15", "7.3-rc7"), a package's version ("6.18.15-1~bpo13+1")
// or a release ("6.1.0-50-amd64"). Release candidates are taken only when they
// are named, or their suite is.
//
//	store, err := kernels.Open(ctx, cacheDir, log)
//	…
//	k, err := store.Resolve(ctx, "debian:6.18")
//	…
//	modules, err := k.Closure([]scenarios.Need{{Option: "CONFIG_DM_MIRROR", Module: "dm-mirror"}})
//	for _, m := range modules { // in the order to load them
//		r, err := k.OpenModule(m)
//		…
//	}
package kernels

// A Kernel is a kernel that can be booted, resolved from a reference. All
// paths are inside the cache, or those the user named.
type Kernel struct {
	Ref     string `json:"ref"`     // as the user wrote it
	Exact   string `json:"exact"`   // a reference that gives this very kernel again
	Release string `json:"release"` // uname -r
	Image   string `json:"image"`   // bzImage
	Config  string `json:"config,omitempty"`
	Map     string `json:"map,omitempty"`     // System.map
	Modules string `json:"modules,omitempty"` // folder with kernel/…/*.ko[.xz|.zst|.gz]; "" when everything is built in
	Vmlinux string `json:"vmlinux,omitempty"` // with symbols, when blockrig built it
	Digest  string `json:"digest"`            // hex SHA-256 of image, config and modules
	Index   string `json:"index,omitempty"`   // what is known of the modules, so that they need not all be read; "" when there is none
}

// A Module is one module to load, with its place in the kernel's tree.
type Module struct {
	Name string // dm_mirror
	Path string // below Kernel.Modules, slash separated: kernel/drivers/md/dm-mirror.ko.xz
	Soft bool   // only soft dependencies ask for it: when it can't be loaded (no such hardware), that is no error
}
