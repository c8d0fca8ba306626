package proxy

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wstrace/wstrace/proxy/internal/tlswire"
)

const notIntercepted = "TLS, not intercepted"

// whyUnread says why the TLS that the client begins is not looked into, or returns "".
func (k *link) whyUnread() string {
	p, direct := k.p, k.via == viaDirect
	server, _, _ := net.SplitHostPort(k.server)
	if direct || k.via == viaConnect && p.Authority != nil && p.Pass != nil {
		k.asked = k.readClientHello()
	}
	host := server
	if direct {
		host = k.host()
	}
	switch {
	case p.Authority == nil, p.Only != nil && !p.Only(host):
		return notIntercepted
	case p.Pass != nil && (p.Pass(host) || k.host() != host && p.Pass(k.host())):
		return notIntercepted
	case !direct:
		return ""
	case k.asked == nil: // package tls could not answer it
		return notIntercepted
	case p.trust.isRefused(k.clientAt(host)):
		return notIntercepted + ", as the client does not trust us"
	case len(k.asked.Protocols) > 0 && !slices.Contains(k.asked.Protocols, alpn[0]):
		return "TLS, which offers only " + strings.Join(k.asked.Protocols, ", ")
	}
	return ""
}

// readClientHello waits for the client's first message and returns what it says, or
// nil if there is none. It stays unread.
func (k *link) readClientHello() *tlswire.ClientHello {
	wait := k.p.handshakeTimeout()
	if k.via == viaDirect {
		wait = hesitation
	}
	k.setDeadline(time.Now().Add(wait))
	defer k.setDeadline(time.Time{})
	for {
		switch h, n := tlswire.ParseClientHello(k.client.unread()); {
		case n > 0:
			return &h
		case n < 0:
			return nil
		}
		if k.client.fill() != nil {
			return nil
		}
	}
}

// untrusted takes that the client does what says to our authority: its process may
// refuse our certificate for the host whenever it comes. Further connections of a
// client that was led here then pass unread.
func (k *link) untrusted(does string) {
	if k.via != viaDirect {
		k.p.warn(ReasonUntrustedAuthority, "a client "+does+" our certificate authority")
		return
	}
	c := k.clientAt(k.host())
	if !k.p.trust.refused(c, does == doesNotTrust) {
		return
	}
	who := "a client"
	if c.process != "" {
		who = c.process
	}
	if c.pid != 0 {
		who += fmt.Sprintf("[%d]", c.pid)
	}
	k.p.log().Warn(fmt.Sprintf("%s %s our certificate authority: its further connections with %s pass unread", who, does, c.host),
		ReasonKey, ReasonUntrustedAuthority, PIDKey, c.pid, ProcessKey, c.process, HostKey, c.host)
}

const (
	doesNotTrust = "does not trust"
	mayNotTrust  = "may not trust"
)

// trusted takes that the client has sent something in TLS with us, if it has.
func (k *link) trusted() {
	if k.via == viaDirect && k.secure {
		k.p.trust.took(k.clientAt(k.host()))
	}
}

// clientAt returns the client as one of a host.
func (k *link) clientAt(host string) clientAt {
	return clientAt{k.target.PID, k.target.Process, host}
}

// A clientAt is a process and a host that it connects to.
type clientAt struct {
	pid     int
	process string
	host    string
}

// A trust knows which clients have taken our certificate for a host, and which have
// refused it: the latest maxTrust of them.
type trust struct {
	mu     sync.Mutex
	known  map[clientAt]attitude // protected by mu
	latest []clientAt            // the keys of known, from next on by age; protected by mu
	next   int                   // protected by mu
}

// An attitude is what a client thinks of our certificate.
type attitude uint8

const (
	unknown    attitude = iota
	suspectsUs          // it has ended without a word, as one that refuses it may
	tookUs
	refusedUs
)

// maxTrust is more than the processes that run at a time, and their hosts.
const maxTrust = 4096

// refused takes that c has refused our certificate, or if that is not sure, seems to
// have for the second time; a client that has taken it once has not then. It reports
// whether that is new.
func (t *trust) refused(c clientAt, sure bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch was := t.known[c]; {
	case was == refusedUs, was == tookUs && !sure:
		return false
	case was == unknown && !sure:
		t.set(c, suspectsUs)
		return false
	}
	t.set(c, refusedUs)
	return true
}

// took takes that c has taken our certificate.
func (t *trust) took(c clientAt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known[c] != refusedUs {
		t.set(c, tookUs)
	}
}

func (t *trust) isRefused(c clientAt) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known[c] == refusedUs
}

func (t *trust) set(c clientAt, now attitude) {
	if t.known == nil {
		t.known = make(map[clientAt]attitude)
	}
	if _, known := t.known[c]; !known {
		if len(t.latest) < maxTrust {
			t.latest = append(t.latest, c)
		} else {
			delete(t.known, t.latest[t.next])
			t.latest[t.next] = c
			t.next = (t.next + 1) % maxTrust
		}
	}
	t.known[c] = now
}
