// Package cachedir keeps folders that several processes share and that
// survive whatever ends a process: kill -9, a full disk, a loss of power. All
// caches and work folders of blockrig are made of it.
//
// # Entries of a cache
//
// A [Dir] is a folder of entries, each a folder of its own under a key. An
// entry is made once, by one process while others wait, appears whole or not
// at all, and never changes:
//
//	d := cachedir.New(path, cachedir.Options{What: "kernel", Limit: 10 << 30, Log: log})
//	e, err := d.Get(ctx, key, func(ctx context.Context, dir string) error {
//		return fetch(ctx, dir) // writes files into the empty folder dir
//	})
//	defer e.Close()
//	use(filepath.Join(e.Path(), "vmlinuz"))
//
// An [Entry] is a lease: until Close nobody removes the entry to make room.
// Who finds that it is of no use calls Discard instead; if another process has
// replaced it meanwhile, that one stays. Dir.Remove takes one away that a user
// no longer wants, at once.
//
// Trim removes the entries that were used longest ago until the rest is within
// the limits; Get calls it. A limit can be a number of bytes, a number of
// entries, or both; what is in use, or was used within Options.MinAge, stays.
//
// # Rot
//
// A manifest is kept with every entry: the name, size and checksum of each
// file. Opening an entry compares. A file that was cut, emptied, changed,
// removed or added, and a manifest that was changed or is missing, is damage:
// it is said once in the log, the entry is removed, and Get makes it again. A
// user never sees it, except for the time that it takes. What nobody can make
// again (Options.Irreplaceable) stays, and the damage is the error.
//
// What is compared, and when:
//   - Open and Get read every byte, or only those of the files that they are
//     told will be used (an entry of 4,000 modules); Entry.Verify reads others
//     later. Holes are not read, and big files are read by all processors
//     but one: some GB in a second, from the page cache.
//   - What was read once in a Dir is not read again while its inode, size,
//     mtime and ctime stay the same. So a write is always noticed, and rot of
//     the disk itself is noticed by the next process, not by a running one.
//   - The checksum is CRC-32C of each MiB, all of them under SHA-256. It finds
//     rot; it is no protection against who may write into the user's cache.
//
// The manifest also makes fsync needless for what can be made again: what a
// loss of power has left half written doesn't match. Options.Durable syncs
// what took hours to make.
//
// # Folders that one process holds
//
// A [Folder] is locked as long as its process holds it. Scratch makes one that
// goes with the process, Create makes one that appears whole at a path (a
// run), Hold takes one that is there (the state of a bisection). Sweep finds
// those in a root whose process died and removes them, or does what it is told
// with them.
//
// # Files
//
// WriteFile puts a file in place whole and safely on the disk. Lock and TryLock
// lock a file; a wait ends with its context.
//
// # On the disk
//
// Names that begin with a dot are this package's. In a root:
// .blockrig.root.lock, locked for moments while a folder is made, renamed or
// swept; .new-NAME, a folder being made; .old-…, a folder being removed. In a
// folder: .blockrig.lock, locked shared by who uses an entry and exclusively by
// who holds or makes a folder, its time that of the last use;
// .blockrig.manifest.
// Locks are flock(2)'s: the kernel gives them up with the process.
package cachedir
