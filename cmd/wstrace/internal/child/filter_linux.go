package child

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// msgFastOpen is MSG_FASTOPEN: connect and send in one call.
const msgFastOpen = 0x20000000

// Offsets in struct seccomp_data, of the lower half of arguments on machines that
// are little-endian, as all are here.
const (
	dataNr   = 0
	dataArch = 4
	dataArg2 = 16 + 2*8
	dataArg3 = 16 + 3*8
)

// filter is the program that the kernel runs at each system call. It reports
// connect and getpeername. Two ways around connect are closed, both of which
// programs can do without: io_uring does not exist, and data can't be sent before a
// connection is there.
func filter(arch uint32) []unix.SockFilter {
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		bits  = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		ret   = unix.BPF_RET | unix.BPF_K
	)
	const ( // where jumps lead
		early2  = 9
		early3  = 11
		early   = 12
		allow   = 13
		notify  = 14
		noRing  = 15
		noEarly = 16
	)
	to := func(from, target int) uint8 { return uint8(target - from - 1) }
	return []unix.SockFilter{
		0:       {Code: load, K: dataArch},
		1:       {Code: equal, Jf: to(1, allow), K: arch}, // programs for another machine are not looked into
		2:       {Code: load, K: dataNr},
		3:       {Code: equal, Jt: to(3, notify), K: unix.SYS_CONNECT},
		4:       {Code: equal, Jt: to(4, notify), K: unix.SYS_GETPEERNAME},
		5:       {Code: equal, Jt: to(5, noRing), K: unix.SYS_IO_URING_SETUP},
		6:       {Code: equal, Jt: to(6, early2), K: unix.SYS_SENDMSG},
		7:       {Code: equal, Jt: to(7, early3), K: unix.SYS_SENDTO},
		8:       {Code: equal, Jt: to(8, early3), Jf: to(8, allow), K: unix.SYS_SENDMMSG},
		early2:  {Code: load, K: dataArg2},
		10:      {Code: unix.BPF_JMP | unix.BPF_JA, K: early - 11},
		early3:  {Code: load, K: dataArg3},
		early:   {Code: bits, Jt: to(early, noEarly), Jf: to(early, allow), K: msgFastOpen},
		allow:   {Code: ret, K: unix.SECCOMP_RET_ALLOW},
		notify:  {Code: ret, K: unix.SECCOMP_RET_USER_NOTIF},
		noRing:  {Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		noEarly: {Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EOPNOTSUPP)},
	}
}

// archs are what seccomp calls the machines for which there is a filter.
var archs = map[string]uint32{
	"amd64": unix.AUDIT_ARCH_X86_64,
	"arm64": unix.AUDIT_ARCH_AARCH64,
}

// install puts the calling thread under the filter and returns the descriptor that
// reports. It gives up the right to gain privileges only if the filter can't be had
// otherwise, which confined tells.
func install() (fd int, confined bool, err error) {
	arch, ok := archs[runtime.GOARCH]
	if !ok {
		return 0, false, unix.ENOSYS
	}
	program := filter(arch)
	f := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	seccomp := func() (int, error) {
		// A signal that comes while we are at work waits, from Linux 5.19 on.
		const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
		fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, uintptr(unsafe.Pointer(&f)))
		if errno == unix.EINVAL {
			fd, _, errno = unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&f)))
		}
		if errno != 0 {
			return 0, errno
		}
		return int(fd), nil
	}
	if fd, err = seccomp(); errors.Is(err, unix.EACCES) {
		if err = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err == nil {
			confined = true
			fd, err = seccomp()
		}
	}
	return fd, confined, err
}
