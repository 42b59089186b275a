package results

import (
	"bytes"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// Given a scenario whose cases differ in the stack only, beside one of which
// they do not, then each stack of the first has a row, each kernel a column.
func TestEachStackHasARow(t *testing.T) {
	var records []Record
	add := func(scenario, id, release string, v scenarios.Verdict, said string, also ...scenarios.Verdict) {
		records = append(records, Record{Scenario: scenario, Case: id, Kernel: Kernel{Ref: "debian:" + release, Release: release}, Verdict: v, Also: also, Outcome: said})
	}
	for _, stack := range []string{"plain", "lvm-mirror", "md-raid1"} {
		add("stack-compare", "stack="+stack, "6.17.13", scenarios.Pass, "EINVAL")
	}
	add("stack-compare", "stack=plain", "6.18.15", scenarios.Pass, "EINVAL")
	add("stack-compare", "stack=lvm-mirror", "6.18.15", scenarios.Hang, "no answer", scenarios.Bug, scenarios.Degraded)
	add("stack-compare", "stack=lvm-mirror", "6.18.15", scenarios.Hang, "no answer", scenarios.Warn, scenarios.Degraded)
	add("stack-compare", "stack=lvm-mirror", "6.18.15", scenarios.Hang, "no answer", scenarios.Warn, scenarios.Degraded)
	add("stack-compare", "stack=md-raid1", "6.18.15", scenarios.Degraded, "4096 bytes")
	add("stack-compare", "stack=\x1b[31mevil", "\x1b[31m7", scenarios.Error, "-")
	add("two parameters", "stack=plain,length=512", "6.18.15", scenarios.Pass, "EINVAL")
	add("two parameters", "stack=mirror,length=512", "6.18.15", scenarios.Pass, "EINVAL")
	add("one case", "stack=plain", "6.18.15", scenarios.Pass, "EINVAL")
	add("another", "length=512", "6.18.15", scenarios.Pass, "EINVAL")
	add("another", "length=4096", "6.18.15", scenarios.Pass, "EINVAL")
	var b bytes.Buffer
	if err := StackTable(&b, records, Style{}); err != nil {
		t.Fatal(err)
	}
	if err := StackTable(&b, records[len(records)-5:], Style{}); err != nil {
		t.Fatal(err)
	}
	if err := StackTable(&b, records[:4], Style{Color: true}); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/stacks.golden", b.String())
}
