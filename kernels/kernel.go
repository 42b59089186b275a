// Package kernels turns a kernel reference into an image, its modules and its
// release.
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
}

// A Module is one module to load, with its place in the kernel's tree.
type Module struct {
	Name string // dm_mirror
	Path string // below Kernel.Modules, slash separated: kernel/drivers/md/dm-mirror.ko.xz
}
