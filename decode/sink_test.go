package decode

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A note is a Sink that writes down what it is told.
type note struct{ lines []string }

func (n *note) Emit(ev *Event) { n.lines = append(n.lines, describe(ev)) }

// describe says of an event what a wrapper may depend on.
func describe(ev *Event) string {
	switch ev.Kind {
	case KindFrame:
		s := fmt.Sprintf("frame %d", ev.Frame.N)
		if ev.Message != nil {
			s += fmt.Sprintf(" with %q", ev.Message.Data)
		}
		return s
	case KindMessage:
		return fmt.Sprintf("message %q unfinished %v", ev.Message.Data, ev.Message.Unfinished)
	}
	return fmt.Sprintf("kind %d", ev.Kind)
}

func TestShared(t *testing.T) {
	if got := Shared(nil); got != nil {
		t.Errorf("nil: got %v, want nil", got)
	}
	tee := new(Tee)
	if got := Shared(tee); got != Sink(tee) {
		t.Errorf("a Tee: got %v, want itself", got)
	}
	n := new(note)
	shared := Shared(n)
	if _, ok := shared.(sync.Locker); !ok {
		t.Fatalf("got %T, which can't be locked", shared)
	}
	if again := Shared(shared); again != shared {
		t.Error("a shared sink is wrapped a second time")
	}

	// Sessions that use it at the same time don't meet in it: the race detector
	// would tell.
	var sessions sync.WaitGroup
	for conn := range int64(4) {
		sessions.Go(func() {
			s := &Session{Sink: shared}
			s.Open(Info{Conn: conn + 1})
			s.Upgraded()
			for range 100 {
				s.Data(FromServer, time.Time{}, []byte("\x81\x01a\x81\x01b"))
			}
		})
	}
	sessions.Wait()
	if len(n.lines) != 4*(1+200) {
		t.Errorf("got %d events, want %d", len(n.lines), 4*(1+200))
	}
}

func TestLocked(t *testing.T) {
	tee := &Tee{Sinks: []Sink{new(note)}}
	free := func() bool {
		ok := tee.mu.TryLock()
		if ok {
			tee.mu.Unlock()
		}
		return ok
	}
	Locked(tee, func() {
		if free() {
			t.Error("the Tee is not locked during the call")
		}
	})
	if !free() {
		t.Error("the Tee is locked after the call")
	}
	called := false
	Locked(new(note), func() { called = true })
	if !called {
		t.Error("without a lock the function is not called")
	}

	// Who stands between is locked with the sink behind.
	between := LockedWith(tee, func(ev *Event) {
		if free() {
			t.Error("the Tee is not locked when an event is handed on")
		}
		tee.Emit(ev)
	})
	s := &Session{Sink: between}
	s.Open(Info{Conn: 1})
	if n := tee.Sinks[0].(*note); len(n.lines) != 1 {
		t.Errorf("got %q, want one event", n.lines)
	}
	if _, ok := LockedWith(new(note), func(*Event) {}).(sync.Locker); ok {
		t.Error("a sink without a lock gets one")
	}
	if _, ok := LockedWith(nil, func(*Event) {}).(sync.Locker); ok {
		t.Error("no sink has a lock")
	}
}

func TestWhere(t *testing.T) {
	n := new(note)
	s := &Session{Sink: Where(func(ev *Event) bool { return ev.Dir == FromServer && ev.Kind == KindFrame }, n)}
	s.Open(Info{Conn: 1})
	s.Upgraded()
	s.Data(FromClient, time.Time{}, []byte("\x81\x81\x01\x02\x03\x04a"))
	s.Data(FromServer, time.Time{}, []byte("\x81\x01a"))
	if got := strings.Join(n.lines, ", "); got != "frame 0" {
		t.Errorf("got %s, want the frame of the server", got)
	}
}

func TestMessagesOnly(t *testing.T) {
	for _, c := range []struct {
		name, bytes, want string
	}{
		{"one frame", "\x81\x01a", `frame 0 with "a"`},
		{"fragments, a ping between them", "\x01\x01a\x89\x00\x80\x01b", `frame 1, frame 2 with "ab"`},
		{"a violation of a fragment stays", "\x01\x01a\x00\x7e\x00\x00\x80\x01b", `frame 1, frame 2 with "ab"`},
		{"never finished", "\x01\x01a\x81\x01b", `message "a" unfinished true, frame 1 with "b"`},
		{"a fragment of nothing", "\x80\x01a", "frame 0"},
	} {
		n := new(note)
		s := &Session{Sink: MessagesOnly(n), Look: Look{Messages: true}}
		s.Open(Info{Conn: 1})
		s.Upgraded()
		s.Data(FromServer, time.Time{}, []byte(c.bytes))
		if got := strings.Join(n.lines[1:], ", "); got != c.want {
			t.Errorf("%s: got  %s\nwant %s", c.name, got, c.want)
		}
	}

	// Where messages are not put together, frames are all there is.
	n := new(note)
	s := &Session{Sink: MessagesOnly(n)}
	s.Open(Info{Conn: 1})
	s.Upgraded()
	s.Data(FromServer, time.Time{}, []byte("\x01\x01a\x80\x01b"))
	if got := strings.Join(n.lines[1:], ", "); got != "frame 0, frame 1" {
		t.Errorf("without messages: got %s", got)
	}

	// A message that never had frames is told of by its own event alone.
	n = new(note)
	MessagesOnly(n).Emit(&Event{Kind: KindMessage, Info: &Info{}, Message: &Message{Data: []byte("a")}})
	MessagesOnly(n).Emit(&Event{Kind: KindMessage, Info: &Info{}, Message: &Message{Data: []byte("b"), Frames: 1}})
	if got := strings.Join(n.lines, ", "); got != `message "a" unfinished false` {
		t.Errorf("messages without frames: got %s", got)
	}
}

