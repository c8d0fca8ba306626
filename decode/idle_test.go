package decode

import (
	"runtime"
	"testing"
	"time"
)

// TestIdleSessionHoldsNoBuffer checks that a session lets go of the bytes that
// were given to it, whatever they were.
func TestIdleSessionHoldsNoBuffer(t *testing.T) {
	for name, b := range map[string]string{
		"frames":               masked(0x81, testKey, "a") + masked(0x82, testKey, "b"),
		"a frame and a part":   masked(0x81, testKey, "a") + "\x82\xfe\x01\x00",
		"a part":               "\x82\xfe\x01\x00keysdata",
		"a length that is not": "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff and more",
	} {
		s := &Session{Sink: SinkFunc(func(*Event) {}), Look: Look{Messages: true, Pieces: true}}
		s.Open(Info{Time: start})
		s.Upgraded()
		freed := make(chan struct{})
		func() {
			buf := new([64 << 10]byte)
			runtime.AddCleanup(buf, func(struct{}) { close(freed) }, struct{}{})
			n := copy(buf[:], b)
			s.Data(FromClient, start, buf[:n])
			s.Sent(FromClient, start, buf[:n], "")
		}()
		runtime.GC()
		select {
		case <-freed:
		case <-time.After(time.Second):
			t.Errorf("%s: the session holds the bytes that were given to it", name)
		}
		runtime.KeepAlive(s)
	}
}
