package trace

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/wstrace/wstrace/decode"
)

// A rotator is a sink that records events in parts.
type rotator struct {
	w     *Writer
	parts []*bytes.Buffer
	now   func(*Writer) bool // whether to begin a new part before an event
}

func newRotator(now func(*Writer) bool) *rotator {
	r := &rotator{parts: []*bytes.Buffer{new(bytes.Buffer)}, now: now}
	r.w = NewWriter(r.parts[0], Options{Run: "a run", Part: 1})
	return r
}

func (r *rotator) Emit(ev *decode.Event) {
	if r.now(r.w) {
		r.rotate()
	}
	r.w.Emit(ev)
}

func (r *rotator) rotate() {
	r.parts = append(r.parts, new(bytes.Buffer))
	r.w.Rotate(r.parts[len(r.parts)-1], len(r.parts))
}

// said plays traces as parts and returns what the events say, and which rules
// are broken, by session.
func said(t *testing.T, traces ...*bytes.Buffer) (events []string, broken map[string]bool) {
	t.Helper()
	return saidTo(t, thorough(), traces...)
}

// saidTo is said for sessions that look into what look says.
func saidTo(t *testing.T, look decode.Look, traces ...*bytes.Buffer) (events []string, broken map[string]bool) {
	t.Helper()
	broken = map[string]bool{}
	sink := decode.SinkFunc(func(ev *decode.Event) {
		events = append(events, describe(ev))
		for _, v := range ev.Violations {
			broken[fmt.Sprint(ev.Conn, " ", v.ID)] = true
		}
	})
	var before *Source
	for _, b := range traces {
		src := &Source{R: bytes.NewReader(b.Bytes()), Before: before}
		if before != nil {
			src.After = before.Last()
		}
		if err := src.Play(t.Context(), sink, look); err != nil || src.Piece() {
			t.Errorf("play: %v, piece %t", err, src.Piece())
		}
		before = src
	}
	return events, broken
}

// saidAgain returns which rules are broken in a trace, by session, if what holds for
// every session is not told once.
func saidAgain(t *testing.T, trace *bytes.Buffer) map[string]bool {
	t.Helper()
	_, broken := saidTo(t, decode.Look{Messages: true, Advice: true}, trace)
	return broken
}

