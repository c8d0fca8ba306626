//go:build !unix

package main

import "os"

var newPartSignals []os.Signal
