package viaenv

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// States of a socket in /proc/net/tcp.
const (
	stateEstablished = 0x01
	stateSynSent     = 0x02
	stateListen      = 0x0a
)

// A socket is a line of /proc/net/tcp or tcp6.
type socket struct {
	local, remote netip.AddrPort
	state         uint8
	inode         uint64
}

// readSockets reads files like /proc/net/tcp. Without IPv6 there is only the first.
func readSockets(tcp, tcp6 string) ([]socket, error) {
	sockets, err := readSocketFile(tcp)
	if err != nil {
		return nil, err
	}
	more, _ := readSocketFile(tcp6)
	return append(sockets, more...), nil
}

func readSocketFile(name string) ([]socket, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseSockets(f)
}

// parseSockets parses what is in such a file. The first line, and those that it does
// not understand, are left out.
func parseSockets(r io.Reader) ([]socket, error) {
	var sockets []socket
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if s, ok := parseSocket(lines.Bytes()); ok {
			sockets = append(sockets, s)
		}
	}
	return sockets, lines.Err()
}

// parseSocket parses a line: number, local and remote address, state, queues, timer,
// retransmissions, user, timeout, inode, and more. It is not ok in other states than
// those above, in which there may be many thousands.
func parseSocket(line []byte) (s socket, ok bool) {
	var fields [10][]byte
	for i := range fields {
		line = bytes.TrimLeft(line, " ")
		n := bytes.IndexByte(line, ' ')
		if n < 0 {
			return s, false
		}
		fields[i], line = line[:n], line[n:]
		if i == 3 {
			state, err := strconv.ParseUint(string(fields[i]), 16, 8)
			if s.state = uint8(state); err != nil || s.state != stateEstablished && s.state != stateSynSent && s.state != stateListen {
				return s, false
			}
		}
	}
	var okRemote bool
	s.local, ok = parseAddr(fields[1])
	s.remote, okRemote = parseAddr(fields[2])
	inode, err := strconv.ParseUint(string(fields[9]), 10, 64)
	s.inode = inode
	return s, ok && okRemote && err == nil
}

// parseAddr parses an address, whose words are in the byte order of the machine.
func parseAddr(field []byte) (netip.AddrPort, bool) {
	digits, port, _ := strings.Cut(string(field), ":")
	b, err := hex.DecodeString(digits)
	p, errPort := strconv.ParseUint(port, 16, 16)
	if err != nil || errPort != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, false
	}
	for word := b; len(word) > 0; word = word[4:] {
		binary.BigEndian.PutUint32(word, binary.NativeEndian.Uint32(word))
	}
	addr, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(p)), true
}

// processes returns the process that is watched, its descendants, and those of this
// process, which may be theirs whose parents have ended.
func (w *watcher) processes() []int {
	pids := []int{w.self}
	have := map[int]bool{w.self: true, w.pid: true}
	for i := 0; i < len(pids); i++ {
		for _, child := range children(pids[i]) {
			if !have[child] {
				have[child] = true
				pids = append(pids, child)
			}
		}
		if i == 0 && w.pid != w.self {
			pids = append(pids, w.pid)
		}
	}
	return pids[1:]
}

// children returns the processes whose parent is pid. It takes a kernel with
// CONFIG_PROC_CHILDREN, which those of distributions have.
func children(pid int) []int {
	tasks := names(procFile(pid, "task"))
	var pids []int
	for _, task := range tasks {
		b, err := os.ReadFile(procFile(pid, "task/"+task+"/children"))
		if err != nil {
			continue
		}
		for _, field := range bytes.Fields(b) {
			if child, err := strconv.Atoi(string(field)); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// socketsOf returns the inodes of the sockets that a process has.
func socketsOf(pid int) map[uint64]bool {
	inodes := make(map[uint64]bool)
	for _, fd := range names(procFile(pid, "fd")) {
		target, _ := os.Readlink(procFile(pid, "fd/"+fd))
		digits, ok := strings.CutPrefix(target, "socket:[")
		if inode, err := strconv.ParseUint(strings.TrimSuffix(digits, "]"), 10, 64); ok && err == nil {
			inodes[inode] = true
		}
	}
	return inodes
}

// processName returns the name of a process.
func processName(pid int) string {
	b, _ := os.ReadFile(procFile(pid, "comm"))
	return strings.TrimSuffix(string(b), "\n")
}

// names returns the names in a directory, in no order.
func names(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	all, _ := f.Readdirnames(-1)
	return all
}

func procFile(pid int, name string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + name
}
