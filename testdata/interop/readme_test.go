package interop

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/wstrace/wstrace/proxy/replay"
)

// The code that the tests in the README are for, and the command that runs it.
var greeters = map[string]struct {
	needs    tool
	file     string
	code     string
	run      []string // with the URL behind it
	test     string
	runTests []string
}{
	"js": {
		needs: nodePackage("ws"),
		file:  "greet.mjs",
		code: `import { once } from 'node:events'
import WebSocket from 'ws'

export async function greet (url, name) {
  const ws = new WebSocket(url)
  await once(ws, 'message')
  ws.send(name)
  const [data] = await once(ws, 'message')
  ws.close(1000)
  await once(ws, 'close')
  return String(data)
}

if (process.argv[2] === 'now') console.log(await greet(process.argv[3], 'Ada'))
`,
		run:      []string{"node", "greet.mjs", "now"},
		test:     "greet.test.mjs",
		runTests: []string{"node", "--test"},
	},
	"python": {
		needs: pythonModule("websocket"),
		file:  "greet.py",
		code: `import sys

import websocket


def greet(url, name):
    ws = websocket.create_connection(url)
    ws.recv()
    ws.send(name)
    greeting = ws.recv()
    ws.close()
    return greeting


if __name__ == "__main__":
    print(greet(sys.argv[1], "Ada"))
`,
		run:      []string{python, "greet.py"},
		test:     "test_greet.py",
		runTests: []string{python, "-m", "unittest"},
	},
}

// greetings asks clients for their names and greets them.
func greetings(hello string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		defer conn.Close()
		wsutil.WriteServerText(conn, []byte("What is your name?"))
		for {
			name, err := wsutil.ReadClientText(conn)
			if err != nil {
				return
			}
			wsutil.WriteServerText(conn, fmt.Appendf(nil, "%s, %s.", hello, name))
		}
	}
}

func readReadme(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(readme)
}

// buildCommand builds wstrace and returns the folder it is in.
func buildCommand(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "./cmd/wstrace")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// codeBlock returns the code in a language that the README shows; it is of the file that
// its first line names, if any is asked for.
func codeBlock(t *testing.T, readme, lang string, file ...string) string {
	t.Helper()
	block := regexp.MustCompile("(?s)```" + lang + "\n(" + strings.Join(append([]string{""}, file...), "// ") + ".*?)```").FindStringSubmatch(readme)
	if block == nil {
		t.Fatalf("the README shows no code in %s %q", lang, file)
	}
	return block[1]
}

// chat is the code that the Go test in the README is for.
const chat = `package chat

import (
	"context"

	"github.com/coder/websocket"
)

// Chat is Ronald, who waits for his cues.
func Chat(ctx context.Context, url string) error {
	conn, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	answers := map[string]string{
		"John says: Good morning, Ronald!":    "Morning. Is Adam coming?",
		"Adam says: Here I am. Café at nine?": "At nine.",
	}
	for {
		_, heard, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		if string(heard) == "Ronald says: At nine." {
			return conn.Close(websocket.StatusNormalClosure, "Closing")
		}
		if answer := answers[string(heard)]; answer != "" {
			if err := conn.Write(ctx, websocket.MessageText, []byte(answer)); err != nil {
				return err
			}
		}
	}
}
`

// TestReadmeGo runs the Go test that the README shows, with a recording of the
// demo.
func TestReadmeGo(t *testing.T) {
	readme := readReadme(t)
	dir, err := os.MkdirTemp(".", "readme-") // in this module, for what it imports
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "testdata"), 0o777); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("chat.go", chat)
	write("chat_test.go", codeBlock(t, readme, "go", "chat_test.go"))
	demo := exec.CommandContext(t.Context(), filepath.Join(buildCommand(t), "wstrace"), "demo", "-q", "-o", "none", "-w", "testdata/chat.wst")
	demo.Dir = dir
	if out, err := demo.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := func() (string, error) {
		cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", ".")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	// It fails as the README says, but for numbers of lines.
	write("chat.go", strings.Replace(chat, `"At nine.",`, `"At ten.",`, 1))
	out, err := run()
	numbers := regexp.MustCompile(`line \d+`)
	failure := regexp.MustCompile(`replay testdata/chat\.wst: .*`)
	got, want := numbers.ReplaceAllString(failure.FindString(out), "line N"), numbers.ReplaceAllString(failure.FindString(readme), "line N")
	if err == nil || got != want {
		t.Errorf("got %v, %q, want %q", err, got, want)
	}
}

