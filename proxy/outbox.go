package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// maxQueue is how many bytes of what came wait in an outbox at most. While
// there are as many, the direction is not read.
const maxQueue = 1 << 20

// maxBatch is how many bytes the writer of an outbox writes at once, unless one
// item has more.
const maxBatch = 64 << 10

// An outbox is what waits to be written in one direction of a session that has
// a gate. Without one there is none.
//
// Two goroutines write, never at the same time. The relay, which reads the
// direction, writes what goes on as it came and at once. The writer, which the
// relay starts and waits for, writes everything else, and tells the session just
// before it does. Decisions are made inside calls of the session and only change
// what stands here. So the events have what was sent in the order in which it
// was sent: frames without a fate, and what the writer told.
type outbox struct {
	dir      decode.Dir
	ungated  atomic.Bool   // the gate is not asked any more
	wake     chan struct{} // for the writer: there may be something to write
	progress chan struct{} // for the relay: something was written
	done     chan struct{} // closed when the writer has ended

	mu     sync.Mutex // protects what follows
	open   bool       // the relay runs: frames are as is decided here
	closed bool       // nothing more is taken, and the writer ends after what is left
	err    error      // why nothing can be written any more

	covered int    // how many of the relay's unread bytes are decided on
	direct  []span // which of those the relay writes at once

	queue   []item // in order
	size    int    // of queue in bytes, with what is being written of it
	urgent  []item // pings and pongs, for the next end of a frame
	parked  []item // injections that wait for the end of a frame or message
	extra   int    // bytes in urgent and parked
	writing bool   // the writer is writing

	stall   time.Duration // how long nothing is written after what is being written
	stalled time.Time     // nothing is written before that
	stopped bool          // by a reset: what begins from here on is dropped
	why     string        // the change that stopped it
	midway  bool          // what was written, or is direct, ends inside a frame

	head      decode.Fate    // of the latest head
	fate      fate           // of the frame in flight
	change    string         // what decided it
	passes    bool           // it is direct
	made      decode.Decoder // of what is sent in its place
	inFrame   bool           // what was decided on ends inside a frame
	lost      bool           // no event tells where frames end any more
	blind     bool           // nor tells of every byte, and so nothing is decided any more
	inMessage bool           // what is sent of that ends inside a message
}

// A fate is what is left to carry out of the [Decision] on the frame in flight.
type fate struct {
	decode.Fate
	Until time.Time
	After []byte
	Stall time.Duration // 0 once that is in the queue
	Kept  bool
}

// A span is a part of the relay's unread bytes.
type span struct{ from, to int }

// An item is bytes that wait in an outbox: whole frames, or a part of one.
type item struct {
	b      []byte
	until  time.Time // when they may go on
	change string
	asCame bool          // they are what came
	ends   bool          // the last byte ends a frame
	urgent bool          // they overtake; not counted as the queue's
	stall  time.Duration // how long the writer stops behind it
}

func (it *item) held(now time.Time) bool { return !it.until.IsZero() && it.until.After(now) }

func (o *outbox) init(d decode.Dir) {
	o.dir = d
	o.wake, o.progress, o.done = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{})
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// begin opens the outbox and starts its writer, which ends after finish, or
// when it can't write.
func (o *outbox) begin(dst destination, s *session) {
	o.mu.Lock()
	o.open = true
	o.mu.Unlock()
	go o.write(dst, s)
}

// stopAsking leaves the gate out from the end of the frame in flight on.
func (o *outbox) stopAsking() {
	o.ungated.Store(true)
	o.release()
}

// lose leaves the gate out from here on, because frames can't be told apart any
// more: what waits for the end of the frame in flight is given up. If blind is
// set, there may also be bytes that no event tells of; then nothing is decided on
// whatever follows, and the relay sends it on, in order, once the outbox is empty.
func (o *outbox) lose(blind bool) {
	o.ungated.Store(true)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.releaseLocked()
	o.inFrame, o.lost, o.blind = false, true, o.blind || blind
	for _, it := range o.parked {
		o.extra -= len(it.b)
	}
	o.parked = nil
}

// frame carries out the decision on a frame, or a piece of one, and returns the
// fate that the frame has then.
func (o *outbox) frame(f *decode.Frame, decision *Decision) decode.Fate {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.stopped && !o.open:
		return o.dropped()
	case !o.open, o.blind:
		return decode.Fate{}
	}
	n := f.Len()
	if !f.More {
		if o.stopped {
			decision = &Decision{Fate: o.dropped()}
		}
		n += len(f.Head)
		o.decided(f, decision)
	} else if o.fate.FX == decode.FXReplace {
		o.fate.Until, o.fate.Stall, o.fate.Change = decision.Until, decision.Stall, decision.Change
	}
	switch {
	case o.passes:
		o.pass(n, f.Complete)
	case o.fate.FX == decode.FXReplace:
		if b := decision.Bytes; len(b) > 0 {
			o.pushSlowly(item{b: b, until: o.fate.Until, change: o.fate.Change, ends: o.replaced(b)})
		}
	case o.fate.FX != decode.FXDrop:
		o.keep(f)
	}
	if !o.passes {
		o.covered += n
	}
	if o.inFrame = !f.Complete; f.Complete {
		if b := o.fate.After; len(b) > 0 {
			o.insert(b, o.change)
		}
		o.unpark()
	}
	told := o.fate.Fate
	if o.fate.Kept && told.FX == decode.FXReplace {
		told.FX = decode.FXDelay
	}
	return told
}

