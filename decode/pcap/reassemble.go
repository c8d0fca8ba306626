package pcap

import (
	"slices"
	"time"
)

// maxPending is how many bytes of one direction wait at most for a hole in front of
// them to be filled. With more, the hole is taken for lost.
const maxPending = 1 << 20

// maxAllPending is how many bytes wait at most for any reason, in all conversations
// together.
const maxAllPending = 64 << 20

// pieceCost is what a piece costs besides its bytes.
const pieceCost = 96

// heldBack is for how long, after the receiver has confirmed bytes that the capture
// does not have, these may still come: a capture may have packets in a wrong order.
const heldBack = 50 * time.Millisecond

// A half is one direction of a TCP conversation. It puts the segments in order; where
// they overlap, the bytes that came first win.
//
// Positions are those in the stream, from 0 for its first byte, or for the first that
// was captured.
type half struct {
	known   bool  // pos and seq are
	pos     int64 // of the next byte
	seq     uint32
	pending []piece // behind holes, in order, without overlaps
	cost    int     // of pending
	fin     int64   // where the direction ends, if hasFin
	hasFin  bool
	finAt   place
	ended   bool // its end was told

	acked   int64     // up to where the receiver has confirmed bytes
	ackedAt time.Time // when it first confirmed bytes that are missing
}

// A piece is a part of the stream that came, or of which it is known that it was not
// captured.
type piece struct {
	pos   int64
	data  []byte
	lost  int64 // if data is nil
	start bool  // a segment begins with it
	place
}

func (p *piece) end() int64 { return p.pos + int64(len(p.data)) + p.lost }

// A place is where something came: the time, and the offset in the file.
type place struct {
	time   time.Time
	offset int64
}

// begin sets the number of the first byte.
func (h *half) begin(seq uint32) { h.known, h.seq = true, seq }

// at returns the position of the byte with a number, which is within 2 GiB of the next
// one.
func (h *half) at(seq uint32) int64 { return h.pos + int64(int32(seq-h.seq)) }

// step moves on to pos.
func (h *half) step(pos int64) {
	h.seq += uint32(pos - h.pos)
	h.pos = pos
}

// waits reports whether something waits behind a hole.
func (h *half) waits() bool { return len(h.pending) > 0 || h.hasFin && h.fin > h.pos }

// behind reports whether bytes are missing of which it is known that they were sent.
func (h *half) behind() bool { return h.waits() || h.known && h.acked > h.pos }

// add adds a piece of which nothing has gone out. It is kept, with a copy of its data,
// where nothing came before.
func (h *half) add(p piece) {
	if n := h.pos - p.pos; n > 0 {
		if p.end() <= h.pos {
			return
		}
		p = p.from(n)
	}
	i, _ := slices.BinarySearchFunc(h.pending, p.pos, func(q piece, pos int64) int {
		if q.end() <= pos {
			return -1
		}
		return 1
	})
	for ; ; i++ {
		if i == len(h.pending) || p.end() <= h.pending[i].pos {
			h.insert(i, p)
			return
		}
		if n := h.pending[i].pos - p.pos; n > 0 {
			h.insert(i, p.to(n))
			i++
		}
		n := h.pending[i].end() - p.pos
		if p.end() <= h.pending[i].end() {
			return
		}
		p = p.from(n)
	}
}

func (h *half) insert(i int, p piece) {
	p.data = slices.Clone(p.data)
	h.pending = slices.Insert(h.pending, i, p)
	h.cost += len(p.data) + pieceCost
}

// from returns p without its first n bytes, of which there are more.
func (p piece) from(n int64) piece {
	p.pos += n
	p.start = false
	if p.data != nil {
		p.data = p.data[n:]
	} else {
		p.lost -= n
	}
	return p
}

// to returns the first n bytes of p.
func (p piece) to(n int64) piece {
	if p.data != nil {
		p.data = p.data[:n]
	} else {
		p.lost = n
	}
	return p
}

// next takes what is next in the stream, if it has come.
func (h *half) next() (p piece, ok bool) {
	if len(h.pending) == 0 || h.pending[0].pos > h.pos {
		return piece{}, false
	}
	p = h.pending[0]
	h.pending[0] = piece{}
	if h.pending = h.pending[1:]; len(h.pending) == 0 {
		h.pending = nil
	}
	h.cost -= len(p.data) + pieceCost
	h.step(p.end())
	return p, true
}

// hole returns how many bytes are missing before what waits, and the place where that
// came.
func (h *half) hole() (n int64, at place) {
	if len(h.pending) > 0 {
		return h.pending[0].pos - h.pos, h.pending[0].place
	}
	return h.fin - h.pos, h.finAt
}

// confirm takes up to where the receiver has confirmed bytes.
func (h *half) confirm(pos int64, t time.Time) {
	if pos <= h.acked {
		return
	}
	if h.acked <= h.pos && pos > h.pos {
		h.ackedAt = t
	}
	h.acked = pos
}

// gone reports whether the hole in front of what waits was lost: the receiver has
// confirmed it, and some time has passed.
func (h *half) gone(t time.Time) bool {
	n, _ := h.hole()
	return h.acked >= h.pos+n && t.Sub(h.ackedAt) > heldBack
}
