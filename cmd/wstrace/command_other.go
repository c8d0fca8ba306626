//go:build !unix

package main

import "os"

var commandSignals []os.Signal

func isQuit(os.Signal) bool { return false }

func ignoreBackground() {}

func fromTerminal() bool { return true }
