package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// largeFrames is how many frames a recording has that questions are asked about.
const largeFrames = 200_003

// large is what a recording of them holds, as it was made.
type large struct {
	file      string
	frames    [6]int // by session
	expensive int    // messages with a price over 10
	masked    int    // frames of the server that are masked, which is an error
	before    string // the text before the first of these
	fifth     string // message 5 of the server in session 2
}

// makeLarge writes a recording of five sessions: every tenth frame is a question, and
// what follows it the answer, with other messages behind.
func makeLarge(t *testing.T) *large {
	l := &large{file: filepath.Join(t.TempDir(), "large.wst")}
	f, err := os.Create(l.file)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, `{"wstrace":1}`)
	for c := 1; c <= 5; c++ {
		fmt.Fprintf(w, `{"k":"open","t":0,"c":%d,"url":"ws://h/%d"}`+"\n", c, c)
	}
	seconds := 0.0
	sent := [6]int{}
	latest := [6]string{}
	for i := range largeFrames - 5 {
		c := i%5 + 1
		l.frames[c]++
		seconds += 0.0001
		if i == 150_005 { // the answer to the question 5 frames before is late
			seconds += 7
		}
		if i/5%10 == 0 {
			fmt.Fprintf(w, `{"k":"frame","t":%.4f,"c":%d,"d":">","op":"text","mask":"%08x","text":"{\"ask\":%d}"}`+"\n", seconds, c, i+1, i)
			continue
		}
		price, mask := i%1000, ""
		if price > 10 {
			l.expensive++
		}
		text := fmt.Sprintf(`{"price":%d,"i":%d}`, price, i)
		if i%60_000 == 1013 {
			mask = `,"mask":"01020304"`
			if l.masked++; l.masked == 1 {
				l.before = latest[c]
			}
		}
		latest[c] = text
		if c == 2 && sent[c] == 5 {
			l.fifth = text
		}
		sent[c]++
		fmt.Fprintf(w, `{"k":"frame","t":%.4f,"c":%d,"d":"<","op":"text"%s,"text":%q}`+"\n", seconds, c, mask, text)
	}
	for c := 1; c <= 5; c++ {
		l.frames[c]++
		fmt.Fprintf(w, `{"k":"frame","t":%.4f,"c":%d,"d":"<","op":"close","code":1001}`+"\n", seconds+1, c)
		fmt.Fprintf(w, `{"k":"end","t":%.4f,"c":%d,"d":"<","how":"fin"}`+"\n"+`{"k":"end","t":%.4f,"c":%d,"d":">","how":"fin"}`+"\n", seconds+1, c, seconds+1, c)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLargeRecording asks a recording of 200,003 frames each kind of question.
func TestLargeRecording(t *testing.T) {
	l := makeLarge(t)
	run := func(t *testing.T, want int, args ...string) string {
		t.Helper()
		cmd := exec.Command("wstrace", append(args, l.file)...)
		cmd.Env = append(os.Environ(), "GORACE="+gorace)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if cmd.ProcessState.ExitCode() != want || err != nil && want == 0 {
			t.Fatalf("wstrace %q: %v: %s", args, err, stderr.String())
		}
		return string(out)
	}
	lines := func(out, with string) (n int) {
		for line := range strings.Lines(out) {
			if strings.Contains(line, with) {
				n++
			}
		}
		return n
	}
	ask := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { t.Parallel(); f(t) })
	}
	t.Run("ask", func(t *testing.T) {
		ask("only session 3", func(t *testing.T) {
			out := run(t, 0, "show", "-q", "--session", "3")
			if n := lines(out, " #3 "); n != lines(out, "") || lines(out, " text ")+lines(out, " close ") != l.frames[3] {
				t.Errorf("%d of %d lines are of session 3, of %d frames", n, lines(out, ""), l.frames[3])
			}
		})
		ask("only close frames", func(t *testing.T) {
			if out := run(t, 0, "show", "-q", "-e", "op == close"); lines(out, " close 10001000 ") != 5 || lines(out, "") != 5 {
				t.Errorf("got\n%s", out)
			}
		})
		ask("only messages with a price over 10", func(t *testing.T) {
			out := run(t, 0, "show", "-q", "-m", "-o", "csv", "--fields", "json.price", "-e", "json.price > 10")
			if n := lines(out, "") - 1; n != l.expensive {
				t.Errorf("%d lines, want %d", n, l.expensive)
			}
		})
		ask("what came just before an error", func(t *testing.T) {
			out := run(t, 0, "show", "-q", "-e", "rule == frame-server-masked", "-B", "1")
			first, _, _ := strings.Cut(out, "\n")
			if !strings.HasSuffix(first, "'"+l.before+"'") {
				t.Errorf("got %s, want %s", first, l.before)
			}
		})
		ask("which answer was slowest", func(t *testing.T) {
			var got struct {
				Client, Server struct{ Answer struct{ Max float64 } }
			}
			if err := json.Unmarshal([]byte(run(t, 0, "stat", "-o", "json")), &got); err != nil {
				t.Fatal(err)
			}
			if got := got; got.Server.Answer.Max < 7 || got.Server.Answer.Max > 7.01 || got.Client.Answer.Max > 1 {
				t.Errorf("the slowest took %v", got)
			}
			if out := run(t, 0, "show", "-q", "-e", "delta > 5s and from == server and op == text"); lines(out, " < text ") == 0 {
				t.Errorf("got %s", out)
			}
		})
		ask("save message 5", func(t *testing.T) {
			if out := run(t, 0, "show", "-q", "-o", "raw", "-m", "-e", "session == 2 and from == server and message == 5"); out != l.fifth {
				t.Errorf("got %s, want %s", out, l.fifth)
			}
		})
		ask("what is in it", func(t *testing.T) {
			out := run(t, 0, "ls", "-o", "csv")
			if lines(out, "ws://h/") != 5 || lines(out, ",1001,server,") != 5 {
				t.Errorf("got\n%s", out)
			}
			if out := run(t, 0, "ls", "-e", "rule == frame-server-masked"); lines(out, "") < 2 || lines(out, "") > 1+l.masked {
				t.Errorf("got\n%s", out)
			}
		})
		ask("count", func(t *testing.T) {
			var got struct {
				Client, Server struct{ Frames map[string]int }
			}
			if err := json.Unmarshal([]byte(run(t, 0, "stat", "-o", "json")), &got); err != nil {
				t.Fatal(err)
			}
			if n := got.Client.Frames["text"] + got.Server.Frames["text"] + got.Server.Frames["close"]; n != largeFrames {
				t.Errorf("%d frames", n)
			}
		})
		ask("check and diff", func(t *testing.T) {
			out := run(t, 1, "check", "--json", "-e", "rule == frame-server-masked")
			n := 0
			for line := range strings.Lines(out) {
				var found struct{ Count int }
				if err := json.Unmarshal([]byte(line), &found); err != nil {
					t.Fatal(err)
				}
				n += found.Count
			}
			if n != l.masked {
				t.Errorf("%d findings, want %d", n, l.masked)
			}
			run(t, 0, "diff", "-e", "json.price > 10", l.file)
		})
	})
}
