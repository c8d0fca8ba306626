//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package trust_test

func holdDir() {}
