//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// commandSignals are for a command, besides those that end a run.
var commandSignals = []os.Signal{syscall.SIGQUIT, syscall.SIGUSR2, syscall.SIGTSTP}

// ofKeyboard reports whether the keyboard may send s.
func ofKeyboard(s os.Signal) bool {
	return s == syscall.SIGINT || s == syscall.SIGQUIT || s == syscall.SIGTSTP
}

func isStop(s os.Signal) bool { return s == syscall.SIGTSTP }

// ignoreBackground lets us write to the terminal when the command has taken it over,
// as a shell does.
func ignoreBackground() { signal.Ignore(syscall.SIGTTOU) }

// fromTerminal reports whether a signal of the keyboard went to us: then the command
// has it, too.
func fromTerminal() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == syscall.Getpgrp()
}
