// Package blktrace records in the guest what the block layer did in a step, by
// the tracepoints of the kernel (include/trace/events/block.h) and a probe of
// its own on bio_endio, through which every bio of every device passes when it
// ends: also one that was refused before it became a request, of which the
// tracepoints may say nothing.
package blktrace
