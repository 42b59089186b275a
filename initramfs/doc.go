// Package initramfs makes, on the host, the initramfs a guest boots from.
//
//	b := &initramfs.Builder{Log: log}
//	img, err := b.Build(ctx, initramfs.Request{
//		Tools:   []string{"lvm", "mke2fs"},
//		Kernel:  kernel,
//		Modules: modules, // in the order to load them
//	})
//	// qemu … -initrd img.Path, and img.Modules goes to the guest
//
// # What is in an image
//
// An image is one file of several uncompressed newc cpio archives, one behind
// the other, as the kernel takes them (Documentation/driver-api/early-userspace/
// buffer-format.rst). Nothing is compressed: in an emulated guest, gzip and
// zstd gained no time over it. The members are
//
//   - init: the skeleton of folders and device nodes, and the executable as
//     /init, without its debug information;
//   - tools, if any are asked for: their executables in /usr/sbin with all that
//     they need to start, and LVM's configuration (lvm.conf);
//   - shell, if asked for: u-root's gosh and core commands in /bbin;
//   - modules, if any: unpacked, in /lib/modules/RELEASE.
//
// /bin, /sbin, /lib and /lib64 are links into /usr, and files of older Debian
// packages move there. Every member has all folders above its files, sorted,
// with owner root and time 0: the same inputs give the same bytes.
//
// # Guest tools
//
// tools.yaml says which tools there are and which Debian packages hold them.
// FromDebian takes them from there: the packages are fetched with a private
// apt state (kernels/debian), read, and not installed. What a tool needs is
// found in its own ELF file (interpreter, DT_NEEDED, RUNPATH) and then in that
// of each library; of the packages the tool depends on, only those are fetched
// that hold such a library. What is opened by name at run time (the plugins of
// dmeventd, libgcc for its threads) is in tools.yaml. All tools are fetched at
// once, so that every scenario has the same versions of them and the network
// is needed only the first time; what apt downloaded is then removed.
//
// FromHost takes the host's own tools in the same way. It never installs and
// never runs anything there.
//
// # The cache
//
// $XDG_CACHE_HOME/blockrig/initramfs holds a cachedir.Dir each of images,
// modules, tools, shell, debian (all tools of a suite, of which tools takes a
// part) and executables (which digest a file had). An entry has the digest of
// what went in as its key, and an archive and a record (.json) in it. Those
// that were used last are kept, older ones are removed when new ones come, and
// none that was used within the hour. It may be removed as a whole whenever no
// blockrig runs.
//
// Guest tools from Debian stay at the version that was fetched first until
// the cache is removed or tools.yaml changes; Initramfs.Tools says which.
//
// # Tests
//
// go test covers the rest with small ELF files, packages and kernels of its
// own. go test -tags vm fetches Debian's tools and starts each in a real
// guest, builds an LVM mirror with dmeventd, an LVM raid1 and an md array on
// real kernels there, and builds and runs the shell.
package initramfs
