package proxy

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// heap returns the bytes of live objects.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// files returns how many files this process has open.
func files(t *testing.T) int {
	t.Helper()
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		if fds, err := os.ReadDir(dir); err == nil {
			return len(fds)
		}
	}
	return 0
}

// A relayed is one direction of a link, from in to out.
type relayed struct {
	in, out  *net.TCPConn // the peers' ends
	src, dst *leg
	session  *session
}

func newRelayed(t *testing.T) *relayed {
	var r relayed
	pair := func() (*net.TCPConn, net.Conn) {
		l := listen(t)
		a, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close(); b.Close() })
		return a.(*net.TCPConn), b
	}
	in, src := pair()
	out, dst := pair()
	r.in, r.out, r.src, r.dst = in, out, newLeg(src), newLeg(dst)
	r.session = new(session)
	r.session.Session.Open(decode.Info{Conn: 1})
	r.session.Upgraded()
	return &r
}

// run relays until stop is called, which ends both peers.
func (r *relayed) run() (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		(&link{p: new(Proxy), ctx: context.Background()}).relay(decode.FromClient, r.src, r.dst, r.session)
	}()
	return func() { r.in.Close(); r.out.Close(); <-done }
}

// halves is a connection that sends every chunk in two halves, each when
// waiting says that the other side waits.
type halves struct {
	net.Conn
	waiting chan struct{}
}

