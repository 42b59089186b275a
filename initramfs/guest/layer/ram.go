package layer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// The layers that lie on the guest's memory. Most are made by parameters of
// their module.

var (
	_ = register("brd", func(l scenarios.Layer) kind { return brd{l.Brd} })
	_ = register("zram", func(l scenarios.Layer) kind { return zram{l.Zram} })
	_ = register("null_blk", func(l scenarios.Layer) kind { return nullBlk{l.NullBlk} })
	_ = register("scsi_debug", func(l scenarios.Layer) kind { return scsiDebug{l.SCSIDebug} })
)

// ModuleParameters are those that a module is loaded with for disks and a stack,
// "" for none. The module's name is written with underscores.
func ModuleParameters(module string, disks []protocol.Disk, stack []scenarios.Layer) string {
	var brds, zrams, debugs int
	var size scenarios.Bytes
	out := ""
	for _, l := range stack {
		switch {
		case l.Brd != nil:
			brds++
			size = max(size, l.Brd.Size)
		case l.Zram != nil:
			zrams++
		case l.SCSIDebug != nil && module == "scsi_debug":
			d := l.SCSIDebug
			debugs++
			all := []string{fmt.Sprintf("dev_size_mb=%d", d.Size>>20), fmt.Sprintf("sector_size=%d", max(512, d.SectorSize))}
			if debugs > 1 { // a host for each: the disks of one host share what is written
				all = append(all, fmt.Sprintf("add_host=%d", debugs), "per_host_store=1")
			}
			out = strings.Join(append(all, d.Args...), " ")
		}
	}
	switch module {
	case "brd":
		return fmt.Sprintf("rd_nr=%d rd_size=%d", brds, size>>10)
	case "zram":
		return fmt.Sprintf("num_devices=%d", zrams)
	case "null_blk":
		return "nr_devices=0" // each is made as its layer says
	case "nvme":
		queues := 0
		for _, d := range disks {
			queues = max(queues, d.PollQueues)
		}
		if queues > 0 {
			return fmt.Sprintf("poll_queues=%d", queues)
		}
	}
	return out
}

// proveSize checks the size of a device that is on nothing.
func (p *Part) proveSize(want scenarios.Bytes) ([]string, error) {
	got, err := p.Bytes()
	if err != nil {
		return nil, err
	}
	if got != int64(want) {
		return nil, fmt.Errorf("%s has %d bytes, not %d", p.Device.Name, got, int64(want))
	}
	return []string{fmt.Sprintf("%s is %s (%s), %s of %d bytes", p.Name, p.Device.Name, p.Device, p.Layer.Kind(), got)}, nil
}

type brd struct{ *scenarios.Brd }

func (b brd) build(_ Host, p *Part) error {
	err := p.found("ram" + strconv.Itoa(p.number))
	if err == nil {
		_, err = p.proveSize(b.Size) // all RAM disks have one size: that of the largest
	}
	return err
}

func (b brd) prove(p *Part) ([]string, error) { return p.proveSize(b.Size) }

type zram struct{ *scenarios.Zram }

func (z zram) build(h Host, p *Part) error {
	name := "zram" + strconv.Itoa(p.number)
	sys := filepath.Join("/sys/block", name)
	if z.Algorithm != "" {
		if err := h.Self("text", filepath.Join(sys, "comp_algorithm"), z.Algorithm); err != nil {
			return err
		}
	}
	if err := h.Self("text", filepath.Join(sys, "disksize"), strconv.FormatInt(int64(z.Size), 10)); err != nil {
		return err
	}
	return p.found(name)
}

func (z zram) prove(p *Part) ([]string, error) {
	if z.Algorithm != "" {
		got, err := ReadText(filepath.Join("/sys/block", p.Device.Name, "comp_algorithm"))
		if err != nil {
			return nil, err
		}
		if !slices.Contains(strings.Fields(got), "["+z.Algorithm+"]") {
			return nil, fmt.Errorf("the compression is %s, not %s", got, z.Algorithm)
		}
	}
	return p.proveSize(z.Size)
}

type nullBlk struct{ *scenarios.NullBlk }

// configfs is where devices of null_blk are made (null_blk.rst).
const configfs = "/sys/kernel/config"

func (n nullBlk) build(h Host, p *Part) error {
	if err := unix.Mount("configfs", configfs, "configfs", 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount configfs: %w", err)
	}
	// Since 6.0 the folder's name is the device's; before, the first free one.
	name := "nullb" + strconv.Itoa(p.number)
	dir := filepath.Join(configfs, "nullb", name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	settings := [][2]string{
		{"size", strconv.FormatInt(int64(n.Size)>>20, 10)},
		{"blocksize", strconv.Itoa(max(512, n.BlockSize))},
		{"memory_backed", "1"},
	}
	if n.WriteCache {
		settings = append(settings, [2]string{"cache_size", "16"})
	}
	if n.Discard {
		settings = append(settings, [2]string{"discard", "1"})
	}
	if n.Zoned {
		settings = append(settings, [2]string{"zoned", "1"}, [2]string{"zone_size", strconv.FormatInt(max(1, int64(n.ZoneSize)>>20), 10)})
	}
	for _, s := range []struct {
		name string
		n    int
	}{{"zone_capacity", int(n.Capacity >> 20)}, {"zone_nr_conv", n.Regular}, {"zone_max_open", n.MaxOpen}, {"zone_max_active", n.MaxActive}} {
		if s.n > 0 {
			settings = append(settings, [2]string{s.name, strconv.Itoa(s.n)})
		}
	}
	if n.PollQueues > 0 {
		settings = append(settings, [2]string{"poll_queues", strconv.Itoa(n.PollQueues)})
	}
	settings = append(settings, [2]string{"power", "1"})
	for _, s := range settings {
		if err := h.Self("text", filepath.Join(dir, s[0]), s[1]); err != nil {
			return err
		}
	}
	return p.found(name)
}

func (n nullBlk) prove(p *Part) ([]string, error) {
	queue := filepath.Join("/sys/block", p.Device.Name, "queue")
	if err := expectFile(filepath.Join(queue, "logical_block_size"), strconv.Itoa(max(512, n.BlockSize))); err != nil {
		return nil, err
	}
	if err := expectFile(filepath.Join(queue, "zoned"), map[bool]string{false: "none", true: "host-managed"}[n.Zoned]); err != nil {
		return nil, err
	}
	if n.WriteCache {
		if err := expectFile(filepath.Join(queue, "write_cache"), "write back"); err != nil {
			return nil, err
		}
	}
	return p.proveSize(n.Size)
}

type scsiDebug struct{ *scenarios.SCSIDebug }

func (d scsiDebug) build(h Host, p *Part) error {
	// scsi_debug.c makes its hosts below adapter0, adapter1, … With arguments for
	// more of them the layer is the first logical unit of the first target.
	pattern := fmt.Sprintf("/sys/devices/pseudo_0/adapter%d/host*/target*:0:0/*:0:0:0/block/*", p.number)
	ok, err := h.Until(rescanWait, func(time.Duration) (bool, error) {
		disks, err := filepath.Glob(pattern)
		return len(disks) == 1 && p.found(filepath.Base(disks[0])) == nil, err
	})
	if err == nil && !ok {
		err = fmt.Errorf("no disk of scsi_debug appears in %s", pattern)
	}
	return err
}

func (d scsiDebug) prove(p *Part) ([]string, error) {
	if err := expectFile(filepath.Join("/sys/block", p.Device.Name, "queue/logical_block_size"), strconv.Itoa(max(512, d.SectorSize))); err != nil {
		return nil, err
	}
	return p.proveSize(d.Size)
}
