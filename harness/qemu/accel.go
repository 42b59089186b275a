package qemu

// Accel is how QEMU runs the guest's CPU.
type Accel string

// Accelerators.
const (
	KVM Accel = "kvm"
	TCG Accel = "tcg"
)
