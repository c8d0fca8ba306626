package child

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// roles are what this program does when it is the command: it uses system calls as
// programs of any language do, and prints what they say.
var roles = map[string]func(args []string) error{
	"connect":  connectRole,
	"again":    againRole,
	"peername": peerNameRole,
	"ring":     ringRole,
	"device":   deviceRole,
	"udp":      udpRole,
	"docker":   dockerRole,
	"mptcp":    mptcpRole,
	"alone":    aloneRole,
	"many":     manyRole,
	"time":     timeRole,
	"moveon":   moveOnRole,
	"shut":     shutRole,
	"limit":    limitRole,
	"bound":    boundRole,
	"urgent":   urgentRole,
	"is":       isRole,
	"hold":     holdRole,
}

func sockaddr(s string) (family int, sa unix.Sockaddr) {
	a := netip.MustParseAddrPort(s)
	if a.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func text(sa unix.Sockaddr) string {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)).String()
	}
	return fmt.Sprint(sa)
}

// connectRole connects as args say, prints how that went, and what the server says.
func connectRole(args []string) error {
	family, to := sockaddr(args[1])
	s, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	switch args[0] {
	case "nonblock", "twice":
		err = unix.SetNonblock(s, true)
	case "timeout":
		tv := unix.NsecToTimeval(answerWithin.Nanoseconds())
		err = unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv)
	case "v6only":
		err = unix.SetsockoptInt(s, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err != nil {
		return err
	}
	err = unix.Connect(s, to)
	for args[0] == "block" && err == unix.EINTR { // signals of the Go runtime restart it
		return errors.New("interrupted")
	}
	if args[0] == "timeout" && err != nil {
		fmt.Printf("connect: %v\n", err)
	}
	if err == unix.EINPROGRESS {
		if ready, err := poll(s, 0); err == nil && !ready && args[0] != "timeout" {
			fmt.Println("under way")
		}
		if args[0] == "twice" {
			fmt.Printf("connect: %v\n", unix.Connect(s, to))
		}
		if _, err := poll(s, -1); err != nil {
			return err
		}
		var e int
		if e, err = unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && e != 0 {
			err = unix.Errno(e)
		}
	}
	if err != nil {
		fmt.Printf("connect: %v\n", err)
		return nil
	}
	peer, err := unix.Getpeername(s)
	if err != nil {
		return err
	}
	fmt.Println("connected to", text(peer))
	return hear(s)
}

// poll waits until a socket can be written to.
func poll(s, timeout int) (ready bool, err error) {
	fds := []unix.PollFd{{Fd: int32(s), Events: unix.POLLOUT}}
	for {
		n, err := unix.Poll(fds, timeout)
		if err != unix.EINTR {
			return n > 0, err
		}
	}
}

// hear prints a line that the server sends.
func hear(s int) error {
	if err := unix.SetNonblock(s, false); err != nil {
		return err
	}
	line, err := bufio.NewReader(os.NewFile(uintptr(s), "")).ReadString('\n')
	fmt.Print(line)
	return err
}

// againRole connects a socket that was refused a second time.
func againRole(args []string) error {
	_, no := sockaddr(args[0])
	_, yes := sockaddr(args[1])
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	fmt.Printf("connect: %v\n", unix.Connect(s, no))
	if err := unix.Connect(s, yes); err != nil {
		return err
	}
	fmt.Println("connected")
	return hear(s)
}

// peerNameRole asks for the name of the peer, before there is one, into little room,
// and into enough.
func peerNameRole(args []string) error {
	_, to := sockaddr(args[0])
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	_, err = unix.Getpeername(s)
	fmt.Printf("before: %v\n", err)
	if err := unix.Connect(s, to); err != nil {
		return err
	}
	var room [4]byte
	size := uint32(2)
	if _, _, e := unix.Syscall(unix.SYS_GETPEERNAME, uintptr(s), uintptr(unsafe.Pointer(&room)), uintptr(unsafe.Pointer(&size))); e != 0 {
		return e
	}
	fmt.Printf("short: %d %x\n", size, room[:2])
	if room[2] != 0 || room[3] != 0 {
		return errors.New("more was written than there is room")
	}
	peer, err := unix.Getpeername(s)
	if err != nil {
		return err
	}
	fmt.Printf("whole: %s\n", text(peer))
	return nil
}

// ringRole tries the ways around connect.
func ringRole([]string) error {
	_, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0)
	fmt.Printf("io_uring_setup: %v\n", errno)
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	err = unix.Sendto(s, []byte("early"), msgFastOpen, &unix.SockaddrInet4{Port: 1, Addr: [4]byte{127, 0, 0, 1}})
	fmt.Printf("MSG_FASTOPEN: %v\n", err)
	return nil
}

func deviceRole(args []string) error {
	_, to := sockaddr(args[0])
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.BindToDevice(s, "lo"); err != nil {
		return err
	}
	return sayConnected(unix.Connect(s, to))
}

func sayConnected(err error) error {
	if err == nil {
		fmt.Println("connected")
	}
	return err
}

