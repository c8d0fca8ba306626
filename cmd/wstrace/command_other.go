//go:build !unix

package main

import "os"

var commandSignals []os.Signal

func ofKeyboard(s os.Signal) bool { return s == os.Interrupt }

func isStop(os.Signal) bool { return false }

func ignoreBackground() {}

func fromTerminal() bool { return true }
