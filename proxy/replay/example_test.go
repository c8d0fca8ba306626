package replay_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/wstrace/wstrace/proxy/replay"
)

// introduce is a client: it says who it is when asked, and returns the answer.
func introduce(ctx context.Context, url, name string) (string, error) {
	conn, early, _, err := ws.Dial(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	rw := struct {
		io.Reader
		io.Writer
	}{conn, conn}
	if early != nil { // what came together with the handshake
		rw.Reader = early
	}
	if _, err := wsutil.ReadServerText(rw); err != nil {
		return "", err
	}
	if err := wsutil.WriteClientText(rw, []byte(name)); err != nil {
		return "", err
	}
	greeting, err := wsutil.ReadServerText(rw)
	if err != nil {
		return "", err
	}
	bye := ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))
	if err := ws.WriteFrame(conn, ws.MaskFrame(bye)); err != nil {
		return "", err
	}
	_, err = io.Copy(io.Discard, conn)
	return string(greeting), err
}

// A test of a client: the recording stands in for the server.
func TestIntroduce(t *testing.T) {
	srv := replay.Serve(t, "testdata/greeting.wst")
	greeting, err := introduce(t.Context(), srv.URL+"/greet", "Ada")
	if err != nil || greeting != "Hello, Ada." {
		t.Errorf("got %q, %v", greeting, err)
	}
}

// greet is a server: it asks who is there, and greets.
func greet(w http.ResponseWriter, r *http.Request) {
	conn, _, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		return
	}
	defer conn.Close()
	wsutil.WriteServerText(conn, []byte("What is your name?"))
	for {
		name, err := wsutil.ReadClientText(conn) // also answers a Close frame
		if err != nil {
			return
		}
		wsutil.WriteServerText(conn, fmt.Appendf(nil, "Hello, %s.", name))
	}
}

// A test of a server: the recording stands in for the client.
func TestGreet(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(greet))
	defer srv.Close()
	replay.Dial(t, srv.URL, "testdata/greeting.wst")
}