// dropped is the fate of what is dropped because of a reset.
func (o *outbox) dropped() decode.Fate { return decode.Fate{FX: decode.FXDrop, Change: o.why} }

// decided takes the decision on the first piece of a frame.
func (o *outbox) decided(f *decode.Frame, decision *Decision) {
	if b := decision.Before; len(b) > 0 {
		o.insert(b, decision.Change)
		o.made = decode.Decoder{}
		o.replaced(b) // it may begin a message
	}
	if f.OpCode == ws.OpClose && decision.FX != decode.FXDrop {
		o.releaseLocked()
	}
	o.fate = fate{decision.Fate, decision.Until, decision.After, decision.Stall, decision.Kept}
	o.change = decision.Change
	o.passes = decision.FX == decode.FXNone && o.free(overtakes(f))
	switch {
	case decision.FX == decode.FXDrop:
		return
	case decision.FX == decode.FXReplace:
		o.made = decode.Decoder{}
		return
	case o.passes:
		o.fate.Fate = decode.Fate{}
	case decision.FX == decode.FXNone:
		o.fate.FX, o.fate.Until = decode.FXDelay, time.Time{}
	}
	if !f.Control() {
		o.inMessage = !f.Fin
	}
}

// overtakes reports whether f may overtake data that is held: it is a ping or a
// pong, and all of it is at hand.
func overtakes(f *decode.Frame) bool {
	return (f.OpCode == ws.OpPing || f.OpCode == ws.OpPong) && f.Complete && !f.More
}

// free reports whether nothing is in front of a frame.
func (o *outbox) free(overtakes bool) bool {
	switch {
	case o.writing, len(o.urgent) > 0, o.inStall():
		return false
	case len(o.queue) == 0:
		return true
	}
	return overtakes && !o.midway && o.queue[0].held(time.Now())
}

// pass has the relay write the next n bytes, which may end a frame.
func (o *outbox) pass(n int, ends bool) {
	o.midway = !ends
	from := o.covered
	o.covered += n
	if i := len(o.direct) - 1; i >= 0 && o.direct[i].to == from {
		o.direct[i].to += n
		return
	}
	o.direct = append(o.direct, span{from, from + n})
}

// keep puts a frame, or a piece of one, in the queue, in one item with what
// stands in front of it if that has the same fate.
func (o *outbox) keep(f *decode.Frame) {
	it := item{until: o.fate.Until, change: o.fate.Change, asCame: true, ends: f.Complete}
	if o.fate.Stall > 0 {
		it.b = f.AppendWire(nil)
		o.pushSlowly(it)
		return
	}
	if overtakes(f) && it.until.IsZero() {
		it.b, it.urgent = f.AppendWire(nil), true
		o.push(it)
		return
	}
	if i := len(o.queue) - 1; i >= 0 {
		if last := &o.queue[i]; last.asCame && last.stall == 0 && !(last.ends && len(o.urgent) > 0) && last.until.Equal(it.until) && last.change == it.change && len(last.b)+f.Len() < maxBatch {
			n := len(last.b)
			last.b, last.ends = f.AppendWire(last.b), it.ends
			o.size += len(last.b) - n
			return
		}
	}
	it.b = f.AppendWire(make([]byte, 0, len(f.Head)+f.Len()))
	o.push(it)
}

// sendOn takes what came and was held elsewhere.
func (o *outbox) sendOn(b []byte) {
	if len(b) == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.made = decode.Decoder{}
	ends := o.replaced(b)
	if o.push(item{b: b, asCame: true, ends: ends}); !ends && o.inFrame { // so does the rest
		o.fate = fate{Fate: decode.Fate{FX: decode.FXDelay}}
	}
}

// junk takes bytes that can't be framed.
func (o *outbox) junk(b []byte) decode.Fate {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.stopped:
		o.covered += len(b)
		return o.dropped()
	case !o.open, o.blind:
		return decode.Fate{}
	case o.free(false):
		o.pass(len(b), true)
		return decode.Fate{}
	}
	o.covered += len(b)
	o.push(item{b: append([]byte(nil), b...), ends: true})
	return decode.Fate{FX: decode.FXDelay}
}

// replaced notes what is sent in place of the frame in flight, and reports
// whether that ends with a frame.
func (o *outbox) replaced(b []byte) (ends bool) {
	for f := range o.made.Frames(b) {
		if !f.More && !f.Control() {
			o.inMessage = !f.Fin
		}
	}
	return !o.made.InPayload() && len(o.made.Partial()) == 0
}

