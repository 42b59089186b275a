package initramfs

// CheckExecutable says why a file can't be the guest's /init. The error wraps
// ErrDynamic when it is not static.
func CheckExecutable(path string) error {
	_, _, err := readExecutable(path)
	return err
}
