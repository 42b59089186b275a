package scenarios

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

// Needs lists what a kernel must have for the scenario, in the order in which
// modules are loaded.
func (s *Scenario) Needs() []Need {
	needs := append([]Need(nil), base...)
	needs = append(needs,
		Need{"CONFIG_SATA_AHCI", "ahci"},
		Need{"CONFIG_BLK_DEV_SD", "sd_mod"},
	)
	if lvm := s.Stack.LVM; lvm != nil {
		needs = append(needs, Need{"CONFIG_BLK_DEV_DM", "dm-mod"})
		switch lvm.Type {
		case "mirror":
			needs = append(needs, Need{"CONFIG_DM_MIRROR", "dm-mirror"})
		case "raid1":
			// dm-raid asks for the personality by alias, so no dependency
			// of the module names it.
			needs = append(needs,
				Need{"CONFIG_BLK_DEV_MD", "md-mod"},
				Need{"CONFIG_MD_RAID1", "raid1"},
				Need{"CONFIG_DM_RAID", "dm-raid"},
			)
		}
	}
	if s.Stack.MD != nil {
		needs = append(needs,
			Need{"CONFIG_BLK_DEV_MD", "md-mod"},
			Need{"CONFIG_MD_RAID1", "raid1"},
		)
	}
	if s.Stack.Ext4 != nil {
		needs = append(needs, Need{"CONFIG_EXT4_FS", "ext4"})
	}
	return needs
}

// Tools lists the guest tools that the scenario's stack is built with.
func (s *Scenario) Tools() []string {
	var tools []string
	if lvm := s.Stack.LVM; lvm != nil {
		tools = append(tools, "lvm", "dmsetup")
		if lvm.Dmeventd {
			tools = append(tools, "dmeventd")
		}
	}
	if s.Stack.MD != nil {
		tools = append(tools, "mdadm")
	}
	if s.Stack.Ext4 != nil {
		tools = append(tools, "mke2fs")
	}
	return tools
}
