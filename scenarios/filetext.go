package scenarios

import (
	"fmt"
	"strconv"
	"strings"
)

// A FileText is a text for a file of the kernel, which is to say the
// same when it is read.
type FileText struct {
	File  string // below the device's folder in sysfs, or a whole path
	Text  string
	Needs string // what a kernel without the file lacks
}

// Settings are what the step writes, in order, below the device's folder.
func (q Queue) Settings() []FileText {
	var out []FileText
	add := func(key, text, needs string) {
		out = append(out, FileText{"queue/" + key, text, needs})
	}
	if q.Scheduler != "" {
		add("scheduler", q.Scheduler, "")
	}
	const requests = "only devices with requests of their own have it, not those made of others"
	for _, n := range []struct {
		key   string
		value *int
		needs string
	}{
		{"nr_requests", q.NrRequests, requests},
		{"max_sectors_kb", q.MaxSectorsKB, ""},
		{"read_ahead_kb", q.ReadAheadKB, ""},
		{"nomerges", q.NoMerges, ""},
		{"rq_affinity", q.RqAffinity, requests},
		{"wbt_lat_usec", q.WbtLatUsec, "CONFIG_BLK_WBT, and a device with requests of its own"},
		{"io_timeout", q.IOTimeout, requests},
	} {
		if n.value != nil {
			add(n.key, strconv.Itoa(*n.value), n.needs)
		}
	}
	if q.WriteCache != nil {
		add("write_cache", map[bool]string{true: "write back", false: "write through"}[*q.WriteCache], "")
	}
	if q.DiscardMaxBytes != nil {
		add("discard_max_bytes", strconv.FormatInt(int64(*q.DiscardMaxBytes), 10), "")
	}
	return out
}

// Setting is what the step writes.
func (c CPU) Setting() FileText {
	n, text := c.Online, "1"
	if c.Offline != nil {
		n, text = c.Offline, "0"
	}
	if n == nil {
		return FileText{}
	}
	return FileText{fmt.Sprintf("/sys/devices/system/cpu/cpu%d/online", *n), text, "CONFIG_HOTPLUG_CPU, and a machine with that CPU (--cpus); the first one of x86 can't go away"}
}

// Setting is what the step writes.
func (s Sysctl) Setting() FileText {
	return FileText{"/proc/sys/" + strings.ReplaceAll(s.Key, ".", "/"), s.Value, "an option or a module that brings it"}
}
