package child

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Process is a command that runs.
type Process struct {
	PID      int
	Confined bool   // it can't gain privileges, so sudo fails
	Passed   Passed // what was left alone

	tracer *tracer // nil without [Command.Lead]
	status Status
	exited chan struct{}
	ended  chan struct{}

	once sync.Once
}

// Start starts a command. If it can't be executed, the error is an [*ExecError], and
// if it can't be led, an [*ErrNotTraced]; nothing runs then. The command is killed
// when we are. We become the parent of the processes that it leaves.
func Start(c *Command) (*Process, error) {
	p := &Process{exited: make(chan struct{}), ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // for as long as the process runs: PDEATHSIG comes when this thread ends
		err := p.start(c)
		started <- err
		if err == nil {
			p.wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// start starts the process, and waits until it is the command.
func (p *Process) start(c *Command) (err error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the parent of orphans: %w", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socketpair: %w", err)
	}
	socket := pair[0]
	defer unix.Close(socket)
	theirs, err := unix.FcntlInt(uintptr(pair[1]), unix.F_DUPFD, highDescriptor())
	unix.Close(pair[1])
	if err != nil {
		return fmt.Errorf("socketpair: %w", err)
	}
	mode := "plain"
	if c.Lead != nil {
		mode = "trace"
	}
	args := append([]string{stageName, strconv.Itoa(theirs), mode, c.Path}, c.Args...)
	p.PID, err = syscall.ForkExec("/proc/self/exe", args, &syscall.ProcAttr{
		Env:   c.Env,
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	unix.Close(theirs)
	if err != nil {
		return fmt.Errorf("start a process: %w", err)
	}
	if c.Lead != nil {
		err = p.trace(c.Lead, socket)
	}
	if err == nil {
		err = executed(socket)
	}
	if err != nil {
		syscall.Kill(p.PID, syscall.SIGKILL)
		reap(p.PID)
		if p.tracer != nil {
			p.tracer.stop()
		}
	}
	return err
}

// highDescriptor returns the lowest descriptor of ours that the process may inherit
// for a while: programs such as make hand theirs on by number, and those are low.
func highDescriptor() int {
	const high = 900
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && limit.Cur <= high {
		return int(limit.Cur / 2)
	}
	return high
}

// trace takes over the filter of the process, and lets it go on if that is of use.
func (p *Process) trace(lead *Lead, socket int) error {
	r, fd, err := receive(socket)
	switch {
	case err != nil:
		return err
	case r.step == stepFilter:
		return notTraced(r.errno)
	}
	if err := probe(p.PID); err != nil {
		unix.Close(fd)
		return &ErrNotTraced{Why: "the sockets of other processes can't be had here: " + err.Error(), Remedy: ptraceRemedy()}
	}
	p.Confined = r.step == stepConfined
	if p.tracer, err = newTracer(fd, lead, &p.Passed); err != nil {
		unix.Close(fd)
		return err
	}
	go p.tracer.run()
	_, err = unix.Write(socket, []byte{1})
	return err
}

// ptraceRemedy says what lets us have the sockets of our children.
func ptraceRemedy() string {
	scope, _ := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	if s := strings.TrimSpace(string(scope)); s != "" && s > "1" { // 1 permits it with children
		return "kernel.yama.ptrace_scope is " + s + ", and 1 permits it"
	}
	return "in Docker, docker run --cap-add SYS_PTRACE permits it"
}

// notTraced says why the filter can't be had.
func notTraced(errno syscall.Errno) error {
	switch errno {
	case unix.EBUSY:
		return &ErrNotTraced{Why: "it runs under a seccomp filter that reports to another program already, as in wstrace, or in some sandboxes"}
	case unix.ENOSYS, unix.EINVAL:
		return &ErrNotTraced{Why: fmt.Sprintf("the kernel has no seccomp notification, which Linux 5.6 and newer have: %v", errno)}
	}
	return &ErrNotTraced{Why: fmt.Sprintf("seccomp is not permitted here: %v", errno)}
}

// receive receives the report of a process about its filter.
func receive(socket int) (r report, fd int, err error) {
	b, oob := make([]byte, reportLen+1), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := recvmsg(socket, b, oob)
	if err != nil {
		return r, 0, fmt.Errorf("receive the filter: %w", err)
	}
	if r, err = parseReport(b[:n]); err != nil || r.step == stepFilter {
		return r, 0, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err == nil && len(messages) != 1 {
		err = errors.New("no descriptor came")
	}
	if err != nil {
		return r, 0, fmt.Errorf("receive the filter: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return r, 0, fmt.Errorf("receive the filter: %w", err)
	}
	return r, fds[0], nil
}

// executed waits until the process is the command, and returns why not if it isn't.
func executed(socket int) error {
	b := make([]byte, reportLen+1)
	n, _, _, _, err := recvmsg(socket, b, nil)
	if err != nil {
		return fmt.Errorf("wait for the command: %w", err)
	}
	if n == 0 { // closed by exec
		return nil
	}
	r, err := parseReport(b[:n])
	if err != nil {
		return err
	}
	return &ExecError{r.errno}
}

func recvmsg(socket int, b, oob []byte) (n, oobn, flags int, from unix.Sockaddr, err error) {
	for {
		n, oobn, flags, from, err = unix.Recvmsg(socket, b, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			return n, oobn, flags, from, err
		}
	}
}

// reap waits until a process of ours has ended.
func reap(pid int) {
	for {
		if _, err := syscall.Wait4(pid, nil, 0, nil); err != syscall.EINTR {
			return
		}
	}
}

// wait waits for the command, and for all that it leaves.
func (p *Process) wait() {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WUNTRACED, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil: // ECHILD
			if p.tracer != nil {
				select { // some may have another parent
				case <-p.tracer.ends:
				case <-p.tracer.over:
				}
			}
			close(p.ended)
			return
		case pid != p.PID:
		case ws.Stopped():
			p.stopLike(ws.StopSignal())
		default:
			p.status = Status(ws.ExitStatus())
			if ws.Signaled() {
				p.status = 128 + Status(ws.Signal())
			}
			close(p.exited)
		}
	}
}

// stopLike stops us as the command was, by the terminal, so that the shell sees it.
func (p *Process) stopLike(sig syscall.Signal) {
	if group, err := syscall.Getpgid(p.PID); sig == syscall.SIGSTOP && (err != nil || group == syscall.Getpgrp()) {
		return // somebody else's doing, who will see to it that it goes on; no shell that suspends itself
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	if state, _ := field(status, "State:"); !strings.HasPrefix(state, "T") {
		return // it goes on already: we were stopped with it
	}
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		return // there is no shell that could continue us
	} else {
		tty.Close()
	}
	StopSelf()
	syscall.Kill(p.PID, syscall.SIGCONT)
}

// StopSelf stops this process until somebody continues it.
func StopSelf() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP) // before anything else happens in this thread
}

// Exited is closed when the command has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Status returns how the command has ended, once it has.
func (p *Process) Status() Status { return p.status }

// Ended is closed when the command and all processes that it has left have ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Signal sends the command a signal.
func (p *Process) Signal(sig os.Signal) {
	if s, ok := sig.(syscall.Signal); ok {
		select {
		case <-p.exited:
		default:
			syscall.Kill(p.PID, s)
		}
	}
}

// Close ends the leading. Connects of processes that still run fail from then on.
func (p *Process) Close() {
	if p.tracer != nil {
		p.once.Do(p.tracer.stop)
	}
}

// Left returns the names and numbers of the processes that the command has left and
// that still run: "make[123]".
func (p *Process) Left() []string {
	return descendants(os.Getpid())
}
