package change

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
)

// MaxHeld is how many bytes of frames are held until a message, or a frame, is complete
// that may be changed, with their headers. What is longer passes unchanged.
const MaxHeld = 1 << 20

// Changes are lines in force. It makes the gates of sessions, and can be used by several
// goroutines.
type Changes struct {
	// Seed is where chances, delays and masking keys come from. With the same seed,
	// the same traffic, and sessions in the same order, they are the same.
	Seed uint64

	set atomic.Pointer[lineSet]
}

// A lineSet is lines that are in force together.
type lineSet struct {
	lines []*Line
	holds bool // some are about whole messages, and act on them
	late  bool // some look into messages, and act on the session alone
	look  decode.Look
	acts  []atomic.Int64 // by line
}

// Acts are how often a line has acted.
type Acts struct {
	Line *Line
	N    int64
}

// Acts returns how often each of the lines in force has acted.
func (c *Changes) Acts() (all []Acts) {
	s := c.set.Load()
	for i, l := range s.lines {
		all = append(all, Acts{l, s.acts[i].Load()})
	}
	return all
}

// New returns the changes that lines are.
func New(seed uint64, lines []*Line) *Changes {
	c := &Changes{Seed: seed}
	c.Set(lines)
	return c
}

// Set puts other lines in force, in the sessions at hand, too, where counts and times begin
// anew, and rates end. A message of which something has passed already is not held. What
// they need to know of sessions beyond what the lines before needed is known of later
// ones only.
func (c *Changes) Set(lines []*Line) {
	s := &lineSet{lines: lines, acts: make([]atomic.Int64, len(lines))}
	for _, l := range lines {
		s.holds = s.holds || l.late && l.kind&(onFrames|onMessages) != 0
		s.late = s.late || l.late && l.kind == onSession
	}
	s.addTo(&s.look)
	c.set.Store(s)
}

// addTo adds what the lines need of sessions to look.
func (s *lineSet) addTo(look *decode.Look) {
	for _, l := range s.lines {
		l.addCondition(look)
	}
	for _, l := range s.lines {
		l.addActions(look)
	}
}

// NewGate is the NewGate of a [proxy.Proxy].
func (c *Changes) NewGate(info decode.Info, out *proxy.Outlet) proxy.Gate {
	return c.newGate(info.Conn, out)
}

func (c *Changes) newGate(conn int64, out outlet) *gate {
	g := &gate{changes: c, conn: conn, out: out}
	g.renew(c.set.Load(), nil)
	g.look = g.set.look
	return g
}

// random returns the generator of something in a session: what names it.
func (c *Changes) random(conn int64, what uint32, dir uint32) *rand.Rand {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[0:], c.Seed)
	binary.LittleEndian.PutUint64(seed[8:], uint64(conn))
	binary.LittleEndian.PutUint32(seed[16:], what)
	binary.LittleEndian.PutUint32(seed[20:], dir)
	return rand.New(rand.NewChaCha8(seed))
}