// pushSlowly is push for what is sent for the frame in flight, with the stall that
// was decided for that: in the middle, or behind the first piece of several.
func (o *outbox) pushSlowly(it item) {
	stall := o.fate.Stall
	if o.fate.Stall = 0; stall <= 0 {
		o.push(it)
		return
	}
	if n := o.middle(it); n < len(it.b) {
		half := it
		half.b, it.b = it.b[:n:n], it.b[n:]
		half.ends, half.stall = false, stall
		o.push(half)
	} else {
		it.stall = stall
	}
	o.push(it)
}

// middle returns where sending it stops: in the middle of the bytes and inside of a
// frame, or at the end of the first piece of a frame.
func (o *outbox) middle(it item) int {
	if !it.ends {
		return len(it.b)
	}
	n, dec := max(1, len(it.b)/2), decode.Decoder{}
	for range dec.Frames(it.b[:n]) {
	}
	if n > 1 && !dec.InPayload() && len(dec.Partial()) == 0 { // between two frames
		n--
	}
	return n
}

// push adds it to the queue, or to what overtakes it.
func (o *outbox) push(it item) {
	if o.stopped {
		return
	}
	if it.urgent {
		o.urgent = append(o.urgent, it)
		o.extra += len(it.b)
	} else {
		o.queue = append(o.queue, it)
		o.size += len(it.b)
	}
	signal(o.wake)
}

func (o *outbox) inject(b []byte, change string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case len(b) == 0, o.closed, o.stopped, o.ungated.Load(), o.err != nil, o.extra+len(b) > maxQueue:
		return false
	case opcode(b) == ws.OpPing, opcode(b) == ws.OpPong:
		o.push(item{b: b, change: change, ends: true, urgent: true})
		return true
	case opcode(b) == ws.OpClose:
		o.releaseLocked()
	}
	o.insert(b, change)
	return true
}

func opcode(b []byte) ws.OpCode { return ws.OpCode(b[0] & 15) }

// insert puts whole frames behind what was decided on so far; inside a frame or
// message that they would break up, they wait for its end.
func (o *outbox) insert(b []byte, change string) {
	it := item{b: b, change: change, ends: true}
	if o.fits(it) {
		o.push(it)
		return
	}
	o.parked = append(o.parked, it)
	o.extra += len(b)
}

// fits reports whether an injection can stand behind what was decided on so far
// (RFC 6455 §5.4: control frames may be in the middle of a message, others not).
func (o *outbox) fits(it item) bool {
	return !o.midFrame() && (!o.inMessage || opcode(it.b) >= ws.OpClose)
}

// midFrame reports whether what is sent of what was decided on ends inside a frame.
func (o *outbox) midFrame() bool {
	switch {
	case !o.inFrame, o.fate.FX == decode.FXDrop:
		return false
	case o.fate.FX == decode.FXReplace:
		return o.made.InPayload() || len(o.made.Partial()) > 0
	}
	return true
}

// unpark puts injections in the queue that have waited for the frame, or the
// message, that has just ended.
func (o *outbox) unpark() {
	rest := o.parked[:0]
	for _, it := range o.parked {
		if !o.fits(it) {
			rest = append(rest, it)
			continue
		}
		o.extra -= len(it.b)
		o.push(it)
	}
	o.parked = rest
}

// release has what is held go on now.
func (o *outbox) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.releaseLocked()
}

func (o *outbox) releaseLocked() {
	for i := range o.queue {
		o.queue[i].until, o.queue[i].stall = time.Time{}, 0
	}
	if o.inFrame {
		o.fate.Until, o.fate.Stall = time.Time{}, 0
	}
	o.stall, o.stalled = 0, time.Time{}
	signal(o.wake)
}

// inStall reports whether nothing may be written yet behind what was.
func (o *outbox) inStall() bool {
	return !o.stalled.IsZero() && o.stalled.After(time.Now())
}

// stop drops what is held and all that begins from here on, because of a change: a
// reset is next. It reports whether the relay, which is to reset the connections, runs.
func (o *outbox) stop(change string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open || o.stopped {
		return o.stopped
	}
	o.stopped, o.why = true, change
	now := time.Now()
	n := 0
	for n < len(o.queue) && !o.inStall() && !o.queue[n].held(now) && (n == 0 || o.queue[n-1].stall == 0) {
		n++
	}
	if o.stall > 0 { // behind what is being written
		n = 0
	}
	o.dropFrom(n)
	return true
}

// resets reports whether a reset was decided, and by which change.
func (o *outbox) resets() (change string, yes bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.why, o.stopped
}

// abandon drops whatever has not been written, because of a change that resets the
// connections.
func (o *outbox) abandon(change string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.stopped {
		o.stopped, o.why = true, change
	}
	for _, it := range o.urgent {
		o.extra -= len(it.b)
	}
	o.urgent = nil
	o.dropFrom(0)
	o.err = errWrite
	signal(o.wake)
	signal(o.progress)
}

// dropFrom drops the queue from n on, and what is parked.
func (o *outbox) dropFrom(n int) {
	for _, it := range o.queue[n:] {
		o.size -= len(it.b)
	}
	clear(o.queue[n:])
	o.queue = o.queue[:n]
	for _, it := range o.parked {
		o.extra -= len(it.b)
	}
	o.parked = nil
}
