package scenarios

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
)

// A Need is something that a kernel must have for a scenario: built in, or as
// a module.
type Need struct {
	Option string // CONFIG_DM_MIRROR
	Module string // dm-mirror, as modprobe(8) takes it; "" for an option that can only be built in
}

// base is what every guest needs.
var base = []Need{
	{"CONFIG_BLK_DEV_INITRD", ""},
	{"CONFIG_DEVTMPFS", ""},
	{"CONFIG_PROC_FS", ""},
	{"CONFIG_SYSFS", ""},
	{"CONFIG_TMPFS", ""},
	// A console loaded as a module comes too late for what the boot says.
	{"CONFIG_SERIAL_8250_CONSOLE", ""},
}

// diskNeeds is what each bus takes.
var diskNeeds = map[string][]Need{
	"ahci":        {{"CONFIG_SATA_AHCI", "ahci"}, {"CONFIG_BLK_DEV_SD", "sd_mod"}},
	"virtio-blk":  {{"CONFIG_VIRTIO_PCI", "virtio_pci"}, {"CONFIG_VIRTIO_BLK", "virtio_blk"}},
	"virtio-scsi": {{"CONFIG_VIRTIO_PCI", "virtio_pci"}, {"CONFIG_SCSI_VIRTIO", "virtio_scsi"}, {"CONFIG_BLK_DEV_SD", "sd_mod"}},
	"nvme":        {{"CONFIG_BLK_DEV_NVME", "nvme"}},
}

var (
	dmNeeds = Need{"CONFIG_BLK_DEV_DM", "dm-mod"}
	mdNeeds = Need{"CONFIG_BLK_DEV_MD", "md-mod"}
	// dm-crypt asks for its ciphers by name, which nobody in the guest answers.
	cryptNeeds = []Need{{"CONFIG_DM_CRYPT", "dm-crypt"}, {"CONFIG_CRYPTO_AES", "aes_generic"}, {"CONFIG_CRYPTO_XTS", "xts"}}
)

// TargetNeeds is what each target of device-mapper takes, by its word in a
// table.
var TargetNeeds = map[string][]Need{
	"linear": nil, "striped": nil, "error": nil,
	"zero":            {{"CONFIG_DM_ZERO", "dm-zero"}},
	"mirror":          {{"CONFIG_DM_MIRROR", "dm-mirror"}},
	"raid":            {{"CONFIG_DM_RAID", "dm-raid"}},
	"flakey":          {{"CONFIG_DM_FLAKEY", "dm-flakey"}},
	"delay":           {{"CONFIG_DM_DELAY", "dm-delay"}},
	"dust":            {{"CONFIG_DM_DUST", "dm-dust"}},
	"ebs":             {{"CONFIG_DM_EBS", "dm-ebs"}},
	"unstriped":       {{"CONFIG_DM_UNSTRIPED", "dm-unstripe"}},
	"switch":          {{"CONFIG_DM_SWITCH", "dm-switch"}},
	"era":             {{"CONFIG_DM_ERA", "dm-era"}},
	"clone":           {{"CONFIG_DM_CLONE", "dm-clone"}},
	"verity":          {{"CONFIG_DM_VERITY", "dm-verity"}, {"CONFIG_CRYPTO_SHA256", "sha256_generic"}},
	"snapshot":        {{"CONFIG_DM_SNAPSHOT", "dm-snapshot"}},
	"snapshot-origin": {{"CONFIG_DM_SNAPSHOT", "dm-snapshot"}},
	"snapshot-merge":  {{"CONFIG_DM_SNAPSHOT", "dm-snapshot"}},
	"thin":            {{"CONFIG_DM_THIN_PROVISIONING", "dm-thin-pool"}},
	"thin-pool":       {{"CONFIG_DM_THIN_PROVISIONING", "dm-thin-pool"}},
	"cache":           {{"CONFIG_DM_CACHE", "dm-cache"}, {"CONFIG_DM_CACHE_SMQ", "dm-cache-smq"}},
	"writecache":      {{"CONFIG_DM_WRITECACHE", "dm-writecache"}},
	"integrity":       {{"CONFIG_DM_INTEGRITY", "dm-integrity"}, {"CONFIG_CRYPTO_CRC32C", "crc32c"}},
	"zoned":           {{"CONFIG_DM_ZONED", "dm-zoned"}},
	"crypt":           cryptNeeds,
	"log-writes":      {{"CONFIG_DM_LOG_WRITES", "dm-log-writes"}},
	"vdo":             {{"CONFIG_DM_VDO", "dm-vdo"}},
	"multipath":       {{"CONFIG_DM_MULTIPATH", "dm-multipath"}, {"CONFIG_DM_MULTIPATH", "dm-round-robin"}},
}

