//go:build unix && !linux

package replay

// forget is for Linux only: elsewhere it may lose what is mapped.
func forget([]byte) {}
