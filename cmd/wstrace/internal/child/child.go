// Package child runs a command whose connections are led to us.
//
// On Linux the command runs under a seccomp filter that reports each connect of it
// and of its children: user notification, which needs no privilege, no namespace and
// nothing in the program.
//
//	child.go     what a command is, and what becomes of its connections
//	start.go     starts it, and waits for it and for the processes that it leaves
//	stage.go     what runs in the new process until it becomes the command
//	filter.go    the filter
//	trace.go     receives what the filter reports
//	wanted.go    where a connect leads, and whether it is to be led
//	connect.go   answers a connect: dials in the program's place
//	cross.go     links the program's socket with one of ours
//	park.go      where the program's socket waits for that
//	process.go   reads the memory and the sockets of a process
package child

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
)

// A Command is what to run.
type Command struct {
	Path string   // of the executable
	Args []string // its name, and its arguments
	Env  []string
	Lead *Lead // nil leaves its connections alone
}

// A Lead says what becomes of the TCP connections that a command and its children
// make. Its functions are called by several goroutines at the same time.
type Lead struct {
	// Take takes a connection, and does not wait for its end.
	Take func(Conn)

	// Own reports whether an address is one of ours, so that connections with it
	// are left alone.
	Own func(netip.AddrPort) bool

	// Tried is told of each attempt to connect, with the error if it has failed;
	// nil if nobody wants to know.
	Tried func(to Wanted, err error)

	// DialTimeout is how long an attempt may take; 0 leaves that to the system.
	DialTimeout time.Duration
}

// Wanted is where a process wanted to connect.
type Wanted struct {
	Addr    netip.AddrPort
	PID     int
	Process string // its name, as the system has it
}

// A Conn is a connection of a process that was led to us.
type Conn struct {
	Wanted
	Client net.Conn // with the process
	Server net.Conn // with the address that it wanted
	Done   func()   // to be called once both are closed
}

// Passed counts what was left alone, though it may have been a connection to look
// into.
type Passed struct {
	UDP        atomic.Int64 // sockets that were connected for a second or more, but for DNS
	Namespace  atomic.Int64 // connections in another network namespace
	Device     atomic.Int64 // of sockets that are bound to a network device
	Unreadable atomic.Int64 // attempts of processes that can't be read
	Protocol   atomic.Int64 // of other stream protocols, such as MPTCP
	Managers   atomic.Int64 // connections with a service that starts processes for others, such as Docker
}

// ErrNotTraced says that a command can't be run so that its connections are led to
// us. The text says why, and Remedy what can be done.
type ErrNotTraced struct {
	Why    string
	Remedy string // may be ""
}

func (e *ErrNotTraced) Error() string { return e.Why }

// A Status is how a process has ended: its exit status, or 128 and the number of the
// signal that killed it.
type Status int

// ExecError is why a command could not be executed.
type ExecError struct{ Err error }

func (e *ExecError) Error() string { return e.Err.Error() }
func (e *ExecError) Unwrap() error { return e.Err }

// Status returns the exit status that shells give for it: 127 if there is no such
// command, and 126 if it can't be executed.
func (e *ExecError) Status() Status {
	if errors.Is(e.Err, os.ErrNotExist) {
		return 127
	}
	return 126
}
