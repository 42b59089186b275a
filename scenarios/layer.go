package scenarios

import "reflect"

// The fields of layers and steps are what a scenario may say of them. Their
// tags are read by package language, and its reference and schema are made of
// them:
//
//	json      the key; with omitempty it may be left out
//	is        the words that are allowed; in capitals: what a text must be
//	default   the value where the key is left out
//	least     the smallest number or size allowed, 0 where it is left out; of a
//	          list: 0 where it may be empty
//	most      the largest one
//	unit      what a number counts, or what a size is a multiple of
//	doc       what it means
//	alone     the value may be written in place of the whole mapping

// A Layer is a part of the stack, over disks or over other layers. One of the
// fields behind On is set: the layer's kind.
type Layer struct {
	Name string   `json:"name,omitempty" is:"NAME" doc:"what the other parts of the scenario call it; where it is left out, its kind: md, then md2, …"`
	On   []string `json:"on,omitempty" is:"DEVICE" doc:"the disks or layers that it lies on, in order; where it is left out, the layer before it, and for the first one all disks"`

	MD        *MD        `json:"md,omitempty" doc:"an md array (mdadm)"`
	LVM       *LVM       `json:"lvm,omitempty" doc:"a volume group over all that it lies on, with one logical volume (lvcreate). The group has the layer's name, the volume is lvol0, and pool, cache or snap is what stands beside it"`
	DM        *DM        `json:"dm,omitempty" doc:"a device-mapper device with a table of one's own (dmsetup), which has the layer's name"`
	Crypt     *Crypt     `json:"crypt,omitempty" doc:"an encrypted device (cryptsetup), which has the layer's name"`
	Bcache    *Bcache    `json:"bcache,omitempty" doc:"a bcache device: the backing device first, then the cache"`
	Partition *Partition `json:"partition,omitempty" doc:"one partition of a GPT"`
	Loop      *Loop      `json:"loop,omitempty" doc:"a loop device over a file or a device"`
	Brd       *Brd       `json:"brd,omitempty" doc:"a RAM disk"`
	Zram      *Zram      `json:"zram,omitempty" doc:"a compressed RAM disk"`
	NullBlk   *NullBlk   `json:"null_blk,omitempty" doc:"a null_blk device that keeps its data"`
	SCSIDebug *SCSIDebug `json:"scsi_debug,omitempty" doc:"a simulated SCSI disk, with a host of its own; the module makes all of them alike"`
	FS        *FS        `json:"fs,omitempty" doc:"a file system, mounted"`
	File      *File      `json:"file,omitempty" doc:"a file of known content"`
}

// MD is an md array over all that it lies on (mdadm(8)).
type MD struct {
	Level       string   `json:"level" alone:"" is:"linear raid0 raid1 raid4 raid5 raid6 raid10" doc:"the RAID level"`
	Metadata    string   `json:"metadata,omitempty" is:"0.90 1.0 1.1 1.2" default:"1.2" doc:"version of the superblock"`
	Bitmap      string   `json:"bitmap,omitempty" is:"none internal lockless" default:"none" doc:"the write-intent bitmap; lockless is llbitmap, of Linux 6.18 and later with CONFIG_MD_LLBITMAP, and of mdadm 4.5 and later"`
	Chunk       Bytes    `json:"chunk,omitempty" least:"4KiB" unit:"4KiB" doc:"chunk size of a striped level"`
	Layout      string   `json:"layout,omitempty" doc:"layout as mdadm names it, such as n2, f2, o2, left-symmetric"`
	Spares      int      `json:"spares,omitempty" most:"8" doc:"how many of the last devices, before a journal, are spares"`
	Missing     []int    `json:"missing,omitempty" doc:"places, from 0, of members that are left out: the array begins degraded, and they can be added later"`
	WriteMostly []int    `json:"write_mostly,omitempty" doc:"places of members that are write-mostly, from 0"`
	WriteBehind int      `json:"write_behind,omitempty" most:"16383" doc:"the most writes that may lag on write-mostly members; needs a bitmap"`
	Journal     bool     `json:"journal,omitempty" doc:"the last device is the write journal of a raid4/5/6"`
	Consistency string   `json:"consistency,omitempty" is:"resync bitmap journal ppl" doc:"the consistency policy"`
	AssumeClean bool     `json:"assume_clean,omitempty" doc:"no first resync"`
	Size        Bytes    `json:"size,omitempty" unit:"1KiB" doc:"how much of each member is used; all of it where it is left out"`
	Args        []string `json:"args,omitempty" doc:"more arguments for mdadm --create, such as --failfast or --bitmap-chunk=4K"`
}

