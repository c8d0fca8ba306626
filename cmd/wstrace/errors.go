package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/child"
	"github.com/wstrace/wstrace/cmd/wstrace/internal/source"
	"github.com/wstrace/wstrace/decode/har"
)

// The exit statuses.
const (
	exitFound  = 1 // check found an error
	exitUsage  = 2 // wrong usage
	exitFailed = 3 // the tool failed
)

// errReported ends the command with exit status 3 and without a message: there
// was one when the error happened.
var errReported = errors.New("reported before")

// errFound ends the command with exit status 1 and without a message: the report
// says it all.
var errFound = errors.New("found an error")

// reported returns an error without a message and with the exit status of err,
// which was shown.
func reported(err error) error {
	if exitStatus(err) == exitUsage {
		return usageError{errReported}
	}
	return errReported
}

// A usageError is a mistake of the user: exit status 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// A hinted error comes with a remedy.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

// A statusError ends wstrace with the exit status of a command. It has a message if
// the command could not be run.
type statusError struct {
	error
	child.Status
}

func (e statusError) Unwrap() error { return e.error }

func exitStatus(err error) int {
	var usage usageError
	var unknown *source.UnknownError
	var command statusError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage), errors.As(err, &unknown), errors.Is(err, har.ErrNoEntries):
		return exitUsage
	case errors.Is(err, errFound):
		return exitFound
	case errors.As(err, &command):
		return int(command.Status)
	}
	return exitFailed
}

// failed returns an error that says what was done to which object, and why that
// failed: listen "127.0.0.1:8080": address already in use.
func failed(op, object string, err error) error {
	if unknown, ok := errors.AsType[*source.UnknownError](err); ok {
		err = hinted{unknown, "read are .wst, .pcapng and .pcap, .har, .saz of Fiddler, and .flow of mitmproxy; each may be in gzip or zstd"}
	}
	return fmt.Errorf("%s %q: %w", op, object, cause(err))
}

// cause returns the part of err that says why, without the names of system
// calls and objects before it.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	switch e := err.(type) {
	case *fs.PathError:
		return cause(e.Err)
	case *os.SyscallError:
		return cause(e.Err)
	case *net.OpError:
		return cause(e.Err)
	}
	return err
}
