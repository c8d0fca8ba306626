package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	pointers "unsafe" // whose name is taken in this package

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// Programs that wstrace runs, or that run it.
func init() {
	programs["catcher"] = catcher
	programs["dialer"] = dialer
	programs["lateserver"] = lateServer
	programs["sender"] = sender
	programs["without"] = without
}

// catcher says "ready", and the name of the signals that it gets. After the first it
// waits for a line on stdin, and exits with status 5. It says which were ignored.
func catcher() {
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(s) {
			fmt.Println("ignored", unix.SignalName(s))
		}
	}
	signals := make(chan os.Signal, 16)
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGUSR2} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	fmt.Println("ready")
	fmt.Println("caught", unix.SignalName((<-signals).(syscall.Signal)))
	bufio.NewReader(os.Stdin).ReadString('\n')
	os.Exit(5)
}

// dialer ADDR says "ready" and its number, waits for a line on stdin, and says what
// becomes of a connection with ADDR.
func dialer() {
	fmt.Println("ready", os.Getpid())
	bufio.NewReader(os.Stdin).ReadString('\n')
	c, err := net.Dial("tcp4", os.Args[1])
	if err != nil {
		fmt.Println("not connected:", cause(err))
		return
	}
	c.Close()
	fmt.Println("connected")
}

// reusePort lets a socket have an address that another of this user reserves.
func reusePort(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); e != nil {
		return e
	}
	return err
}

// lateServer ADDR is the server of wsecho at ADDR, as the lines on stdin have it: up,
// down, or exit STATUS. It says what it has done. SIGTERM is exit 6. A client at /last
// gets a frame of lastLen, with which the server exits.
func lateServer() {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		fmt.Println("terminated")
		os.Exit(6)
	}()
	var s *http.Server
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		switch word, rest, _ := strings.Cut(lines.Text(), " "); word {
		case "up":
			lc := net.ListenConfig{Control: reusePort}
			l, err := lc.Listen(context.Background(), "tcp", os.Args[1])
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			handler := http.NewServeMux()
			handler.HandleFunc("/", echo)
			handler.HandleFunc("/last", last)
			s = &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
			go s.Serve(l)
		case "down":
			s.Close()
		case "exit":
			var status int
			fmt.Sscan(rest, &status)
			os.Exit(status)
		}
		fmt.Println(lines.Text())
	}
	select {} // until a signal comes
}

const lastLen = 1 << 20

func last(w http.ResponseWriter, r *http.Request) {
	c, _, _, err := ws.UpgradeHTTP(r, w)
	if err == nil {
		err = ws.WriteFrame(c, ws.NewBinaryFrame(make([]byte, lastLen)))
	}
	if err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// sender ADDR sends a frame of lastLen to a server, by the proxy that its environment
// names if there is one, and exits.
func sender() {
	d := ws.Dialer{Timeout: patience}
	if proxy := os.Getenv("HTTP_PROXY"); proxy != "" {
		d.NetDial = func(ctx context.Context, _, addr string) (net.Conn, error) {
			return connect(ctx, strings.TrimPrefix(proxy, "http://"), addr)
		}
	}
	c, _, _, err := d.Dial(context.Background(), "ws://"+os.Args[1])
	if err == nil {
		err = ws.WriteFrame(c, ws.MaskFrameInPlace(ws.NewBinaryFrame(make([]byte, lastLen))))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// without CALL ERROR CMD [ARG...] runs a command for which the system call CALL fails:
// seccomp or pidfd_getfd, with ENOSYS or EPERM.
func without() {
	runtime.LockOSThread()
	nr := map[string]uint32{"seccomp": unix.SYS_SECCOMP, "pidfd_getfd": unix.SYS_PIDFD_GETFD}[os.Args[1]]
	errno := map[string]uint32{"ENOSYS": uint32(unix.ENOSYS), "EPERM": uint32(unix.EPERM)}[os.Args[2]]
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | errno},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	f := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	err := errors.New("no such call or error")
	if nr != 0 && errno != 0 {
		err = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	if err == nil {
		err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(pointers.Pointer(&f)), 0, 0)
	}
	var path string
	if err == nil {
		path, err = exec.LookPath(os.Args[3])
	}
	if err == nil {
		err = syscall.Exec(path, os.Args[3:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "without:", err)
	os.Exit(99)
}