func (c halves) Write(b []byte) (int, error) {
	for _, p := range [...][]byte{b[:len(b)/2], b[len(b)/2:]} {
		<-c.waiting
		if _, err := c.Conn.Write(p); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// secure has the source speak TLS over c, its peer, and returns what speaks it
// there.
func (r *relayed) secure(t *testing.T, c net.Conn) net.Conn {
	leaf, err := authority().Leaf("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	below := &records{Conn: r.src.Conn, leg: r.src, wait: true}
	server := tls.Server(below, &tls.Config{Certificates: []tls.Certificate{*leaf}})
	client := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error)
	go func() { done <- client.Handshake() }()
	if err := cmp.Or(server.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	r.src = below.secured(server)
	return client
}

// A connection holds no buffer while it waits, neither for what was encrypted
// nor for what it decrypts to, also in the middle of a record.
func TestIdleHoldsNoBuffer(t *testing.T) {
	for _, name := range []string{"plain", "TLS"} {
		t.Run(name, func(t *testing.T) {
			r := newRelayed(t)
			socket := r.src
			if socket.raw == nil {
				t.Skip("this system can't wait without a buffer")
			}
			waiting := make(chan struct{}, 1)
			held := 0
			socket.ready = func(fd uintptr) bool {
				ok := socket.readRaw(fd)
				if !ok {
					if socket.buf != nil || r.src.buf != nil {
						held++
					}
					select {
					case waiting <- struct{}{}:
					default:
					}
				}
				return ok
			}
			in := net.Conn(halves{r.in, waiting})
			if name == "TLS" {
				in = r.secure(t, in)
			}
			stop := r.run()
			b := make([]byte, 2<<20)
			for _, n := range []int{1, 125, 64 << 10, len(b)} { // the last takes large buffers
				f := ws.MustCompileFrame(ws.NewBinaryFrame(b[:n]))
				sent := make(chan struct{})
				go func() { defer close(sent); in.Write(f) }()
				got := make([]byte, len(f))
				if _, err := io.ReadFull(r.out, got); err != nil || !bytes.Equal(got, f) {
					t.Errorf("frame with %d bytes of payload is not relayed as it is, %v", n, err)
				}
				<-sent
			}
			stop()
			if held != 0 {
				t.Errorf("it waited with a buffer %d times", held)
			}
		})
	}
}

// A goroutine that waits for a peer keeps a stack of 4 KiB, though it needed more
// before. A stack shrinks to that only if less than a quarter of twice as much is
// in use, 800 bytes of which Go keeps for itself.
func TestIdleStacks(t *testing.T) {
	if raceEnabled() {
		t.Skip("the race detector needs more stack")
	}
	for _, m := range []mode{inReverse, inTLS} {
		t.Run(string(m), func(t *testing.T) {
			const n = 100
			r := newRig(t, m, func(p *Proxy) { p.Sink = decode.SinkFunc(func(*decode.Event) { needStack(10) }) })
			open := func() {
				c, s := r.upgrade()
				c.send(masked("hello"))
				s.want("a frame", masked("hello"))
				s.send(text("hello"))
				c.want("a frame", text("hello"))
			}
			open()
			before := stacks()
			for range n {
				open()
			}
			each := float64(stacks()-before) / n / 1024
			if want := 2 * 4.0; each > want+1 {
				t.Errorf("got %.1f KiB of stacks a connection, want %v for two goroutines", each, want)
			}
		})
	}
}

// needStack needs n KiB of stack.
//
//go:noinline
func needStack(n int) byte {
	var b [1024]byte
	if n > 0 {
		b[n] = needStack(n - 1)
	}
	return b[n]
}

// stacks returns how many bytes of stacks are in use, after they have shrunk.
func stacks() int64 {
	for range 8 { // by half each time
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.StackInuse)
}

// A chunk costs no allocation once the relay is warm.
func TestRelayAllocatesNothing(t *testing.T) {
	limit := 0.0
	if raceEnabled() { // a sync.Pool then drops some of what it gets
		limit = 2
	}
	r := newRelayed(t)
	frames := 0
	r.session.Sink = decode.SinkFunc(func(ev *decode.Event) {
		if ev.Kind == decode.KindFrame {
			frames++
		}
	})
	stop := r.run()
	chunk := []byte(masked("hello") + masked("again"))
	got := make([]byte, len(chunk))
	relay := func() {
		r.in.Write(chunk)
		io.ReadFull(r.out, got)
	}
	relay()
	if n := testing.AllocsPerRun(200, relay); n > limit {
		t.Errorf("got %v allocations a chunk, want %v", n, limit)
	}
	stop()
	if frames != 2*202 {
		t.Errorf("got %d frames, want %d", frames, 2*202)
	}
}

// Nor does a chunk of a body, or of a whole link after an upgrade.
func TestLinkAllocatesNothing(t *testing.T) {
	limit := 0.0
	if raceEnabled() {
		limit = 4
	}
	const length = "Content-Length: 1000000000\r\n\r\n"
	for name, open := range map[string]func(*rig) (c, s *peer){
		"upgrade": (*rig).upgrade,
		"bodies": func(r *rig) (c, s *peer) {
			c, s = r.ask("POST / HTTP/1.1\r\n" + length)
			answer(c, s, "HTTP/1.1 200 OK\r\n"+length)
			return c, s
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, inReverse, func(p *Proxy) { p.Sink = decode.SinkFunc(func(*decode.Event) {}) })
			c, s := open(r)
			up, down := []byte(masked("hello")), []byte(text("hello"))
			got := make([]byte, len(up))
			relay := func() {
				c.Write(up)
				io.ReadFull(s.Conn, got)
				s.Write(down)
				io.ReadFull(c.Conn, got[:len(down)])
			}
			relay()
			if n := testing.AllocsPerRun(200, relay); n > limit {
				t.Errorf("got %v allocations for a chunk each way, want %v", n, limit)
			}
		})
	}
}

func raceEnabled() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// Beyond a limit all buffers are small.
func TestLargeBuffersAreLimited(t *testing.T) {
	const class = len(bufferSizes) - 1
	var taken []*buffer
	for len(taken) < 2*maxLarge/bufferSizes[class] {
		taken = append(taken, getBuffer(class))
	}
	large := 0
	for _, b := range taken {
		if len(b.b) != bufferSizes[b.class] {
			t.Errorf("got %d bytes in class %d", len(b.b), b.class)
		}
		if b.class > 1 {
			large += len(b.b)
		}
		b.put()
	}
	if large != maxLarge {
		t.Errorf("got %d bytes in large buffers, want %d", large, maxLarge)
	}
	if n := largeInUse.Load(); n != 0 {
		t.Errorf("got %d bytes in use at the end, want 0", n)
	}
}

// Unread bytes move to larger buffers, up to a limit, and keep their order.
func TestLegGrows(t *testing.T) {
	a, b := memPipe(1, 2)
	l := newLeg(b)
	var want []byte
	for i := 0; ; i++ {
		chunk := bytes.Repeat([]byte{byte(i)}, 1024)
		sent := make(chan struct{})
		go func() { defer close(sent); a.Write(chunk) }()
		err := l.fill()
		if err == errFull {
			a.Close()
			<-sent
			break
		}
		<-sent
		if want = append(want, chunk...); i == 50 { // then there is room in front
			l.use(30 << 10)
			want = want[30<<10:]
		}
		if err != nil || !bytes.Equal(l.unread(), want) {
			t.Fatalf("got %d bytes unread, %v, want %d as they came", len(l.unread()), err, len(want))
		}
	}
	if len(want) != 1<<20 {
		t.Errorf("got %d bytes at most, want 1 MiB", len(want))
	}
	l.drop()
}
