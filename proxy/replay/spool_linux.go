package replay

import "syscall"

// forget lets go of the memory that holds a mapped part of a file, which is read again when
// it is looked at.
func forget(mapped []byte) {
	if len(mapped) > 0 {
		syscall.Madvise(mapped, syscall.MADV_DONTNEED)
	}
}