// TestParts records all kinds of sessions in one file, and in parts that end
// between frames, or anywhere, and compares what they say.
func TestParts(t *testing.T) {
	n := 0
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var whole bytes.Buffer
		anywhere := seed%4 == 3
		r := newRotator(func(w *Writer) bool {
			return rnd.IntN(12) == 0 && (anywhere && w.closing == nil && !w.refused || w.MayRotate()) && w.Written() > 0
		})
		live(rnd, plays(), &decode.Tee{Sinks: []decode.Sink{NewWriter(&whole, Options{}), r}})
		n += len(r.parts)
		want, wantBroken := said(t, &whole)
		maps.Copy(wantBroken, saidAgain(t, &whole))
		got, _ := said(t, r.parts...)
		if !same(t, "event", got, want) {
			t.Fatalf("seed %d", seed)
		}
		var together []io.Reader
		for i, p := range r.parts {
			together = append(together, bytes.NewReader(p.Bytes()))
			_, broken := said(t, p)
			for b := range broken {
				if !wantBroken[b] {
					t.Errorf("seed %d, part %d alone breaks a rule that the whole does not: %s\n%.9000s", seed, i+1, b, p)
				}
			}
		}
		var one bytes.Buffer
		io.Copy(&one, io.MultiReader(together...))
		if got, _ := said(t, &one); !same(t, "event of one file", got, want) {
			t.Fatalf("seed %d", seed)
		}
		for range 3 {
			c := rnd.Int64N(int64(len(plays())))
			for d := client; d <= server; d++ {
				for _, rebuild := range []func(*Reader, int64, decode.Dir) ([]byte, error){Bytes, SentBytes} {
					want, wantErr := rebuild(NewReader(bytes.NewReader(whole.Bytes())), c+1, d)
					got, err := rebuild(NewReader(bytes.NewReader(one.Bytes())), c+1, d)
					if !bytes.Equal(got, want) || (err == nil) != (wantErr == nil) {
						t.Fatalf("seed %d, session %d %v: got %.2000q, %v\nwant %.2000q, %v", seed, c+1, d, got, err, want, wantErr)
					}
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("%d parts say little", n)
	}
}

// TestPart shows the lines of a part, and that it stands by itself.
func TestPart(t *testing.T) {
	r := newRotator(func(*Writer) bool { return false })
	s := decode.Session{Sink: r, Look: decode.Look{Messages: true}}
	s.Open(decode.Info{Conn: 7, Time: start, URL: "ws://a/"})
	request, response := upgrade("Origin: http://a"), accept("Sec-WebSocket-Extensions: permessage-deflate")
	edited{request, strings.Replace(request, "Host: a", "Host: b", 1)}.take(&s, start)
	s.Data(server, start, []byte(response+frame(0xc1, 0, "\xf2\x48\xcd\xc9\xc9\x07\x00")))
	s.Data(client, start, []byte(frame(0x81, 7, "aé")[:8]))
	s.Flush(client, start)
	if r.w.MayRotate() {
		t.Error("a frame is in flight")
	}
	s.Data(client, start, []byte(frame(0x81, 7, "aé")[8:]))
	if !r.w.MayRotate() {
		t.Error("no frame is in flight")
	}
	if int(r.w.Written()) != r.parts[0].Len() {
		t.Errorf("%d bytes are written, got %d", r.parts[0].Len(), r.w.Written())
	}
	r.rotate()
	if r.w.Written() != 0 {
		t.Errorf("%d bytes are written of the new part", r.w.Written())
	}
	s.Data(server, start, []byte(frame(0xc1, 0, "\xf2\x00\x11\x00\x00"))) // refers to the message before
	s.End(client, start, decode.EndFIN, "")
	r.rotate()
	s.Data(server, start, []byte(frame(0x81, 0, "x")))
	s.End(server, start, decode.EndFIN, "")
	other := decode.Session{Sink: r}
	other.Open(decode.Info{Conn: 8, Time: start})

	if len(r.w.open) != 1 {
		t.Errorf("%d sessions are kept, want 1", len(r.w.open))
	}
	head := strings.Join(strings.SplitAfter(r.parts[0].String(), "\n")[2:5], "")
	head = strings.ReplaceAll(strings.ReplaceAll(head, "}\n", `,"derived":true}`+"\n"), ` }`, "}")
	open := `{"k":"open","t":0,"c":7,"url":"ws://a/","ext":"permessage-deflate","cont":true}` + "\n"
	for i, want := range []string{
		`{"wstrace":1,"t0":"2026-11-21T07:31:41.123456789Z","run":"a run","part":2}` + "\n" + open + head +
			`{"k":"frame","t":0,"c":7,"d":"<","op":"text","rsv":4,"b64":"8gARAAA="}` + "\n" +
			`{"k":"end","t":0,"c":7,"d":">","how":"fin"}` + "\n",
		`{"wstrace":1,"t0":"2026-11-21T07:31:41.123456789Z","run":"a run","part":3}` + "\n" + open + head +
			`{"k":"end","t":0,"c":7,"d":">","how":"fin","derived":true}` + "\n" +
			`{"k":"frame","t":0,"c":7,"d":"<","op":"text","text":"x"}` + "\n" +
			`{"k":"end","t":0,"c":7,"d":"<","how":"fin"}` + "\n" +
			`{"k":"open","t":0,"c":8}` + "\n",
	} {
		same(t, fmt.Sprint("line of part ", i+2), strings.Split(r.parts[i+1].String(), "\n"), strings.Split(want, "\n"))
	}
	unread := func(parts ...*bytes.Buffer) string {
		events, _ := said(t, parts...)
		i := 0
		for j, e := range events {
			if strings.Contains(e, "compressed true") {
				i = j
			}
		}
		return events[i]
	}
	if got := unread(r.parts[1]); !strings.Contains(got, "unread true") || strings.Contains(got, "violation") {
		t.Errorf("the part alone: got %s", got)
	}
	if got := unread(r.parts[:2]...); !strings.Contains(got, "unread false") {
		t.Errorf("the parts in order: got %s", got)
	}
	if got := unread(r.parts[0], r.parts[2], r.parts[1]); !strings.Contains(got, "unread true") {
		t.Errorf("the parts in another order: got %s", got)
	}
	events, _ := said(t, r.parts[2])
	if got := events[len(events)-2]; !strings.Contains(got, fmt.Sprint("kind ", decode.KindClosed)) {
		t.Errorf("session 7 is not closed in the last part: %s", got)
	}
}

// TestPartCost checks what a Writer that may rotate keeps of a session, and that
// a frame costs it no allocation.
func TestPartCost(t *testing.T) {
	if n := unsafe.Sizeof(openSession{}); n > 400 {
		t.Errorf("a session takes %d bytes", n)
	}
	s := decode.Session{Sink: NewWriter(io.Discard, Options{Run: "x", Part: 1})}
	s.Open(decode.Info{Conn: 1, Time: start})
	s.Upgraded()
	chunk := []byte(frame(0x81, 1, "Hello"))
	if n := testing.AllocsPerRun(100, func() { s.Data(client, start, chunk) }); n > 0 {
		t.Errorf("%v allocations for a frame", n)
	}
}
