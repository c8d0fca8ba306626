package replay

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// twoClients are two sessions of one URL, which begin with the same words of the server.
const twoClients = `{"wstrace":1}
{"k":"open","c":1,"url":"ws://h/x"}
{"k":"open","c":2,"url":"ws://h/x"}
{"k":"frame","c":1,"d":"<","op":"text","text":"hello"}
{"k":"frame","c":2,"d":"<","op":"text","text":"hello"}
{"k":"frame","c":1,"d":">","op":"text","mask":"01020304","text":"ann"}
{"k":"frame","c":1,"d":"<","op":"text","text":"you are ann"}
{"k":"frame","c":2,"d":">","op":"text","mask":"01020304","text":"bob"}
{"k":"frame","c":2,"d":"<","op":"text","text":"you are bob"}
{"k":"frame","c":2,"d":"<","op":"text","text":"bye"}
{"k":"frame","c":1,"d":"<","op":"text","text":"bye"}
`

// Two clients of one URL may come in any order: what they say first tells them apart.
func TestClientsInAnyOrder(t *testing.T) {
	for _, order := range [][]int64{{1, 2}, {2, 1}} {
		for _, one := range []string{"after the other", "at once"} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error)
			go func() { done <- loadAll(t, twoClients).Serve(t.Context(), l) }()
			var clients sync.WaitGroup
			for _, n := range order {
				greeted := make(chan bool, 10)
				client := loaded(t, twoClients, Session(n))
				clients.Go(func() {
					err := client.Connect(t.Context(), "ws://"+l.Addr().String(), Events(decode.SinkFunc(func(ev *decode.Event) {
						if ev.Kind == decode.KindFrame {
							greeted <- true
						}
					})))
					if err != nil {
						t.Errorf("%v, %s: session %d: %v", order, one, n, err)
					}
				})
				if one == "after the other" {
					<-greeted
				}
			}
			clients.Wait()
			if err := <-done; err != nil {
				t.Errorf("%v, %s: %v", order, one, err)
			}
		}
	}
	// Who says what neither has recorded is told so.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- loadAll(t, twoClients).Serve(t.Context(), l) }()
	other := loaded(t, strings.ReplaceAll(twoClients, "ann", "eve"), Session(1))
	if err := other.Connect(t.Context(), "ws://"+l.Addr().String()); err == nil {
		t.Error("eve notices nothing")
	}
	check(t, <-done, `session 1: line 6: expected client frame 0, text "ann", after the handshake; got text "eve", which differs at byte 0`)
}

// A client whose handshake fits no session is told why, also where several are played; and
// one that speaks in records gets the session that has them.
func TestRefusalAmongOthers(t *testing.T) {
	for range 10 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- loadAll(t, twoClients).Serve(t.Context(), l) }()
		other := loaded(t, strings.ReplaceAll(twoClients, "ws://h/x", "ws://h/y"), Session(1))
		err = other.Connect(t.Context(), "ws://"+l.Addr().String())
		check(t, err, "expected status 101, got 400 Bad Request")
		<-done
	}
	text := `{"wstrace":1}
{"k":"open","c":1,"url":"ws://h/x"}
{"k":"open","c":2,"url":"ws://h/x"}
{"k":"frame","c":1,"d":">","op":"text","mask":"01020304","text":"plain"}
{"k":"frame","c":2,"d":">","op":"text","mask":"01020304","text":"{\"protocol\":\"json\",\"version\":1}\u001e"}
{"k":"frame","c":2,"d":">","op":"text","mask":"05060708","text":"{\"a\":1}\u001e"}
{"k":"frame","c":2,"d":">","op":"text","mask":"09080706","text":"{\"a\":2}\u001e"}
{"k":"frame","c":2,"d":"<","op":"text","text":"{}\u001e"}
`
	joined := strings.Replace(text, `version\":1}\u001e"}`+"\n"+`{"k":"frame","c":2,"d":">","op":"text","mask":"05060708","text":"`, `version\":1}\u001e`, 1)
	if joined == text {
		t.Fatal("nothing was joined")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- loadAll(t, text).Serve(t.Context(), l) }()
	var clients sync.WaitGroup
	for _, n := range []int64{2, 1} {
		clients.Go(func() {
			if err := loaded(t, joined, Session(n)).Connect(t.Context(), "ws://"+l.Addr().String()); err != nil {
				t.Errorf("session %d: %v", n, err)
			}
		})
	}
	clients.Wait()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
