// Package trial runs one case on one machine and gives one result.
//
// A trial is a plain value in (Spec: a kernel, an initramfs, a case, a machine)
// and a plain value out (Result: what guest, host and console said, and the
// verdict). Everything that goes wrong on the way is in the result too: what
// the harness, QEMU or the tools did is the verdict error with its reason.
//
// A trial waits for what the guest says, never for time to pass. What it
// gives up on, it gives up on in time that the virtual CPU was given (see
// watch), so that a busy host makes nothing hang.
package trial
