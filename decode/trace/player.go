package trace

import (
	"io"

	"github.com/wstrace/wstrace/decode"
)

// A Player plays records as they come, as [Source.Play] plays those of a file. A
// record that may belong together with the next one is played with that.
type Player struct {
	p    player
	held *Record
	pos  Reader
}

// NewPlayer returns a Player that gives the events to sink. look is what its
// sessions examine.
func NewPlayer(sink decode.Sink, look decode.Look) *Player {
	pl := &Player{p: player{sink: sink, look: look}}
	pl.pos.begun = true
	pl.p.r = &pl.pos
	return pl
}

// Play plays a record, which it keeps until the next call. An error says why it
// can't follow those before it, and it is passed over.
func (pl *Player) Play(rec *Record) error {
	if err := pl.pos.place(rec); err != nil {
		return err
	}
	err := pl.release(rec, nil)
	rec = pl.p.ahead
	pl.p.ahead = nil
	if rec == nil {
		return err // it was the second of two
	}
	if pl.looksAhead(rec) {
		pl.held = rec
		return err
	}
	if err2 := pl.play(rec); err == nil {
		err = err2
	}
	return err
}

// Close plays what is held back.
func (pl *Player) Close() error { return pl.release(nil, io.EOF) }

// release plays the record that is held back, if there is one, with the one
// behind it.
func (pl *Player) release(next *Record, end error) error {
	held := pl.held
	pl.held = nil
	pl.p.ahead = next
	if held == nil {
		return nil
	}
	pl.p.aheadErr = end
	err := pl.play(held)
	pl.p.aheadErr = nil
	return err
}

func (pl *Player) play(rec *Record) (err error) {
	decode.Locked(pl.p.sink, func() { err = pl.p.play(rec) })
	return err
}

// looksAhead reports whether the record behind rec may be played with it.
func (pl *Player) looksAhead(rec *Record) bool {
	switch rec.Kind {
	case KindReq, KindRes:
		if rec.FX != "" && rec.Leg != LegOut {
			return true
		}
		s := pl.p.sessions.Lookup(rec.C)
		return rec.Kind == KindRes && s != nil && s.refuses(rec)
	case KindEnd:
		s := pl.p.sessions.Lookup(rec.C)
		return s != nil && !s.accepted
	}
	return false
}