// LVM is one logical volume in a group of its own (lvcreate(8)).
type LVM struct {
	Type       string   `json:"type" is:"linear striped mirror raid0 raid1 raid4 raid5 raid6 raid10 thin snapshot cache writecache vdo" doc:"the type of the volume"`
	Size       Bytes    `json:"size" least:"4MiB" most:"512GiB" unit:"4MiB" doc:"size of the volume"`
	Log        string   `json:"log,omitempty" is:"disk core" doc:"where a mirror keeps its log; a mirror must say it"`
	Dmeventd   bool     `json:"dmeventd" default:"false" doc:"monitor the volume by dmeventd; a mirror must say it"`
	Mirrors    int      `json:"mirrors,omitempty" least:"1" most:"9" doc:"copies besides the first; 1 for mirror, raid1 and raid10 where it is left out"`
	Stripes    int      `json:"stripes,omitempty" least:"1" most:"64" doc:"stripes, without parity"`
	StripeSize Bytes    `json:"stripe_size,omitempty" least:"4KiB" unit:"4KiB" doc:"stripe size"`
	RegionSize Bytes    `json:"region_size,omitempty" unit:"4KiB" doc:"region size of a mirror or raid"`
	Chunk      Bytes    `json:"chunk,omitempty" unit:"4KiB" doc:"chunk size of a snapshot, thin pool or cache"`
	Extra      Bytes    `json:"extra,omitempty" unit:"4MiB" doc:"size of what stands beside the volume: the snapshot's store, the pool of a thin or vdo volume, the cache; the volume's where it is left out"`
	CacheMode  string   `json:"cache_mode,omitempty" is:"writethrough writeback" doc:"mode of a cache"`
	Integrity  bool     `json:"integrity,omitempty" doc:"integrity checksums under each leg of a raid"`
	NoSync     bool     `json:"nosync,omitempty" doc:"no first resync"`
	Args       []string `json:"args,omitempty" doc:"more arguments for lvcreate"`
}

// DM is a device-mapper device (dmsetup(8)).
type DM struct {
	Table []string `json:"table" alone:"" is:"ARGUMENT" doc:"lines START LENGTH TARGET ARGUMENTS…, in sectors; {name} is the device of a disk or layer, {name.sectors} its size"`
}

// Crypt is an encrypted device (cryptsetup(8)).
type Crypt struct {
	Type       string   `json:"type" alone:"" is:"luks2 plain" default:"luks2" doc:"format"`
	SectorSize int      `json:"sector_size,omitempty" is:"512 1024 2048 4096" default:"512" unit:"bytes" doc:"encryption sector size"`
	Integrity  string   `json:"integrity,omitempty" is:"hmac-sha256 crc32c" doc:"integrity of a luks2 device"`
	Format     []string `json:"format,omitempty" doc:"more arguments for cryptsetup luksFormat, such as --cipher, aes-xts-plain64be or --pbkdf, argon2id"`
	Args       []string `json:"args,omitempty" doc:"more arguments for cryptsetup open, such as --allow-discards or --perf-no_write_workqueue; of a plain device --cipher, too"`
}

// Bcache is a backing device with a cache.
type Bcache struct {
	Mode string `json:"mode" alone:"" is:"writethrough writeback writearound none" default:"writethrough" doc:"cache mode"`
}

// Partition is the only partition of a GPT.
type Partition struct {
	Start Bytes `json:"start" default:"1MiB" unit:"512" doc:"where it begins"`
	Size  Bytes `json:"size,omitempty" unit:"512" doc:"its size; up to the end where it is left out"`
}

// Loop is a loop device (losetup(8)).
type Loop struct {
	Direct    bool `json:"direct" default:"false" doc:"direct I/O to what is below"`
	BlockSize int  `json:"block_size" is:"512 1024 2048 4096" default:"512" unit:"bytes" doc:"logical block size"`
}

