package fleet

import (
	"cmp"
	"slices"
	"time"
)

// A Status is what a hub does at the moment.
type Status struct {
	Workers []WorkerStatus `json:"workers"`
	Batches int            `json:"batches"` // commands that wait
	Queued  int            `json:"queued"`  // jobs that nobody has begun
	Leased  int            `json:"leased"`
	Rebuilt int            `json:"rebuilt"` // times that the queue was made again
}

// A WorkerStatus is what one worker does.
type WorkerStatus struct {
	Name    string        `json:"name"`
	CPU     string        `json:"cpu,omitempty"`
	Classes []Class       `json:"classes"`
	Slots   int           `json:"slots"`
	Builds  int           `json:"builds,omitempty"` // kernels that it can build at a time
	Busy    int           `json:"busy"`             // slots with a job
	Use     float64       `json:"use"`              // share of its slots' time since it came that went into jobs
	Jobs    int           `json:"jobs"`             // done
	Errors  int           `json:"errors"`           // of these, without a verdict
	Lost    int           `json:"lost"`             // jobs that it did not come back from
	Silent  time.Duration `json:"silent_ns"`
	Here    bool          `json:"here"`
}

// Status says what goes on.
func (h *Hub) Status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Status{Workers: []WorkerStatus{}, Batches: len(h.batches), Rebuilt: h.rebuilt}
	for _, g := range h.groups {
		s.Queued += g.queued
	}
	now := time.Now()
	for _, w := range h.workers {
		busy := w.busy
		for _, since := range w.leases {
			busy += now.Sub(since)
		}
		st := WorkerStatus{
			Name: w.Name, CPU: w.CPU, Classes: w.Classes, Slots: w.Slots, Builds: w.Builds, Busy: len(w.leases), Jobs: w.jobs, Errors: w.errors, Lost: w.lost,
			Silent: now.Sub(w.seen), Here: now.Sub(w.seen) < asleep,
		}
		if all := now.Sub(w.since) * time.Duration(w.Slots+w.Builds); all > 0 {
			st.Use = min(1, float64(busy)/float64(all))
		}
		s.Leased += len(w.leases)
		s.Workers = append(s.Workers, st)
	}
	slices.SortFunc(s.Workers, func(a, b WorkerStatus) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(b.Jobs, a.Jobs)) })
	return s
}