// udpRole has two sockets that last, and one that does not.
func udpRole(args []string) error {
	for range 2 {
		c, err := net.Dial("udp", args[0])
		if err != nil {
			return err
		}
		defer c.Close()
	}
	c, err := net.Dial("udp", args[0])
	if err != nil {
		return err
	}
	c.Close()
	select {}
}

func dockerRole(args []string) error {
	l, err := net.Listen("unix", args[0])
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := net.Dial("unix", args[0])
	if err != nil {
		return err
	}
	return sayConnected(c.Close())
}

func mptcpRole(args []string) error {
	_, to := sockaddr(args[0])
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
	if err != nil {
		fmt.Println("none")
		return nil
	}
	return sayConnected(unix.Connect(s, to))
}

func aloneRole([]string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	fmt.Printf("connect: %v\n", unix.Connect(s, &unix.SockaddrInet4{Port: 1, Addr: [4]byte{127, 0, 0, 1}}))
	return nil
}

// manyRole connects from many goroutines at once, over and over.
func manyRole(args []string) error {
	var n, failed int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 20 {
				c, err := net.Dial("tcp", args[0])
				if err == nil {
					_, err = io.ReadFull(c, make([]byte, len("hello\n")))
					c.Close()
				}
				mu.Lock()
				if n++; err != nil {
					failed++
					fmt.Println(err)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	fmt.Println(n-failed, "connected")
	return nil
}

// timeRole connects as often as it is told, one time after another, and prints how many
// nanoseconds that took.
func timeRole(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	start := time.Now()
	for range n {
		c, err := net.Dial("tcp", args[0])
		if err != nil {
			return err
		}
		c.(*net.TCPConn).SetLinger(0) // so that ports do not run out
		c.Close()
	}
	fmt.Println(time.Since(start).Nanoseconds())
	return nil
}

// moveOnRole gives a connect up in some way, connects the same socket elsewhere, and
// waits for a pipe before it uses that.
func moveOnRole(args []string) error {
	_, slow := sockaddr(args[1])
	_, to := sockaddr(args[2])
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(s, slow); err != unix.EINPROGRESS {
		return fmt.Errorf("connect: %w", err)
	}
	if args[0] == "shutdown" {
		err = unix.Shutdown(s, unix.SHUT_RDWR)
	} else {
		disconnect(s)
	}
	if err != nil {
		return err
	}
	unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_ERROR)
	if err := unix.SetNonblock(s, false); err != nil {
		return err
	}
	if err := unix.Connect(s, to); err != nil {
		return fmt.Errorf("connect again: %w", err)
	}
	fmt.Println("moved on")
	if _, err := os.ReadFile(args[3]); err != nil {
		return err
	}
	return hear(s)
}

// shutRole shuts a socket down while its connect blocks.
func shutRole(args []string) error {
	_, to := sockaddr(args[0])
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	ended := make(chan error)
	go func() { ended <- unix.Connect(s, to) }()
	for err = unix.ENOTCONN; err == unix.ENOTCONN; { // until it is on its way
		err = unix.Shutdown(s, unix.SHUT_RDWR)
	}
	fmt.Printf("shutdown: %v, connect: %v\n", err, <-ended)
	return nil
}

// limitRole has a socket that gives up by itself, and connects it elsewhere.
func limitRole(args []string) error {
	_, slow := sockaddr(args[0])
	_, to := sockaddr(args[1])
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(s, unix.IPPROTO_TCP, unix.TCP_SYNCNT, 1); err != nil {
		return err
	}
	fmt.Printf("connect: %v\n", unix.Connect(s, slow))
	if err := unix.Connect(s, to); err != nil {
		return err
	}
	return hear(s)
}

// boundRole connects from one port to all servers.
func boundRole(args []string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0") // to find one that is free
	if err != nil {
		return err
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	for _, arg := range args {
		_, to := sockaddr(arg)
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
		if err := unix.Bind(s, &unix.SockaddrInet4{Port: port}); err != nil {
			return err
		}
		if err := unix.Connect(s, to); err != nil {
			return err
		}
	}
	fmt.Println(port)
	return nil
}

func urgentRole(args []string) error {
	_, to := sockaddr(args[0])
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(s, to); err != nil {
		return err
	}
	for _, part := range []struct {
		text  string
		flags int
	}{{"abc", 0}, {"!", unix.MSG_OOB}, {"def\n", 0}} {
		if err := unix.Send(s, []byte(part.text), part.flags); err != nil {
			return err
		}
	}
	if err := hear(s); err != nil {
		return err
	}
	return nil
}

// isRole connects a socket that is connected, and to nobody's address.
func isRole(args []string) error {
	_, to := sockaddr(args[0])
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	to.(*unix.SockaddrInet4).Addr = [4]byte{}
	fmt.Printf("%v, %v\n", unix.Connect(s, to), unix.Connect(s, to))
	peer, err := unix.Getpeername(s)
	if err != nil {
		return err
	}
	fmt.Println(text(peer))
	return nil
}

// holdRole holds many connections.
func holdRole(args []string) error {
	_, to := sockaddr(args[0])
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	for range n {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(s, to); err != nil {
			return err
		}
	}
	fmt.Println(n, "connected")
	return nil
}
