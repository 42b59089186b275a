package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Unplug removes a disk from the running machine and returns when it is gone.
// One of virtio-scsi is gone at once, whatever the guest does with it; one of
// virtio-blk or NVMe, which must be Removable, when the guest has let it go.
// Its content stays for Plug.
func (m *Machine) Unplug(ctx context.Context, disk string) error {
	i, err := m.removable(disk)
	if err == nil {
		err = m.unplug(ctx, newSlots(m.spec.Disks).of[i].disk.id())
	}
	if err != nil {
		return fmt.Errorf("unplug disk %s: %w", disk, err)
	}
	return nil
}

func (m *Machine) unplug(ctx context.Context, id string) error {
	listening, stop := context.WithCancel(ctx)
	defer stop()
	events := m.mon.subscribe(listening)
	if err := m.execute(ctx, "device_del", map[string]string{"id": id}, nil); err != nil {
		return err
	}
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return m.explain(ErrMonitorClosed)
			}
			if e.Event == "DEVICE_DELETED" && e.Data["device"] == id {
				return nil
			}
			if e.Event == "DEVICE_UNPLUG_GUEST_ERROR" && e.Data["device"] == id {
				return errors.New("the guest refused")
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Plug puts a disk back that was unplugged.
func (m *Machine) Plug(ctx context.Context, disk string) error {
	i, err := m.removable(disk)
	if err != nil {
		return fmt.Errorf("plug disk %s: %w", disk, err)
	}
	if err := m.execute(ctx, "device_add", newSlots(m.spec.Disks).of[i].disk.plug(), nil); err != nil {
		return fmt.Errorf("plug disk %s: %w", disk, err)
	}
	return nil
}

// removable gives the number of a disk that can be unplugged.
func (m *Machine) removable(disk string) (int, error) {
	i := slices.IndexFunc(m.spec.Disks, func(d Disk) bool { return d.ID == disk })
	switch {
	case i < 0:
		return 0, errors.New("the machine has no such disk")
	case !m.spec.Disks[i].Removable && m.spec.Disks[i].Bus != VirtioSCSI:
		return 0, fmt.Errorf("it is one of %s that can't be removed", cmp.Or(m.spec.Disks[i].Bus, AHCI))
	}
	return i, nil
}

// id of a device in QEMU.
func (p part) id() string {
	i := slices.IndexFunc(p.properties, func(v property) bool { return v.name == "id" })
	return fmt.Sprint(p.properties[i].value)
}

// plug is what device_add is told.
func (p part) plug() map[string]any {
	args := map[string]any{"driver": p.driver}
	for _, v := range p.properties {
		args[v.name] = v.value
	}
	return args
}