// schedulerNeeds is what each I/O scheduler takes.
var schedulerNeeds = map[string][]Need{
	"mq-deadline": {{"CONFIG_MQ_IOSCHED_DEADLINE", "mq-deadline"}},
	"kyber":       {{"CONFIG_MQ_IOSCHED_KYBER", "kyber-iosched"}},
	"bfq":         {{"CONFIG_IOSCHED_BFQ", "bfq"}},
}

// Targets are the words of TargetNeeds, sorted.
func Targets() []string { return slices.Sorted(maps.Keys(TargetNeeds)) }

// personality is the module of an md level, and of a raid type of dm-raid,
// which asks for it by alias, so that no dependency of its module names it.
func personality(level string) Need {
	switch level {
	case "raid4", "raid5", "raid6":
		return Need{"CONFIG_MD_RAID456", "raid456"}
	}
	return Need{"CONFIG_MD_" + strings.ToUpper(level), level}
}

// dmRaid is what a raid target of a level takes.
func dmRaid(level string) []Need {
	return append([]Need{mdNeeds, personality(level)}, TargetNeeds["raid"]...)
}

// Needs lists what a kernel must have for the case, in the order in which
// modules are loaded.
func (c Case) Needs() []Need {
	var needs []Need
	add := func(more []Need) { needs = appendNew(needs, more...) }
	add(base)
	for _, d := range c.Setup.Disks {
		add(diskNeeds[d.Bus])
		if d.Zones.Size > 0 {
			add([]Need{{"CONFIG_BLK_DEV_ZONED", ""}})
		}
		if d.Protection > 0 {
			add([]Need{{"CONFIG_BLK_DEV_INTEGRITY", ""}})
		}
	}
	for _, l := range c.Setup.Stack {
		add(l.needs())
	}
	for s := range allSteps(c.Steps) {
		add(c.stepNeeds(s))
	}
	return needs
}

// stepNeeds are those of a step's system calls, and of what it makes of a layer:
// another table, volume or level. Nobody in the guest loads a module when the
// kernel asks for it.
func (c Case) stepNeeds(s Step) []Need {
	words := s.words()
	has := func(any ...string) bool {
		return slices.ContainsFunc(any, func(w string) bool { return slices.Contains(words, w) })
	}
	var needs []Need
	switch {
	case s.IO == nil:
	case strings.HasPrefix(s.IO.Op, "io_uring"):
		needs = append(needs, Need{"CONFIG_IO_URING", ""})
	case strings.HasPrefix(s.IO.Op, "libaio"):
		needs = append(needs, Need{"CONFIG_AIO", ""})
	}
	switch {
	case s.Queue != nil:
		needs = append(needs, schedulerNeeds[s.Queue.Scheduler]...)
		if s.Queue.WbtLatUsec != nil {
			needs = append(needs, Need{"CONFIG_BLK_WBT", ""})
		}
	case s.CPU != nil:
		needs = append(needs, Need{"CONFIG_HOTPLUG_CPU", ""})
	case s.Act != nil && s.Act.Do == "snapshot":
		needs = append(needs, TargetNeeds["snapshot"]...)
	case s.Act != nil && s.Act.Do == "reshape" && s.Act.Level != "raid1" && s.Act.Level != "raid10":
		// A raid0 becomes a raid4 for the time of it.
		needs = append(needs, personality("raid5"))
	}
	for _, w := range words {
		level := strings.TrimPrefix(w, "--level=")
		switch {
		case toolNeeds[w] != nil:
			needs = append(needs, dmNeeds)
			needs = append(needs, toolNeeds[w]...)
		case has("dmsetup", "reload") && TargetNeeds[w] != nil:
			needs = append(needs, dmNeeds)
			needs = append(needs, TargetNeeds[w]...)
		case has("lvcreate", "lvconvert"):
			needs = append(needs, LVM{Type: w}.needs()...)
		case slices.Contains([]string{"raid0", "raid1", "raid4", "raid5", "raid6", "raid10"}, level) &&
			(has("dmsetup", "reload") || slices.ContainsFunc(c.Setup.Stack, func(l Layer) bool { return l.MD != nil })):
			needs = append(needs, personality(level))
		}
	}
	return needs
}

