package pcap

import (
	"container/list"
	"net/netip"

	"github.com/wstrace/wstrace/decode"
)

// A talk is a TCP conversation that is being written.
type talk struct {
	key   talkKey
	heads [2]headers // by Dir
	seq   [2]uint32  // by Dir: of the next byte
	told  [2]uint32  // by Dir: the seq of the peer that it acknowledged last
	ended [2]bool    // by Dir: it has sent a FIN
	last  uint64     // the time of the latest packet
	reset bool       // one side has sent a RST, or will
	busy  bool       // a session has it
	lone  bool       // no later session can go on in it
	idle  *list.Element
}

type talkKey struct {
	leg            uint32 // the number of the interface
	client, server netip.AddrPort
}

// The interfaces.
const (
	clientLeg = iota
	serverLeg
	legs
)

// maxIdle is how many conversations are kept for the next exchange between the same
// ends.
const maxIdle = 4096

// Bytes that are not known.
const (
	mostLost = 32 << 10 // of one packet; more than an Ethernet has, as if offloaded
	maxCut   = 1 << 20  // that are packets, and not only a hole
)

// talk returns the conversation between two ends: one in which an exchange has ended,
// or a new one. If another session has it at the time, or both ends are the same, the
// client gets another port.
func (w *Writer) talk(leg uint32, client, server netip.AddrPort, conn int64) (t *talk, isNew bool) {
	key := talkKey{leg, client, server}
	t = w.talks[key]
	lone := false
	for n := int64(0); t != nil && t.busy || key.client == server; n++ {
		lone = true
		key.client = netip.AddrPortFrom(client.Addr(), madeUpPort(conn+n))
		if t = w.talks[key]; n > 1<<10 { // then ports are shared
			t = nil
		}
	}
	if t != nil {
		w.idle.Remove(t.idle)
		t.busy, t.idle = true, nil
		return t, false
	}
	t = &talk{key: key, busy: true, lone: lone}
	t.heads[decode.FromClient] = newHeaders(key.client, server, 1)
	t.heads[decode.FromServer] = newHeaders(server, key.client, 2)
	// Numbers that differ, should the ends come again, and are the same in each run.
	w.begun++
	t.seq = [2]uint32{1000 + w.begun*0x9E3779B1, 5000 + w.begun*0x85EBCA77}
	w.talks[key] = t
	return t, true
}

// release lets another session have the conversation.
func (w *Writer) release(t *talk) {
	t.busy = false
	if t.lone || t.reset || t.ended[0] || t.ended[1] {
		w.forget(t)
		return
	}
	t.idle = w.idle.PushBack(t)
	if w.idle.Len() > maxIdle {
		w.forget(w.idle.Remove(w.idle.Front()).(*talk))
	}
}

func (w *Writer) forget(t *talk) {
	if w.talks[t.key] == t {
		delete(w.talks, t.key)
	}
}

// packet writes a packet that d sends.
func (w *Writer) packet(t *talk, d decode.Dir, flags byte, payload []byte, comments []string) {
	w.cutPacket(t, d, flags, payload, 0, comments)
}

// cutPacket is packet for one whose last bytes, behind payload, are not known.
func (w *Writer) cutPacket(t *talk, d decode.Dir, flags byte, payload []byte, lost int, comments []string) {
	h := &t.heads[d]
	n := h.n + len(payload)
	if flags&syn != 0 {
		n += synLen
	}
	peer := t.seq[d.Peer()]
	at := len(w.buf)
	t.last = max(t.last, w.now)
	w.mixed = w.mixed || t.last < w.before
	w.before, w.last = t.last, max(w.last, t.last)
	b := beginPacket(w.buf, t.key.leg, t.last, n, lost)
	b, checksum := h.append(b, flags, t.seq[d], peer, len(payload)+lost)
	b = append(b, payload...)
	h.finish(b, checksum, lost)
	way := uint32(flagInbound)
	if (d == decode.FromClient) != (t.key.leg == clientLeg) {
		way = flagOutbound
	}
	w.buf = endPacket(b, at, n, way, comments)
	w.packets[t.key.leg]++
	t.seq[d] += uint32(len(payload) + lost)
	if flags&(syn|fin) != 0 {
		t.seq[d]++
	}
	if flags&ack != 0 {
		t.told[d] = peer
	}
	if len(w.buf) >= flushSize {
		w.flush()
	}
}

// connect writes how the connection was made.
func (w *Writer) connect(t *talk, comments []string) {
	w.packet(t, decode.FromClient, syn, nil, comments)
	w.packet(t, decode.FromServer, syn|ack, nil, nil)
	w.packet(t, decode.FromClient, ack, nil, nil)
}

// data writes bytes of d. That they have arrived is written with what comes next, or at
// last, so that there is always a packet for comments.
func (w *Writer) data(t *talk, d decode.Dir, b []byte, offset int64, notes *notes) {
	if t.reset || t.ended[d] {
		return // nothing can come there
	}
	w.confirm(t, d.Peer())
	mss := mssV4
	if t.heads[d].v6() {
		mss = mssV6
	}
	for len(b) > 0 {
		n := min(len(b), mss)
		flags, rest := byte(ack), b[n:]
		if len(rest) == 0 {
			flags |= psh
		}
		var comments []string
		if notes != nil && len(notes.list) > 0 {
			if offset >= 0 {
				offset += int64(n)
			}
			comments = notes.take(offset, len(rest) == 0)
		} else if offset >= 0 {
			offset += int64(n)
		}
		w.packet(t, d, flags, b[:n], comments)
		b = rest
	}
}

// lost leaves room for n bytes of d that are not known.
func (w *Writer) lost(t *talk, d decode.Dir, n int64, comments []string) {
	if t.reset || t.ended[d] {
		return
	}
	w.confirm(t, d.Peer())
	if n > maxCut {
		// More than 1 GiB would look like bytes that came before (RFC 9293 §3.4).
		t.seq[d] += uint32(min(n, 1<<30))
		w.acknowledge(t, d.Peer(), comments)
		return
	}
	for n > 0 {
		m := min(n, mostLost)
		w.cutPacket(t, d, ack, nil, int(m), comments)
		n, comments = n-m, nil
	}
}

// confirm acknowledges what came before, as soon as that does not make times run
// backwards.
func (w *Writer) confirm(t *talk, d decode.Dir) {
	now := w.now
	w.now = min(w.before, now)
	w.acknowledge(t, d, nil)
	w.now = now
}

// acknowledge writes that what the peer of d has sent has arrived, if that was not
// said before. It reports whether it did.
func (w *Writer) acknowledge(t *talk, d decode.Dir, comments []string) bool {
	if t.told[d] == t.seq[d.Peer()] || t.reset {
		return false
	}
	w.packet(t, d, ack, nil, comments)
	return true
}

// end writes that d has ended its direction.
func (w *Writer) end(t *talk, d decode.Dir, comments []string) {
	if t.reset || t.ended[d] {
		return
	}
	w.packet(t, d, fin|ack, nil, comments)
	t.ended[d] = true
}
