package flow

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/wstrace/wstrace/decode"
)

// TestMitmproxy reads what mitmproxy writes of a real conversation.
func TestMitmproxy(t *testing.T) {
	mitmdump, err := exec.LookPath("mitmdump")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/chat" {
			io.Copy(w, r.Body)
			return
		}
		conn, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			b, op, err := wsutil.ReadClientData(conn) // it answers the Close
			if err != nil || wsutil.WriteServerMessage(conn, op, b) != nil {
				return
			}
		}
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "a.flow")
	address := mitm(t, mitmdump, server.URL, file)

	res, err := http.Post("http://"+address+"/echo", "text/plain", strings.NewReader("an exchange"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(res.Body); string(b) != "an exchange" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	conn, _, _, err := ws.Dial(t.Context(), "ws://"+address+"/chat?room=1")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "zwei ☃", strings.Repeat("long ", 20000)} {
		if err := wsutil.WriteClientText(conn, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := wsutil.ReadServerText(conn); string(got) != text || err != nil {
			t.Errorf("got %.40q, %v", got, err)
		}
	}
	if err := ws.WriteFrame(conn, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1001, "bye")))); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, conn)
	conn.Close()

	want := []string{"open", "request \"POST /echo HTTP/1.1", `"an exchange" 11`, "response \"HTTP/1.1 200 OK", `"an exchange" 11`, "closed code=0",
		"open", "/chat?room=1 noframes=true", "response \"HTTP/1.1 101", `message > 1 "one"`, `message < 1 "one"`, `message > 1 "zwei ☃"`, `message < 1 "zwei ☃"`,
		`message > 1 "long long`, `message < 1 "long long`, `message > 8 "\x03\xe9bye"`, "end", "closed code=1001"}
	var text string
	waitFor(t, func() bool {
		f, err := os.Open(file)
		if err != nil {
			return false
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return false
		}
		got := new(teller)
		if err := (&Source{R: f, Size: st.Size()}).Play(t.Context(), got, look); err != nil {
			return false
		}
		text = got.all()
		return strings.Contains(text, "code=1001")
	})
	rest := text
	for _, word := range want {
		i := strings.Index(rest, word)
		if i < 0 {
			t.Fatalf("got no %q where it should be in\n%.3000s", word, text)
		}
		rest = rest[i+len(word):]
	}
	if strings.Contains(text, " error ") || strings.Contains(text, " warning ") {
		t.Errorf("got violations in\n%.3000s", text)
	}
}

// mitm runs mitmdump as a reverse proxy in front of a server until the test ends, and
// returns its address.
func mitm(t *testing.T, mitmdump, url, file string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, mitmdump, "--mode", "reverse:"+url, "--listen-host", "127.0.0.1", "--listen-port", port, "-w", file, "--set", "confdir="+t.TempDir())
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = cmd.Stdout
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1)
	go func() {
		var all strings.Builder
		for lines := bufio.NewScanner(out); lines.Scan(); {
			fmt.Fprintln(&all, lines.Text())
		}
		said <- all.String()
	}()
	t.Cleanup(func() {
		cancel()
		text := <-said
		cmd.Wait()
		if t.Failed() {
			t.Log(text)
		}
	})
	waitFor(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return address
}

// waitFor waits for what another program does.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Error("nothing happened for a minute")
			return
		case <-tick.C:
		}
	}
}

var _ decode.Source = (*Source)(nil)
