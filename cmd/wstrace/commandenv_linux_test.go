package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const fallsBack = `wstrace: connections of the command can't be caught, so its environment names the proxy: `

// refusals are ways in which the filter can't be had, with what is said about them.
var refusals = []struct{ call, errno, why, hint string }{
	{"seccomp", "ENOSYS", "the kernel has no seccomp notification, which Linux 5.6 and newer have: function not implemented", ""},
	{"seccomp", "EPERM", "seccomp is not permitted here: operation not permitted", ""},
	{"pidfd_getfd", "EPERM", "the sockets of other processes can't be had here: pidfd_getfd: operation not permitted", "in Docker, docker run --cap-add SYS_PTRACE permits it"},
}

// TestCommandRefused has wstrace where the filter can't be had.
func TestCommandRefused(t *testing.T) {
	needProgram(t, "curl")
	needProgram(t, "node")
	server := echoServer(t)
	for _, refusal := range refusals {
		t.Run(refusal.call+" "+refusal.errno, func(t *testing.T) {
			t.Parallel()
			run := func(argv ...string) *commandRun {
				return startCommand(t, append([]string{"without", refusal.call, refusal.errno, "wstrace"}, argv...)...)
			}
			said := regexp.QuoteMeta(fallsBack + refusal.why)
			if refusal.hint != "" {
				said += "\nwstrace: hint: " + regexp.QuoteMeta(refusal.hint)
			}

			r := run("--", "env")
			r.end(0)
			r.has(said)
			proxy := r.await(r.stdout, "HTTP_PROXY=(http://127.0.0.1:[0-9]+)")[1]
			for _, name := range []string{"http_proxy", "https_proxy", "HTTPS_PROXY", "ws_proxy", "WSS_PROXY", "all_proxy"} {
				r.await(r.stdout, name+"="+regexp.QuoteMeta(proxy))
			}
			for _, name := range []string{"NO_PROXY", "no_proxy"} {
				if regexp.MustCompile("(?m)^" + name + "=.").MatchString(r.read(r.stdout)) {
					t.Errorf("%s is set:\n%s", name, r.read(r.stdout))
				}
			}

			r = run("--", "curl", "-sS", "http://"+server+"/page")
			r.end(0)
			r.await(r.stdout, "a page")
			r.has(said)
			r.has(`.* #1 = GET http://` + server + `/page 200 OK .*`)

			r = run(append([]string{"--"}, nodeClient(t, server)...)...)
			r.end(0)
			r.await(r.stdout, "done")
			r.has(`.* #1 [=>] GET .*`)

			r = run("--via", "seccomp", "--", "echo", "out")
			r.end(3)
			if got := r.read(r.stdout); got != "" {
				t.Errorf("the command ran: %q", got)
			}
			said = strings.Replace(said, regexp.QuoteMeta(fallsBack), regexp.QuoteMeta("wstrace: the connections of the command can't be caught: "), 1)
			if got := strings.TrimSuffix(r.read(r.stderr), "\n"); !regexp.MustCompile("^" + said + "$").MatchString(got) {
				t.Errorf("stderr is %q, want %q", got, said)
			}
		})
	}
}

// nodeClient returns the command of a Node client of a server: with the package ws if
// that is there, else of a page.
func nodeClient(t *testing.T, server string) []string {
	ws, err := filepath.Abs("../../testdata/interop/node/node_modules/ws")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ws); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		return []string{"node", "-e", `require('http').get('http://` + server + `/page', response => response.on('end', () => console.log('done')).resume())`}
	}
	return []string{"node", "-e", `
		const ws = new (require('` + ws + `'))('ws://` + server + `')
		ws.on('open', () => ws.send('one'))
		ws.on('message', () => ws.close())
		ws.on('close', () => console.log('done'))`}
}

// TestCommandInside has wstrace in wstrace: the inner one says why it falls back, and
// both see the connection.
func TestCommandInside(t *testing.T) {
	needProgram(t, "curl")
	server := echoServer(t)
	frames := filepath.Join(t.TempDir(), "outer.txt")
	r := startCommand(t, "wstrace", "-q", "--to", frames, "--", "wstrace", "-q", "--", "curl", "-sS", "http://"+server+"/page")
	r.end(0)
	r.await(r.stdout, "a page")
	r.has(regexp.QuoteMeta(fallsBack + "it runs under a seccomp filter that reports to another program already, as in wstrace, or in some sandboxes"))
	r.has(`.* #1 = GET http://` + server + `/page 200 OK .*`)
	if got := r.read(frames); strings.Count(got, "/page 200 OK") != 2 { // curl's to the inner one, and that one's
		t.Errorf("the outer one saw\n%s", got)
	}
}

// TestCommandAround has a client that does not use the proxy which its environment
// names.
func TestCommandAround(t *testing.T) {
	server := echoServer(t)
	r := startCommand(t, "wstrace", "--via", "env", "--", "wsc", "-hold", "ws://"+server)
	r.await(r.stdout, "holding")
	r.await(r.stderr, `wstrace: wsc\[\d+\] connects to `+regexp.QuoteMeta(server)+` around the proxy`)
	r.await(r.stderr, `wstrace: hint: .*run wstrace URL and point the program at wstrace`)
}

// TestCommandListens has a command that uses a proxy which is wstrace itself: its
// connection with that is left alone.
func TestCommandListens(t *testing.T) {
	needProgram(t, "curl")
	server := echoServer(t)
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0", ":0"} {
		for _, via := range []string{"seccomp", "env"} {
			r := startCommand(t, "wstrace", "-l", listen, "--via", via, "--", "sh", "-c", `read proxy; curl -sS --proxy "$proxy" http://`+server+`/page`)
			proxy := r.await(r.stderr, `wstrace: set the client's HTTP proxy to (http://.*)`)[1]
			out, err := exec.Command("curl", "-sS", "--proxy", proxy, "http://"+server+"/page").CombinedOutput()
			if err != nil || string(out) != "a page\n" {
				t.Errorf("%s: from outside: %v: %s", listen, err, out)
			}
			r.say(proxy)
			r.end(0)
			r.await(r.stdout, "a page")
			r.has(`wstrace: 0 sessions: .*; 2 HTTP requests, .*`)
		}
	}
}
