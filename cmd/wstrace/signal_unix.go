//go:build unix

package main

import (
	"os"
	"syscall"
)

// newPartSignals are the signals at which a new recording file begins.
var newPartSignals = []os.Signal{syscall.SIGUSR1}
