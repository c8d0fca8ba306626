package main

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const bodySecret = "Zq8Xk2Vt9Lm4Rw7Yb1"

// negotiates answers as the servers of SignalR do, and others: at once, in chunks,
// compressed, not at all.
func negotiates(w http.ResponseWriter, r *http.Request) {
	asked, _ := io.ReadAll(r.Body)
	switch r.URL.Path {
	case "/chunks":
		for range 3 {
			io.WriteString(w, `{"accessToken":"`+bodySecret+`"}`)
			w.(http.Flusher).Flush()
		}
	case "/packed":
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, `{"accessToken":"`+bodySecret+`"}`)
		z.Close()
	case "/hub":
		http.Error(w, `{"accessToken":"`+bodySecret+`"}`, http.StatusForbidden)
	default:
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"connectionToken":"`+bodySecret+`","asked":`+string(asked)+`}`)
	}
}

// TestBodiesLive checks that what is shown of bodies live is what show prints of the
// recording, and that neither has a secret with --redact.
func TestBodiesLive(t *testing.T) {
	for _, flags := range []string{"-m", "--pretty", "-o json", "-m -o json", "-e body -o csv", "-m --bodies 9", `-e "password"`, `-e "pass" --bodies 9`, "-e json", "-m -o hex", "--redact credentials", "--redact credentials --pretty", "--redact credentials -o csv -m"} {
		t.Run(flags, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(negotiates))
			defer server.Close()
			name := filepath.Join(t.TempDir(), "a.wst")
			args := strings.Fields(flags)
			cmd := exec.Command("wstrace", append([]string{"-l", "127.0.0.1:0", "-w", name, server.URL}, args...)...)
			var live strings.Builder
			cmd.Stdout = &live
			stderr := start(t, cmd)
			line, err := stderr.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			url := "http://" + strings.TrimSpace(strings.TrimPrefix(line, "wstrace: listening on "))
			for _, path := range []string{"/negotiate", "/chunks", "/packed", "/hub"} {
				ask(t, url+path)
			}
			cmd.Process.Signal(syscall.SIGTERM)
			io.Copy(io.Discard, stderr)
			cmd.Wait()

			shown := []string{"show", "-q", name}
			for i, arg := range args {
				if arg != "--redact" && arg != "--bodies" && (i == 0 || args[i-1] != "--redact" && args[i-1] != "--bodies") {
					shown = append(shown, arg)
				}
			}
			offline, err := exec.Command("wstrace", shown...).Output()
			if err != nil {
				t.Fatal(err)
			}
			recorded, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want := string(offline)
			if strings.Contains(flags, "redact") {
				// What is packed is not shown unpacked while it is redacted.
				if all := live.String() + string(recorded); strings.Contains(all, bodySecret) || !strings.Contains(live.String(), "redacted-") {
					t.Errorf("got %s\nrecorded %s", live.String(), recorded)
				}
				if n := strings.Count(string(recorded), `"k":"body"`); n < 7 { // whatever is shown
					t.Errorf("%d bodies are recorded:\n%s", n, recorded)
				}
				return
			}
			if live.String() != want || !strings.Contains(want, "body") {
				t.Errorf("live:\n%s\noffline:\n%s", live.String(), want)
			}
		})
	}
}

// ask posts a document, with a request for websocket to /hub.
func ask(t *testing.T, url string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(`{"password":"`+bodySecret+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(url, "/hub") {
		if req, err = http.NewRequestWithContext(t.Context(), "GET", url, nil); err != nil {
			t.Fatal(err)
		}
		for _, h := range []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="} {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Set(name, value)
		}
	}
	req.Header.Set("Accept-Encoding", "gzip")
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
}
