//go:build unix

package ca

import (
	"io/fs"
	"os"
	"syscall"
)

// isOthers reports whether a file belongs to neither us nor root. Root may use
// what is others'.
func isOthers(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	us := os.Geteuid()
	return ok && us != 0 && st.Uid != 0 && st.Uid != uint32(us)
}