func appendNew[T comparable](list []T, more ...T) []T {
	for _, v := range more {
		if !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}

// needs are those of one layer.
func (l Layer) needs() []Need {
	switch {
	case l.LVM != nil:
		return append([]Need{dmNeeds}, l.LVM.needs()...)
	case l.MD != nil:
		needs := []Need{mdNeeds, personality(l.MD.Level)}
		if l.MD.Bitmap == "lockless" {
			needs = append(needs, Need{"CONFIG_MD_LLBITMAP", ""})
		}
		return needs
	case l.DM != nil:
		return append([]Need{dmNeeds}, l.DM.needs()...)
	case l.Crypt != nil:
		return append([]Need{dmNeeds}, l.Crypt.needs()...)
	case l.Bcache != nil:
		return []Need{{"CONFIG_BCACHE", "bcache"}}
	case l.Partition != nil:
		return []Need{{"CONFIG_EFI_PARTITION", ""}}
	case l.Loop != nil:
		return []Need{{"CONFIG_BLK_DEV_LOOP", "loop"}}
	case l.Brd != nil:
		return []Need{{"CONFIG_BLK_DEV_RAM", "brd"}}
	case l.Zram != nil:
		return []Need{{"CONFIG_ZRAM", "zram"}}
	case l.NullBlk != nil && l.NullBlk.Zoned:
		return []Need{{"CONFIG_BLK_DEV_ZONED", ""}, {"CONFIG_BLK_DEV_NULL_BLK", "null_blk"}}
	case l.NullBlk != nil:
		return []Need{{"CONFIG_BLK_DEV_NULL_BLK", "null_blk"}}
	case l.SCSIDebug != nil:
		return []Need{{"CONFIG_SCSI_DEBUG", "scsi_debug"}, {"CONFIG_BLK_DEV_SD", "sd_mod"}}
	case l.FS != nil:
		return []Need{{"CONFIG_" + strings.ToUpper(l.FS.Type) + "_FS", l.FS.Type}}
	}
	return nil
}

func (v LVM) needs() []Need {
	var needs []Need
	switch v.Type {
	case "linear", "striped":
	case "raid0", "raid1", "raid4", "raid5", "raid6", "raid10":
		needs = dmRaid(v.Type)
		if v.Integrity {
			needs = append(needs, TargetNeeds["integrity"]...)
		}
	case "thin":
		needs = TargetNeeds["thin-pool"]
	default: // mirror, snapshot, cache, writecache, vdo, or none of LVM's
		needs = TargetNeeds[v.Type]
	}
	return needs
}

func (t DM) needs() []Need {
	var needs []Need
	for _, line := range t.Table {
		w := strings.Fields(line)
		if len(w) < 3 {
			continue
		}
		if w[2] == "raid" && len(w) > 3 { // raid RAID_TYPE …: raid5_ls, raid10, …
			level, _, _ := strings.Cut(w[3], "_")
			needs = append(needs, dmRaid(level)...)
			continue
		}
		needs = append(needs, TargetNeeds[w[2]]...)
	}
	return needs
}

func (c Crypt) needs() []Need {
	if c.Integrity == "" {
		return cryptNeeds
	}
	needs := append(slices.Clone(cryptNeeds), TargetNeeds["integrity"]...)
	if c.Integrity == "hmac-sha256" {
		needs = append(needs, Need{"CONFIG_CRYPTO_AUTHENC", "authenc"}, Need{"CONFIG_CRYPTO_HMAC", "hmac"}, Need{"CONFIG_CRYPTO_SHA256", "sha256_generic"})
	}
	return needs
}

// A guest tool is named as package initramfs does. commands are those of the
// tools that have several, or another name than theirs.
var commands = map[string]string{
	"mkfs.ext4": "mke2fs",
	"mdadm":     "mdadm", "lvm": "lvm", "dmsetup": "dmsetup", "mke2fs": "mke2fs", "e2fsck": "e2fsck", "resize2fs": "resize2fs",
	"cryptsetup": "cryptsetup", "integritysetup": "integritysetup", "veritysetup": "veritysetup", "make-bcache": "make-bcache",
	"mkfs.xfs": "mkfs.xfs", "xfs_repair": "xfs_repair", "xfs_growfs": "xfs_growfs", "xfs_io": "xfs_io",
	"mkfs.btrfs": "mkfs.btrfs", "btrfs": "btrfs", "mkfs.f2fs": "mkfs.f2fs", "fsck.f2fs": "fsck.f2fs", "resize.f2fs": "resize.f2fs",
	"thin_check": "thin_check", "cache_check": "cache_check", "era_check": "era_check", "vdoformat": "vdoformat",
}

// ShellCommands are those of u-root that a guest has in which steps run what is
// no guest tool: all of its core commands but for those that package initramfs
// leaves out.
var ShellCommands = strings.Fields(`
	backoff base64 basename blkid cat chmod chroot cmp comm cp cpio date dd df dirname dmesg du echo
	false find free gosh gpt grep gzip head hexdump hostname id insmod io kill lddfiles ln losetup ls
	lsdrivers lsfd lsmod man md5sum mkdir mkfifo mknod mktemp more mount mv nohup pci pidof poweroff
	printenv ps pwd readlink realpath rm rmmod seq shasum sleep sort strace strings stty sync tail tar
	tee time timeout touch tr true truncate ts tsort tty umount uname uniq unmount unshare uptime wc
	which xargs yes`)

// ToolNames are the guest tools that steps can run, sorted. LVM's are more: lvs,
// vgchange and so on.
func ToolNames() []string { return slices.Sorted(maps.Keys(commands)) }

// HasCommand says whether the guest has a command of that name.
func HasCommand(name string) bool {
	return name == "sh" || toolOf(name) != "" || slices.Contains(ShellCommands, name)
}

// toolNeeds is what a tool that a step runs makes devices of.
var toolNeeds = map[string][]Need{
	"pvmove":     TargetNeeds["mirror"], // it mirrors what it moves
	"cryptsetup": cryptNeeds, "integritysetup": TargetNeeds["integrity"], "veritysetup": TargetNeeds["verity"],
}

// toolOf is the guest tool that a word runs, "" where it runs none.
func toolOf(word string) string {
	if tool := commands[word]; tool != "" {
		return tool
	}
	for _, prefix := range []string{"lv", "vg", "pv"} { // lvcreate, vgs, pvmove
		if rest, ok := strings.CutPrefix(word, prefix); ok && slices.Contains(lvmVerbs, rest) {
			return "lvm"
		}
	}
	return ""
}

var lvmVerbs = []string{"change", "ck", "convert", "create", "display", "extend", "move", "reduce", "remove", "rename", "resize", "s", "scan"}

// Tools lists the guest tools that the case's layers and steps run.
func (c Case) Tools() []string {
	var tools []string
	for _, l := range c.Setup.Stack {
		tools = appendNew(tools, l.tools()...)
	}
	for s := range allSteps(c.Steps) {
		tools = appendNew(tools, c.stepTools(s)...)
		for _, word := range s.words() {
			if tool := toolOf(word); tool != "" {
				tools = appendNew(tools, tool)
			}
		}
	}
	return tools
}

// Shell says whether the case runs commands of u-root's.
func (c Case) Shell() bool {
	for s := range allSteps(c.Steps) {
		if s.Run != nil || s.Exec != nil && s.Exec.File == "" && toolOf(s.Exec.Args[0]) == "" {
			return true
		}
	}
	return false
}

// allSteps are the steps, also those inside of others.
func allSteps(steps []Step) iter.Seq[Step] {
	return func(yield func(Step) bool) { eachStep(steps, yield) }
}

func eachStep(steps []Step, do func(Step) bool) bool {
	for _, s := range steps {
		if !do(s) {
			return false
		}
		for _, group := range s.Groups() {
			if !eachStep(group, do) {
				return false
			}
		}
	}
	return true
}

// words are those with which a step may name a tool, a target or a level: of
// what a shell runs, of arguments, of what is written.
func (s Step) words() []string {
	var args []string
	switch {
	case s.Run != nil:
		args = []string{s.Run.Lines}
	case s.Exec != nil:
		args = s.Exec.Args
	case s.Act != nil:
		args = append([]string{s.Act.Do, s.Act.Level}, s.Act.Args...)
	case s.Write != nil:
		args = []string{s.Write.Text}
	}
	return strings.FieldsFunc(strings.Join(args, "\n"), func(r rune) bool { return strings.ContainsRune(" \t\n;|&()`\"'", r) })
}

// stepTools are those of what a step does to a layer.
func (c Case) stepTools(s Step) []string {
	name := ""
	switch {
	case s.Act != nil:
		name = s.Act.To
	case s.Check != nil:
		name = cmp.Or(s.Check.Fsck, s.Check.Metadata)
	}
	l := c.Setup.Layer(name)
	switch {
	case l == nil:
		return nil
	case s.Check != nil && s.Check.Metadata != "":
		return append(l.tools(), l.checkers()...)
	case l.FS == nil:
		return l.tools()
	case s.Check != nil:
		return []string{map[string]string{"ext4": "e2fsck", "xfs": "xfs_repair", "btrfs": "btrfs", "f2fs": "fsck.f2fs"}[l.FS.Type]}
	case s.Act.Do == "grow":
		return []string{map[string]string{"ext4": "resize2fs", "xfs": "xfs_growfs", "btrfs": "btrfs", "f2fs": "resize.f2fs"}[l.FS.Type]}
	case l.FS.Type == "btrfs" && (s.Act.Do == "scrub" || s.Act.Do == "snapshot"):
		return []string{"btrfs"}
	}
	return nil
}

// checkTools are the tools that look at the metadata of a target.
var checkTools = map[string]string{"thin-pool": "thin_check", "thin": "thin_check", "cache": "cache_check", "era": "era_check"}

// checkers are the tools that look at a layer's metadata, besides its own.
func (l Layer) checkers() []string {
	switch {
	case l.LVM != nil:
		return appendNew(nil, slices.DeleteFunc([]string{checkTools[l.LVM.Type]}, func(t string) bool { return t == "" })...)
	case l.DM != nil:
		return l.DM.Checkers()
	}
	return nil
}

// Checkers are the tools that look at the metadata of the table's targets.
func (t DM) Checkers() []string {
	var tools []string
	for _, target := range t.targets() {
		if checkTools[target] != "" {
			tools = appendNew(tools, checkTools[target])
		}
	}
	return tools
}

// Has says whether a table has one of those targets.
func (t DM) Has(targets ...string) bool {
	return slices.ContainsFunc(t.targets(), func(target string) bool { return slices.Contains(targets, target) })
}

// targets are those of the table, line by line.
func (t DM) targets() []string {
	var targets []string
	for _, line := range t.Table {
		if w := strings.Fields(line); len(w) > 2 {
			targets = append(targets, w[2])
		}
	}
	return targets
}

// tools are those of one layer.
func (l Layer) tools() []string {
	switch {
	case l.LVM != nil && l.LVM.Dmeventd:
		return []string{"lvm", "dmsetup", "dmeventd"}
	case l.LVM != nil && l.LVM.Type == "vdo":
		return []string{"lvm", "dmsetup", "vdoformat"}
	case l.LVM != nil:
		return []string{"lvm", "dmsetup"}
	case l.MD != nil:
		return []string{"mdadm"}
	case l.DM != nil:
		return []string{"dmsetup"}
	case l.Crypt != nil:
		return []string{"cryptsetup", "dmsetup"}
	case l.Bcache != nil:
		return []string{"make-bcache"}
	case l.FS != nil && l.FS.Type == "ext4":
		return []string{"mke2fs"}
	case l.FS != nil && l.FS.Type == "btrfs" && len(l.On) > 1:
		return []string{"mkfs.btrfs", "btrfs"} // which tells the kernel of its devices
	case l.FS != nil:
		return []string{"mkfs." + l.FS.Type}
	}
	return nil
}