// hub is the code that the Go test of a hub in the README is for.
const hub = `package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/coder/websocket"
)

// Greet has a hub of SignalR greet somebody.
func Greet(ctx context.Context, url, name string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, "POST", url+"/negotiate?negotiateVersion=1", nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var negotiated struct{ ConnectionToken string }
	if err := json.NewDecoder(res.Body).Decode(&negotiated); err != nil {
		return "", err
	}
	conn, _, err := websocket.Dial(ctx, url+"?id="+negotiated.ConnectionToken, nil)
	if err != nil {
		return "", err
	}
	defer conn.CloseNow()
	send := func(format string, args ...any) error {
		return conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil, format+"\x1e", args...))
	}
	if err := send("{\"protocol\":\"json\",\"version\":1}"); err != nil {
		return "", err
	}
	if err := send("{\"type\":1,\"invocationId\":\"1\",\"target\":\"greet\",\"arguments\":[%q]}", name); err != nil {
		return "", err
	}
	for {
		_, message, err := conn.Read(ctx)
		if err != nil {
			return "", err
		}
		for _, record := range bytes.Split(message, []byte{0x1e}) {
			var r struct {
				Type   int
				Result string
			}
			if json.Unmarshal(record, &r) == nil && r.Type == 3 {
				return r.Result, conn.Close(websocket.StatusNormalClosure, "")
			}
		}
	}
}
`

// greetOnce has a hub greet Ada.
const greetOnce = `package hub

import (
	"os"
	"testing"
)

func TestOnce(t *testing.T) {
	if url := os.Getenv("HUB"); url != "" {
		if greeting, err := Greet(t.Context(), url, "Ada"); err != nil || greeting != "Hello, Ada." {
			t.Errorf("got %q, %v", greeting, err)
		}
	}
}
`

// TestReadmeHub runs the Go test with a hub that the README shows, with a recording of
// the code that it is for.
func TestReadmeHub(t *testing.T) {
	need(t, nodePackage("@msgpack/msgpack").missing())
	need(t, nodePackage("ws").missing())
	test := codeBlock(t, readReadme(t), "go", "hub_test.go")
	dir, err := os.MkdirTemp(".", "readme-") // in this module, for what it imports
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "testdata"), 0o777); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name, url string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run", name, ".")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "HUB="+url)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	write("hub.go", hub)
	write("once_test.go", greetOnce)
	var told board
	origin := serverProcess("node", "node/apps.mjs", "server", "signalr")(t, &told)
	recorded := recordApp(t, origin, func(addr string) error {
		if out, err := run("TestOnce", "http://"+addr+"/hub"); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	write("hub_test.go", test)
	write("testdata/hub.wst", recorded)
	if out, err := run("TestGreet", ""); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if err := loadAll(t, recorded, replay.CaptureAuto()).Connect(t.Context(), "ws://"+origin); err != nil {
		t.Error(err)
	}
	write("hub_test.go", strings.Replace(test, `"Ada")`, `"Eva")`, 1))
	if out, err := run("TestGreet", ""); err == nil || !strings.Contains(out, `where $.arguments[0] is "Eva", expected "Ada"`) {
		t.Errorf("got %v\n%s", err, out)
	}
}

// TestReadme runs the tests that the README shows, with recordings of the code
// that they are for.
func TestReadme(t *testing.T) {
	readme, bin := readReadme(t), buildCommand(t)
	server := httptest.NewServer(greetings("Hello"))
	defer server.Close()
	for lang, g := range greeters {
		t.Run(lang, func(t *testing.T) {
			need(t, g.needs.missing())
			test := codeBlock(t, readme, lang)
			dir := t.TempDir()
			modules, err := filepath.Abs("node/node_modules")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
				t.Fatal(err)
			}
			run := func(argv ...string) (string, error) {
				cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "PYTHONDONTWRITEBYTECODE=1", "NO_COLOR=1")
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			write := func(name, text string) {
				t.Helper()
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			write(g.file, g.code)
			write(g.test, test)
			recorded := recordThrough(t, strings.TrimPrefix(server.URL, "http://"), func(addr string) error {
				out, err := run(append(g.run, "ws://"+addr+"/greet")...)
				if err == nil && strings.TrimSpace(out) != "Hello, Ada." {
					err = fmt.Errorf("got %q", out)
				}
				return err
			})
			write("greeting.wst", recorded)
			if out, err := run(g.runTests...); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if err := load(t, recorded).Connect(t.Context(), server.URL); err != nil {
				t.Error(err)
			}

			// They fail, and say why, if the client does something else.
			write("greeting.wst", strings.Replace(recorded, `"text":"Ada"`, `"text":"Eva"`, 1))
			out, err := run(g.runTests...)
			if err == nil || !strings.Contains(out, `text "Eva"`) {
				t.Errorf("got %v\n%s", err, out)
			}
		})
	}
}