func TestPerSession(t *testing.T) {
	var p PerSession[int]
	ev := func(kind Kind, conn int64) *Event { return &Event{Kind: kind, Conn: conn} }
	if p.Lookup(1) != nil || len(p.Open()) != 0 {
		t.Error("something is kept from the start")
	}
	p.Forget(1)

	*p.Of(ev(KindOpen, 2)) = 20
	*p.Of(ev(KindFrame, 1)) = 10 // whose open event lies before
	if got := *p.Of(ev(KindFrame, 2)); got != 20 {
		t.Errorf("got %d, want what was kept, 20", got)
	}
	if got := p.Open(); !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("got sessions %v, want 1 and 2", got)
	}

	// A session of the same number, in another recording.
	if got := *p.Of(ev(KindOpen, 2)); got != 0 {
		t.Errorf("a new session has what was kept of another: %d", got)
	}

	// The last that comes of a session.
	*p.Of(ev(KindFrame, 2)) = 21
	last := p.Of(ev(KindClosed, 2))
	if *last != 21 || p.Lookup(2) != nil {
		t.Errorf("closed: got %d, want 21 and nothing kept", *last)
	}
	if got := *p.Of(ev(KindClosed, 3)); got != 0 || p.Lookup(3) != nil {
		t.Error("of a session that was not known, something is kept after its end")
	}
	p.Forget(1)
	if len(p.Open()) != 0 {
		t.Errorf("got %v, want nothing kept", p.Open())
	}
}

// Of too many, the one that was not asked for for longest is forgotten.
func TestPerSessionMax(t *testing.T) {
	var forgotten []int64
	p := PerSession[int]{Max: 3, Forgotten: func(conn int64, v *int) {
		if int64(*v) != 10*conn {
			t.Errorf("session %d: got %d", conn, *v)
		}
		forgotten = append(forgotten, conn)
	}}
	for conn := range int64(6) {
		*p.OfConn(conn) = 10 * int(conn)
		p.Lookup(0) // it is in use
		if conn == 4 {
			p.Forget(4)
		}
	}
	if got := p.Open(); !slices.Equal(got, []int64{0, 3, 5}) || !slices.Equal(forgotten, []int64{1, 2}) {
		t.Errorf("got %v, forgotten %v", got, forgotten)
	}
	for _, conn := range p.Open() {
		p.Forget(conn)
	}
	if *p.OfConn(7) = 70; len(p.Open()) != 1 {
		t.Errorf("got %v", p.Open())
	}
	if p.Clear(); p.Lookup(7) != nil {
		t.Error("something is left")
	}
}

func TestSinkAllocatesNothing(t *testing.T) {
	var p PerSession[int]
	frames := 0
	s := &Session{Look: Look{Messages: true}, Sink: Shared(MessagesOnly(Where(func(ev *Event) bool { return ev.Kind == KindFrame }, SinkFunc(func(ev *Event) {
		*p.Of(ev)++
		frames++
	}))))}
	s.Open(Info{Conn: 1})
	s.Upgraded()
	chunk := []byte("\x01\x01a\x80\x01b")
	s.Data(FromServer, time.Time{}, chunk)
	if n := testing.AllocsPerRun(100, func() { s.Data(FromServer, time.Time{}, chunk) }); n != 0 && !raceEnabled() {
		t.Errorf("got %v allocations for two frames, want 0", n)
	}
	if frames == 0 {
		t.Error("no frame came")
	}
}

// Whoever keeps what belongs to one session keeps nothing of the others.
func TestPerSessionLetsGo(t *testing.T) {
	const size = 64 << 10
	var first *[size]byte
	p := PerSession[[size]byte]{Max: 2, Forgotten: func(conn int64, v *[size]byte) {
		if conn == 1 {
			first = v
		}
	}}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for conn := range int64(200) {
		p.OfConn(conn + 1)
	}
	if grown := heap() - before; grown > 20*size {
		t.Errorf("3 of 200 sessions of %d bytes are kept, and take %d", size, grown)
	}
	runtime.KeepAlive(first)
	runtime.KeepAlive(&p)
}
