package viaenv

import (
	"context"
	"net"
	"net/netip"
	"os"
	"time"
)

// Watch looks at the connections of the process pid and of those that it has started,
// also of those that are children of this process by now, until ctx ends: twice a
// second, and first at once. Of each that goes elsewhere than to the addresses ours it
// tells report, once for each process and other end, one call at a time. It misses
// connections that come and go between two looks, and processes that this user can't
// look into.
func Watch(ctx context.Context, pid int, ours []*net.TCPAddr, report func(Connection)) {
	w := newWatcher(pid, ours, report)
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		w.look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Bounds on what a watcher remembers.
const (
	maxTold   = 10_000 // connections
	maxMisses = 3      // looks for the owner of a socket
)

// A watcher looks at connections.
type watcher struct {
	self, pid int
	ours      []netip.AddrPort
	report    func(Connection)

	had    map[uint64]bool   // sockets that the command may have from us
	spaces map[string]*space // by name
	told   map[Connection]bool
}

// A space is a network namespace.
type space struct {
	listening map[uint16]bool // ports that were ever listened at
	looked    map[uint64]int  // how often the owner of a socket was looked for
}

func newWatcher(pid int, ours []*net.TCPAddr, report func(Connection)) *watcher {
	w := &watcher{
		self: os.Getpid(), pid: pid, report: report,
		spaces: make(map[string]*space), told: make(map[Connection]bool),
	}
	for _, addr := range ours {
		w.ours = append(w.ours, addr.AddrPort())
	}
	w.had = socketsOf(w.self)
	return w
}

// look looks once.
func (w *watcher) look() {
	pids := w.processes()
	owners := make(map[string][]int) // by namespace
	for _, pid := range pids {
		if name, err := os.Readlink(procFile(pid, "ns/net")); err == nil {
			owners[name] = append(owners[name], pid)
		}
	}
	for name := range w.spaces {
		if owners[name] == nil {
			delete(w.spaces, name)
		}
	}
	for name, pids := range owners {
		s := w.spaces[name]
		if s == nil {
			s = &space{listening: make(map[uint16]bool)}
			w.spaces[name] = s
		}
		w.lookAt(s, pids)
	}
}

// lookAt looks at the connections of processes in one namespace.
func (w *watcher) lookAt(s *space, pids []int) {
	var sockets []socket
	for _, pid := range pids { // the first may have ended
		var err error
		if sockets, err = readSockets(procFile(pid, "net/tcp"), procFile(pid, "net/tcp6")); err == nil {
			break
		}
	}
	for _, sock := range sockets {
		if sock.state == stateListen {
			s.listening[sock.local.Port()] = true
		}
	}
	looked := make(map[uint64]int) // of those that are still there
	wanted := make(map[uint64]socket)
	for _, sock := range sockets {
		if sock.state == stateListen || sock.inode == 0 {
			continue
		}
		n := s.looked[sock.inode]
		if n < maxMisses && !s.listening[sock.local.Port()] && !w.isOurs(sock.remote) && !w.had[sock.inode] {
			wanted[sock.inode] = sock
			n++
		}
		looked[sock.inode] = n
	}
	s.looked = looked
	if len(wanted) == 0 {
		return
	}
	for _, pid := range pids {
		for inode := range socketsOf(pid) {
			sock, ok := wanted[inode]
			if !ok {
				continue
			}
			delete(wanted, inode) // other processes may have it too
			looked[inode] = maxMisses
			w.tell(Connection{pid, processName(pid), sock.remote.String()})
		}
	}
}

// tell reports a connection, unless one like it was reported.
func (w *watcher) tell(c Connection) {
	if w.told[c] || len(w.told) >= maxTold {
		return
	}
	w.told[c] = true
	w.report(c)
}

// isOurs reports whether a connection to addr comes to us.
func (w *watcher) isOurs(addr netip.AddrPort) bool {
	for _, ours := range w.ours {
		ip := ours.Addr().Unmap()
		if addr.Port() == ours.Port() && (addr.Addr() == ip || ip.IsUnspecified()) {
			return true
		}
	}
	return false
}
