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
