package blktrace

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Given a kernel that lacks one of the tracepoints, then there is no tracer at
// all, for the steps that follow neither.
func TestNoTracerRecordsOnlyAPart(t *testing.T) {
	root := t.TempDir()
	has := func(names ...string) {
		t.Helper()
		for _, name := range names {
			file := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	event := func(buffer, event string) string { return filepath.Join("instances", buffer, "events", event) }
	has("kprobe_events", "events/block/enable")
	for _, buffer := range []string{"blockrig-errors", "blockrig-flow"} {
		for _, name := range []string{"tracing_on", "buffer_size_kb", "options/overwrite", "trace_clock"} {
			has(filepath.Join("instances", buffer, name))
		}
	}
	has(event("blockrig-flow", "block/block_bio_queue/enable"), event("blockrig-flow", "block/block_bio_remap/enable"))
	for _, e := range []string{"blockrig/ended", "block/block_rq_complete"} {
		has(event("blockrig-errors", e+"/filter"), event("blockrig-errors", e+"/enable"))
	}
	if tr, err := newTracer(root); err == nil || tr != nil || !strings.Contains(err.Error(), "block_bio_complete") {
		t.Errorf("%+v, %v; want no tracer, and why", tr, err)
	}
	e := event("blockrig-errors", "block/block_bio_complete")
	has(e+"/filter", e+"/enable")
	if tr, err := newTracer(root); err != nil || tr == nil || len(tr.Missing) > 0 {
		t.Errorf("%+v, %v; want one that lacks nothing", tr, err)
	}
}
