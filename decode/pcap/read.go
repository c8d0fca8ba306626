package pcap

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// A Source plays a capture, pcap or pcapng, that tcpdump, Wireshark or others have
// made: it puts the segments of TCP together, decrypts TLS if it has the keys, and
// gives what was said to [decode.Session]s, one for each HTTP exchange and the
// WebSocket connection that it becomes.
//
// Where segments overlap, the bytes that came first win. What the capture lacks is a
// gap ([decode.Session.Gap]), once it is plain that it will not come. A conversation
// whose beginning is missing is shown from the next request on, or from where it can be
// nothing else than frames of WebSocket. Conversations that are something else are
// only counted ([Source.Passed]).
//
// Of a session for which a [Writer] has written both legs, that of the client is shown.
//
// Of more than [decode.MaxOpen] conversations, those that were silent for longest are
// forgotten.
type Source struct {
	R io.Reader // the capture, without compression

	// Keys are the keys of TLS, besides those in the capture. Nil means none.
	Keys *Keys

	// Bad, if not nil, is called for each block that is damaged, and Play goes on after
	// it if the next one can be found. Otherwise such a block is the error of Play. The
	// errors are [*decode.SourceError]s.
	Bad func(error)

	// After is added to the number of each session, so that those of several files can
	// be told apart: Last of the Source before.
	After int64

	last    int64
	passed  map[string]int64
	cut     int64
	cutAt   int
	cutMany bool // they differ in where they were cut off
}

// A Passed is how many conversations were passed over, and why.
type Passed struct {
	What    string
	N       int64
	Packets bool // these are packets, of which it is not known what they belong to
}

// Why conversations are passed over.
const (
	PassedOther     = "neither HTTP nor TLS"
	PassedHTTP2     = "HTTP/2"
	PassedQUIC      = "QUIC"
	PassedNoKey     = "TLS without its keys"
	PassedMidTLS    = "TLS that began before the capture"
	PassedEarly     = "TLS with early data"
	PassedDamaged   = "TLS that can't be decrypted"
	PassedFragments = "IP fragments"
	PassedServerLeg = "the server's side of sessions that are shown as the client had them"
)

// Passed returns what Play has passed over, the most first.
func (s *Source) Passed() []Passed {
	var list []Passed
	for _, what := range slices.Sorted(maps.Keys(s.passed)) {
		list = append(list, Passed{what, s.passed[what], what == PassedFragments || strings.HasPrefix(what, linkPrefix)})
	}
	slices.SortStableFunc(list, func(a, b Passed) int { return cmp.Compare(b.N, a.N) })
	return list
}

// Cut returns how many packets with TCP Play has found cut off, as by a snap length,
// and at how many bytes, if that is the same for all; 0 otherwise. Those of a [Writer],
// for bytes that are not known, don't count.
func (s *Source) Cut() (packets int64, at int) {
	if s.cutMany {
		return s.cut, 0
	}
	return s.cut, s.cutAt
}

// Last returns the number of the last session, or After.
func (s *Source) Last() int64 { return max(s.last, s.After) }

// Play implements [decode.Source]. It returns the cause when ctx ends, which it looks
// at between packets.
func (s *Source) Play(ctx context.Context, sink decode.Sink, look decode.Look) error {
	p := &player{source: s, sink: sink, look: look, keys: newKeySet(s.Keys), flows: map[flowKey]*flow{}}
	s.last, s.passed = s.After, map[string]int64{}
	s.cut, s.cutMany = 0, false
	b := &p.blocks
	b.r, b.secrets = bufio.NewReaderSize(s.R, 64<<10), func(log []byte) { p.keys.found.add(log, p.held.secret) }
	err := b.begin()
	for err == nil && ctx.Err() == nil {
		at := b.offset
		var pkt packet
		pkt, err = b.next()
		if err == nil {
			decode.Locked(sink, func() { p.packet(&pkt) })
			continue
		}
		if err == io.EOF {
			break
		}
		var damage errDamaged
		goesOn := errors.As(err, &damage)
		if goesOn {
			err = damage.error
		}
		err = &decode.SourceError{Offset: max(pkt.offset, at), Err: err}
		if goesOn && s.Bad != nil {
			s.Bad(err)
			err = nil
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	decode.Locked(sink, p.finish)
	var where *decode.SourceError
	switch {
	case err == io.EOF:
		return nil
	case !errors.As(err, &where):
		err = &decode.SourceError{Offset: b.offset, Err: err}
	}
	if s.Bad != nil && !errors.Is(err, decode.ErrCut) {
		s.Bad(err)
		return nil
	}
	return err
}

// A player plays one capture.
type player struct {
	source *Source
	sink   decode.Sink
	look   decode.Look
	blocks blockReader
	links  linkDecoder
	keys   *keySet
	held   holds
	start  time.Time // of the first packet

	flows  map[flowKey]*flow
	silent *flow // of a ring: the one that was silent for longest
	cost   int   // of all that waits
	quic   map[flowKey]bool
}

// maxQUIC is how many conversations of QUIC are told apart.
const maxQUIC = 1 << 16

// full reports whether no n bytes more may wait.
func (p *player) full(n int) bool { return p.cost+n > maxAllPending }

// pass counts what is passed over.
func (p *player) pass(what string) { p.source.passed[what]++ }

// packet takes the next packet.
func (p *player) packet(pkt *packet) {
	p.held.play()
	if p.start.IsZero() {
		p.start = pkt.time
	}
	var s segment
	switch p.links.decode(pkt, &s) {
	case contentTCP:
		if s.cut > 0 && !pkt.made {
			p.source.cutMany = p.source.cutMany || p.source.cut > 0 && p.source.cutAt != len(pkt.data)
			p.source.cut, p.source.cutAt = p.source.cut+1, len(pkt.data)
		}
		switch {
		case !pkt.leg:
			s.options = pkt.options
			p.segment(&s, place{pkt.time, pkt.offset})
		case s.syn && !s.hasAck:
			p.pass(PassedServerLeg)
		}
	case contentUDP:
		if key, _ := keyOf(&s); beginsQUIC(s.payload) && !p.quic[key] && len(p.quic) < maxQUIC {
			if p.quic == nil {
				p.quic = map[flowKey]bool{}
			}
			p.quic[key] = true
			p.pass(PassedQUIC)
		}
	case contentFragment:
		p.pass(PassedFragments)
	case contentLink:
		p.pass(linkName(pkt.link))
	}
}

// addr returns an address as a session has it, with the name of the host if the capture
// has that.
func (p *player) addr(a netip.AddrPort) string {
	if name := p.blocks.names[a.Addr()]; name != "" {
		return fmt.Sprintf("%s:%d", name, a.Port())
	}
	return a.String()
}
