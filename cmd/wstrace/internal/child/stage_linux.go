package child

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// stageName is the first argument of a process that becomes the command.
const stageName = "wstrace: becoming the command"

// A report is what such a process says about itself: how far it has come, and the
// error there.
type report struct {
	step  step
	errno syscall.Errno
}

type step uint8

const (
	stepFilter   step = iota // the filter could not be had
	stepListener             // the filter is there; its descriptor comes with this
	stepConfined             // the same, and the process can't gain privileges
	stepExec                 // the command could not be executed
)

const reportLen = 5

func (r report) bytes() []byte {
	return binary.LittleEndian.AppendUint32([]byte{byte(r.step)}, uint32(r.errno))
}

func parseReport(b []byte) (report, error) {
	if len(b) != reportLen {
		return report{}, fmt.Errorf("%d bytes of report", len(b))
	}
	return report{step(b[0]), syscall.Errno(binary.LittleEndian.Uint32(b[1:]))}, nil
}

// Become makes this process the command, if it was started for that: a program calls
// it before anything else. It returns if it was not.
func Become() {
	if len(os.Args) < 5 || os.Args[0] != stageName {
		return
	}
	runtime.LockOSThread() // the filter holds for one thread, and for what that executes
	socket, err := strconv.Atoi(os.Args[1])
	if err != nil {
		os.Exit(3)
	}
	syscall.CloseOnExec(socket)
	if os.Args[2] == "trace" {
		beTraced(socket)
	}
	err = execute(os.Args[3], os.Args[4:])
	unix.Sendmsg(socket, report{stepExec, errnoOf(err)}.bytes(), nil, nil, 0)
	os.Exit(3)
}

// beTraced installs the filter, sends its descriptor, and waits until that is known
// to be of use.
func beTraced(socket int) {
	fd, confined, err := install()
	if err != nil {
		unix.Sendmsg(socket, report{stepFilter, errnoOf(err)}.bytes(), nil, nil, 0)
		os.Exit(3)
	}
	r := report{step: stepListener}
	if confined {
		r.step = stepConfined
	}
	if err := unix.Sendmsg(socket, r.bytes(), unix.UnixRights(fd), nil, 0); err != nil {
		os.Exit(3)
	}
	unix.Close(fd)
	if n, err := unix.Read(socket, make([]byte, 1)); n != 1 || err != nil {
		os.Exit(3)
	}
}

// execute runs path in this process. A file that is no program is run by the shell,
// as execvp does.
func execute(path string, args []string) error {
	err := syscall.Exec(path, args, os.Environ())
	if errors.Is(err, syscall.ENOEXEC) {
		return syscall.Exec("/bin/sh", append([]string{"sh", path}, args[1:]...), os.Environ())
	}
	return err
}

func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	errors.As(err, &errno)
	return errno
}
