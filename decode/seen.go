package decode

import (
	"hash/maphash"
	"strings"
	"sync"
	"time"
)

// Seen is what the rules that compare sessions remember of a run: handshake
// keys, first masking keys, how the connections of a client ended, and which
// violations of severity info were told. The
// sessions of a run share one. It remembers a limited number of each and forgets
// the oldest first. The zero value is ready for use, and a nil *Seen remembers
// nothing.
type Seen struct {
	mu      sync.Mutex
	keys    memory[string, usedKey]
	masks   memory[uint32, firstMask]
	clients memory[uint64, clientPast] // by a hash, for a client chooses how long its target is
	traits  memory[uint64, struct{}]   // by a hash
}

// A clientPast is what one client did with one server.
type clientPast struct {
	open   int       // open connections
	failed time.Time // when the last one ended, if the server refused or ended it
	again  int       // how often in a row the client came back at once
}

// A memory is a map that forgets what was put into it first.
type memory[K comparable, V any] struct {
	m     map[K]V
	order []K // ring, once it is full
	next  int
}

const memorySize = 1 << 14

func (m *memory[K, V]) put(k K, v V) {
	if m.m == nil {
		m.m = map[K]V{}
	}
	if _, ok := m.m[k]; !ok {
		if len(m.order) < memorySize {
			m.order = append(m.order, k)
		} else {
			delete(m.m, m.order[m.next])
			m.order[m.next] = k
			m.next = (m.next + 1) % memorySize
		}
	}
	m.m[k] = v
}

// A usedKey is a handshake that was accepted.
type usedKey struct {
	conn            int64
	asked, answered time.Time
}

// within reports whether one handshake took place while the other one did.
func (u usedKey) within(v usedKey) bool {
	return !u.asked.Before(v.asked) && !u.answered.After(v.answered)
}

// key notes the handshake that used key and returns the one that did so before.
func (s *Seen) key(key string, used usedKey) (before usedKey, ok bool) {
	if s == nil {
		return before, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if before, ok = s.keys.m[key]; !ok {
		s.keys.put(strings.Clone(key), used) // else the whole head would stay with it
	}
	return before, ok
}

// A firstMask is a masking key that sessions began with.
type firstMask struct {
	conn int64 // the first of them
	n    int64 // how many they are
}

// mask notes the first masking key of a session. It returns which session was the
// first that began with it, and how many have, this one counted.
func (s *Seen) mask(key uint32, conn int64) (first, n int64) {
	if s == nil {
		return conn, 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.masks.m[key]
	if !ok {
		m.conn = conn
	}
	m.n++
	s.masks.put(key, m)
	return m.conn, m.n
}

// told notes that a trait was told, and reports whether it had been before.
func (s *Seen) told(trait string) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := seenHash(trait)
	_, ok := s.traits.m[k]
	if !ok {
		s.traits.put(k, struct{}{})
	}
	return ok
}

// A client that comes back sooner than backoff does not wait; backoffTimes in a
// row make that certain.
const (
	backoff      = time.Second
	backoffTimes = 3
)

var seenSeed = maphash.MakeSeed()

func seenHash(s string) uint64 { return maphash.String(seenSeed, s) }

// connected notes that a client connects to a server, and returns how often in
// a row it has come back at once after one that failed. One client with
// several connections can't be told from several clients, so it counts only while
// no other is open.
func (s *Seen) connected(client string, now time.Time) int {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := seenHash(client)
	c := s.clients.m[k]
	if since := now.Sub(c.failed); c.open == 0 && !c.failed.IsZero() && since >= 0 && since < backoff {
		c.again++
	} else {
		c.again = 0
	}
	c.open++
	s.clients.put(k, c)
	return c.again
}

// disconnected notes that a connection ended; failed says that the server refused it
// or ended it without a Close.
func (s *Seen) disconnected(client string, now time.Time, failed bool) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := seenHash(client)
	c, ok := s.clients.m[k]
	if !ok {
		return
	}
	c.open--
	c.failed = time.Time{}
	if failed {
		c.failed = now
	}
	s.clients.put(k, c)
}
