package qemu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Inject puts faults in force on the disks that they name, in place of those
// that these had. Of several that a request would meet, the first one hits it.
// Requests that were held go on.
func (m *Machine) Inject(faults ...Fault) error {
	of := map[*filter][]Fault{}
	for i, one := range faults {
		f, err := m.filterOf(one.Disk)
		if err == nil {
			if one.Offset > 0 && one.Length == 0 {
				one.Length = f.size - one.Offset
			}
			err = one.check()
		}
		if err == nil && one.Length > f.size-one.Offset {
			err = fmt.Errorf("%d bytes at %d: the disk has %d", one.Length, one.Offset, f.size)
		}
		if err != nil {
			return fmt.Errorf("fault %d of disk %s: %w", i+1, one.Disk, err)
		}
		of[f] = append(of[f], one)
	}
	for f, some := range of {
		if err := f.inject(some); err != nil {
			return fmt.Errorf("inject faults: %w", err)
		}
	}
	return nil
}

// Heal ends the faults of disks, of all if none is named, and lets requests
// go on that are held.
func (m *Machine) Heal(disks ...string) error {
	filters, err := m.filtersOf(disks)
	if err != nil {
		return fmt.Errorf("heal: %w", err)
	}
	for _, f := range filters {
		if err := f.inject(nil); err != nil {
			return fmt.Errorf("heal: %w", err)
		}
	}
	return nil
}

// Hits say how often each fault has been met, disk by disk, in the order of
// injection, those that are healed too. It works after the machine's end.
func (m *Machine) Hits() []Hits {
	var all []Hits
	for _, d := range m.spec.Disks {
		if f := m.filters[d.ID]; f != nil {
			all = append(all, f.hits()...)
		}
	}
	return all
}

// Held is how many requests of the guest a fault keeps waiting now. QEMU can't
// be paused or saved meanwhile.
func (m *Machine) Held() int {
	n := 0
	for _, f := range m.filters {
		n += f.heldNow()
	}
	return n
}

// mayHold says that a request is held, or can be from one moment to the next.
func (m *Machine) mayHold() bool {
	for _, f := range m.filters {
		if f.mayHold() {
			return true
		}
	}
	return false
}

// Pending is how long a request of the guest has waited for this process by
// now, which no fault keeps waiting; 0 when none waits. It is time that the
// host did not give to the guest.
func (m *Machine) Pending() time.Duration {
	longest := time.Duration(0)
	for _, f := range m.filters {
		if since, ok := f.pending(); ok {
			longest = max(longest, time.Since(since), 1)
		}
	}
	return longest
}

// Record begins a recording of disks, of all that have a filter if none is
// named. It ends with the machine, but its Close is the caller's.
func (m *Machine) Record(disks ...string) (*Recording, error) {
	filters, err := m.filtersOf(disks)
	if err == nil && len(filters) == 0 {
		err = errors.New("no disk has a filter")
	}
	for _, f := range filters {
		if f.disk.Zones != nil {
			err = fmt.Errorf("disk %s: QEMU forgets the state of its zones, so a power cut would be none", f.disk.ID)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("record writes: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked != nil {
		return nil, fmt.Errorf("record writes: %w", ErrEnded)
	}
	r, err := newRecording(m.spec.Dir, filters)
	if err != nil {
		return nil, fmt.Errorf("record writes: %w", err)
	}
	m.tapes = append(m.tapes, r)
	return r, nil
}

func (m *Machine) stopRecordings() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.tapes {
		r.Stop()
	}
}

// filterOf gives a disk's filter.
func (m *Machine) filterOf(disk string) (*filter, error) {
	if f := m.filters[disk]; f != nil {
		return f, nil
	}
	if slices.ContainsFunc(m.spec.Disks, func(d Disk) bool { return d.ID == disk }) {
		return nil, fmt.Errorf("disk %s has no filter", disk)
	}
	return nil, fmt.Errorf("the machine has no disk %q", disk)
}

// filtersOf gives the filters of disks, all if none is named.
func (m *Machine) filtersOf(disks []string) (all []*filter, err error) {
	if len(disks) == 0 {
		for _, d := range m.spec.Disks {
			if f := m.filters[d.ID]; f != nil {
				all = append(all, f)
			}
		}
		return all, nil
	}
	for _, id := range disks {
		f, err := m.filterOf(id)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	return all, nil
}

const (
	guardEvery = 100 * time.Millisecond
	// guardLimit is how long QEMU may be silent while it holds no lock of its
	// own and has nothing to do, until it must be that it waits for a request.
	guardLimit = 2 * time.Second
)

// guard watches over QEMU while requests are held on purpose. A guest that
// gives one up resets its controller, and QEMU, which can't cancel it, then
// stands still until it is answered. The request fails then: it has been
// aborted.
func (m *Machine) guard() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.guarded || m.asked != nil {
		return
	}
	m.guarded = true
	m.guards.Go(func() {
		for m.guardNeeded() {
			if !m.answersInTime() {
				m.abortHeld()
			}
			select {
			case <-m.done:
				return
			case <-time.After(guardEvery):
			}
		}
	})
}

// guardNeeded says whether a guard must stay; one that need not is gone.
func (m *Machine) guardNeeded() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.guarded = m.Held() > 0
	return m.guarded
}

// abortHeld fails the requests that are held.
func (m *Machine) abortHeld() {
	for _, f := range m.filters {
		f.mu.Lock()
		if f.held > 0 {
			f.release(true)
		}
		f.mu.Unlock()
	}
}

// answersInTime asks QEMU something. It is false when QEMU's main thread had
// nothing to do for guardLimit and did not answer all the same.
func (m *Machine) answersInTime() bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = m.Status(ctx) // an error ends the wait like an answer
	}()
	defer func() { <-answered }()
	defer cancel()
	idle := time.Duration(0)
	for {
		select {
		case <-answered:
			return true
		case <-m.done:
			return true
		case <-time.After(guardEvery):
		}
		t, err := m.Threads()
		if err == nil && !t.Main.Held() && t.Others == 'S' {
			idle += guardEvery
		}
		if idle >= guardLimit {
			return false
		}
	}
}