// Brd is a RAM disk of the brd module.
type Brd struct {
	Size Bytes `json:"size" alone:"" least:"1MiB" most:"1GiB" unit:"4KiB" doc:"size"`
}

// Zram is a compressed RAM disk.
type Zram struct {
	Size      Bytes  `json:"size" alone:"" least:"1MiB" most:"4GiB" unit:"4KiB" doc:"size"`
	Algorithm string `json:"algorithm,omitempty" doc:"compression; the kernel's default where it is left out"`
}

// NullBlk is a memory-backed null_blk device.
type NullBlk struct {
	Size       Bytes `json:"size" alone:"" least:"1MiB" most:"1GiB" unit:"1MiB" doc:"size"`
	BlockSize  int   `json:"block_size" is:"512 1024 2048 4096" default:"512" unit:"bytes" doc:"logical block size"`
	WriteCache bool  `json:"write_cache" default:"false" doc:"a volatile write cache"`
	Discard    bool  `json:"discard" default:"false" doc:"discard"`
	Zoned      bool  `json:"zoned" default:"false" doc:"a zoned device"`
	ZoneSize   Bytes `json:"zone_size,omitempty" least:"1MiB" unit:"1MiB" doc:"zone size of a zoned device"`
	Capacity   Bytes `json:"zone_capacity,omitempty" least:"1MiB" unit:"1MiB" doc:"how much of each zone can be written; all of it where it is left out"`
	MaxOpen    int   `json:"max_open,omitempty" most:"1024" doc:"how many zones can be open at once; without a limit where it is left out"`
	MaxActive  int   `json:"max_active,omitempty" most:"1024" doc:"how many zones can be open or closed at once; without a limit where it is left out"`
	Regular    int   `json:"conventional,omitempty" most:"1024" doc:"so many of the first zones are conventional ones"`
	PollQueues int   `json:"poll_queues,omitempty" most:"8" doc:"queues for polled I/O"`
}

// SCSIDebug is a disk of the scsi_debug module.
type SCSIDebug struct {
	Size       Bytes    `json:"size" alone:"" least:"1MiB" most:"1GiB" unit:"1MiB" doc:"size"`
	SectorSize int      `json:"sector_size" is:"512 4096" default:"512" unit:"bytes" doc:"logical block size"`
	Args       []string `json:"args,omitempty" doc:"more parameters of the module, name=value"`
}

// FS is a file system (mkfs(8), mount(8)).
type FS struct {
	Type      string   `json:"type" alone:"" is:"ext4 xfs btrfs f2fs" doc:"the file system"`
	BlockSize int      `json:"block_size,omitempty" is:"512 1024 2048 4096" unit:"bytes" doc:"block size; that of mkfs where it is left out"`
	Profile   string   `json:"profile,omitempty" is:"single dup raid0 raid1 raid1c3 raid1c4 raid10 raid5 raid6" doc:"of a btrfs: how data and metadata lie on its devices; mkfs.btrfs chooses where it is left out"`
	Mkfs      []string `json:"mkfs,omitempty" doc:"more arguments for mkfs"`
	Options   string   `json:"options,omitempty" doc:"mount options"`
}

// File is a file of known content on a file system: byte i of it is
// protocol.Pattern(i).
type File struct {
	Size   Bytes `json:"size" alone:"" least:"1" most:"256GiB" doc:"size"`
	Sparse bool  `json:"sparse" default:"false" doc:"the file has its size, and nothing was written"`
}

// alternative is the kind that is set in a struct of alternatives.
func alternative(v reflect.Value) (key string, value reflect.Value) {
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			return JSONKey(v.Type().Field(i)), f
		}
	}
	return "", reflect.Value{}
}

// JSONKey is the key of a field.
func JSONKey(f reflect.StructField) string {
	key := f.Tag.Get("json")
	for i, c := range key {
		if c == ',' {
			return key[:i]
		}
	}
	return key
}

// Kind is what a layer is, as a scenario writes it: md, lvm, …
func (l Layer) Kind() string {
	key, _ := alternative(reflect.ValueOf(l))
	return key
}
