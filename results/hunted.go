package results

import (
	"slices"

	"github.com/blockrig/blockrig/results/store"
)

// Suspects is the scenario that trials of a hunt are recorded as, each with a
// program of its own: they have no rate and no history together.
const Suspects = "hunt-suspect"

// Cases takes the trials of hunts out of histories, and counts them. What a hunt
// found stands with the hunt.
func Cases(all []store.History) (cases []store.History, hunted int) {
	cases = slices.DeleteFunc(all, func(h store.History) bool {
		if h.Scenario != Suspects {
			return false
		}
		for _, p := range h.Points {
			hunted += p.Trials
		}
		return true
	})
	return cases, hunted
}
