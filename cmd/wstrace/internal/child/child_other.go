//go:build !linux

package child

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// A Process is a command that runs.
type Process struct {
	PID      int
	Confined bool   // false here
	Passed   Passed // nothing here

	cmd    *exec.Cmd
	status Status
	exited chan struct{}
}

// Become does nothing here.
func Become() {}

// Start starts a command. If it can't be executed, the error is an [*ExecError], and
// if it is to be led, an [*ErrNotTraced]; nothing runs then.
func Start(c *Command) (*Process, error) {
	if c.Lead != nil {
		return nil, &ErrNotTraced{Why: "only Linux can lead the connections of a program"}
	}
	cmd := &exec.Cmd{Path: c.Path, Args: c.Args, Env: c.Env, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	if err := cmd.Start(); err != nil {
		return nil, &ExecError{err}
	}
	p := &Process{PID: cmd.Process.Pid, cmd: cmd, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		err := cmd.Wait()
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit):
			p.status = Status(exit.ExitCode())
			if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
				p.status = 128 + Status(ws.Signal())
			}
		case err != nil:
			p.status = 3
		}
	}()
	return p, nil
}

// StopSelf does nothing here.
func StopSelf() {}

// Exited is closed when the command has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Status returns how the command has ended, once it has.
func (p *Process) Status() Status { return p.status }

// Ended is closed when the command has ended; those that it leaves are not known here.
func (p *Process) Ended() <-chan struct{} { return p.exited }

// Signal sends the command a signal.
func (p *Process) Signal(sig os.Signal) { p.cmd.Process.Signal(sig) }

// Close does nothing here.
func (p *Process) Close() {}

// Left returns nothing here.
func (p *Process) Left() []string { return nil }

// Filtered returns false here.
func Filtered() bool { return false }
