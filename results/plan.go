package results

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/blockrig/blockrig/harness/text"
)

// planFile is what it takes to go on with a run.
const planFile = "plan.json"

// A Plan is what a run is to do, so far as its command alone does not say it.
type Plan struct {
	Tasks     int               `json:"tasks"` // trials that were asked for
	Scenarios []PlannedScenario `json:"scenarios"`
	Kernels   []PlannedKernel   `json:"kernels"` // those that trials have begun on
}

// A PlannedScenario is a scenario as it was when the run began.
type PlannedScenario struct {
	Name   string `json:"name"`   // as the user named it: shipped, or a file
	Source string `json:"source"` // YAML
}

// A PlannedKernel is what a reference stood for.
type PlannedKernel struct {
	Ref    string `json:"ref"`    // as the user wrote it
	Exact  string `json:"exact"`  // a reference that gives this very kernel again
	Digest string `json:"digest"` // of image, config and modules
}

// Kernel gives what a reference stood for.
func (p Plan) Kernel(ref string) (PlannedKernel, bool) {
	for _, k := range p.Kernels {
		if k.Ref == ref {
			return k, true
		}
	}
	return PlannedKernel{}, false
}

// Scenario gives the scenario that the user named so.
func (p Plan) Scenario(name string) (PlannedScenario, bool) {
	for _, s := range p.Scenarios {
		if s.Name == name {
			return s, true
		}
	}
	return PlannedScenario{}, false
}

// SetPlan says what the run is to do. It may be called again when more is
// known.
func (r *Run) SetPlan(p Plan) error {
	line, err := text.JSONLine(p)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		temp := filepath.Join(r.dir, "."+planFile)
		if err = writeSynced(temp, line); err == nil {
			err = rename(temp, filepath.Join(r.dir, planFile))
		}
	}
	if err != nil {
		return fmt.Errorf("keep the run's plan: %w", err)
	}
	return nil
}

func decodePlan(src []byte) (Plan, error) {
	var p Plan
	if err := json.Unmarshal(src, &p); err != nil {
		return Plan{}, fmt.Errorf("not a plan: %w", err)
	}
	return p, nil
}
