package child

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A notification is struct seccomp_notif: a system call that waits for an answer.
type notification struct {
	id    uint64
	tid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// A response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	val   int64
	errno int32 // negative
	flags uint32
}

// An answer is what becomes of a system call.
type answer struct {
	leave bool          // to the kernel, as if nobody had looked
	errno syscall.Errno // it fails with; 0 if it succeeds
}

var leave = answer{leave: true}

// A tracer answers the system calls that a filter reports.
type tracer struct {
	fd     int
	lead   *Lead
	passed *Passed
	netns  uint64 // cookie of our network namespace; 0 if there is none
	parks  *parks

	mu    sync.Mutex
	dials map[uint64]*dial  // by the cookie of the socket
	led   map[uint64][]byte // the address that the process wanted, by the cookie of its socket
	taken []uint64          // cookies of sockets in led with which we are done, the latest last

	ctx    context.Context // of dials
	cancel context.CancelFunc
	work   sync.WaitGroup // answers and dials
	ends   chan struct{}  // closed when no process is under the filter, and none will be
	over   chan struct{}  // closed when run has returned
	quit   [2]int         // a pipe: its end to be read, and to be closed
}

// newTracer returns a tracer for the filter with descriptor fd, which it owns.
func newTracer(fd int, lead *Lead, passed *Passed) (*tracer, error) {
	t := &tracer{fd: fd, lead: lead, passed: passed, dials: make(map[uint64]*dial), led: make(map[uint64][]byte), ends: make(chan struct{}), over: make(chan struct{})}
	var err error
	if t.parks, err = openParks(); err != nil {
		return nil, err
	}
	if err := unix.Pipe2(t.quit[:], unix.O_CLOEXEC); err != nil {
		t.parks.close()
		return nil, err
	}
	t.netns = ownNamespace()
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t, nil
}

// run answers until no process is left or stop is called.
func (t *tracer) run() {
	defer close(t.over)
	fds := []unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}, {Fd: int32(t.quit[0])}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil || fds[1].Revents != 0:
			return
		case fds[0].Revents&unix.POLLIN != 0:
			t.receive()
		case fds[0].Revents != 0: // POLLHUP
			close(t.ends)
			return
		}
	}
}

// stop ends run, and waits for what is under way; connections that were handed on are
// for their taker to end. From then on the system calls that the filter reports fail.
func (t *tracer) stop() {
	unix.Close(t.quit[1])
	<-t.over
	t.cancel()
	t.work.Wait()
	unix.Close(t.quit[0])
	unix.Close(t.fd)
	t.parks.close()
}

// receive takes one notification, and has it answered.
func (t *tracer) receive() {
	n := new(notification)
	if err := ioctl(t.fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(n)); err != nil {
		return // its process has been killed
	}
	t.work.Go(func() {
		a := leave
		switch n.nr {
		case unix.SYS_CONNECT:
			a = t.connect(n)
		case unix.SYS_GETPEERNAME:
			a = t.peerName(n)
		}
		t.answer(n, a)
	})
}

func (t *tracer) answer(n *notification, a answer) {
	r := response{id: n.id, errno: -int32(a.errno)}
	if a.leave {
		r.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
	}
	ioctl(t.fd, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)) // fails if a signal came first
}

// waits reports whether a system call still waits for its answer.
func (t *tracer) waits(n *notification) bool {
	id := n.id
	return ioctl(t.fd, unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&id)) == nil
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

// open opens the process that waits with n, and its socket, which is argument 0. It
// returns nil if there is none, or if the process no longer waits: it was killed, and its
// number may be that of another by now. But a signal may have interrupted its call, of
// which it may think that it goes on, as a connect does; that is one only if it is under
// a filter.
func (t *tracer) open(n *notification) (*process, int, error) {
	p, err := openProcess(n.tid)
	if err == nil && !t.waits(n) && !p.filtered {
		p.close()
		return nil, 0, nil
	}
	s := 0
	if err == nil {
		if s, err = p.socket(int(int32(n.args[0]))); err != nil {
			p.close()
		}
	}
	if err == unix.EBADF || err != nil && !t.waits(n) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	return p, s, nil
}

// probe reports why the files and the memory of a process can't be used, or nil.
func probe(pid int) error {
	p, err := openProcess(uint32(pid))
	if err != nil {
		return fmt.Errorf("open process: %w", err)
	}
	defer p.close()
	fd, err := p.socket(0)
	if err == nil {
		unix.Close(fd)
	} else if err != unix.EBADF {
		return fmt.Errorf("pidfd_getfd: %w", err)
	}
	return nil
}
