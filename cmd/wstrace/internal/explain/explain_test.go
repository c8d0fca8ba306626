package explain

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// inWords are the rules whose examples no connection of this test can show.
var inWords = []decode.RuleID{"req-sni-missing", "req-sni-host-mismatch", "reconnect-no-backoff"}

func entries(t *testing.T) []Entry {
	t.Helper()
	all, err := Parse()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEveryRuleOnceInOrder(t *testing.T) {
	var got, want []decode.RuleID
	for _, e := range entries(t) {
		got = append(got, e.ID)
		if e.Group == "" || len(e.Example) == 0 || e.Why == "" || e.Fix == "" {
			t.Errorf("%s: got group %q, %d lines of example, why %q, fix %q, want all four", e.ID, e.Group, len(e.Example), e.Why, e.Fix)
		}
	}
	for _, r := range decode.Rules {
		want = append(want, r.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got entries for %v, want %v", got, want)
	}
}

// TestExamplesBreakTheirRules plays every example and checks that its rule is
// reported, of the side whose line is marked.
func TestExamplesBreakTheirRules(t *testing.T) {
	for _, e := range entries(t) {
		if slices.Contains(inWords, e.ID) {
			continue
		}
		t.Run(string(e.ID), func(t *testing.T) {
			got := play(t, e.Example)
			i := slices.IndexFunc(got, func(v decode.Violation) bool { return v.ID == e.ID })
			if i < 0 {
				t.Fatalf("got violations %v, want one of %s", got, e.ID)
			}
			if v := got[i]; !slices.ContainsFunc(e.Example, func(l Line) bool { return markedOf(l, v.From) }) {
				t.Errorf("got a violation of the %s, want one of the side that is marked", v.From)
			}
		})
	}
}

// markedOf reports whether l marks something of d; a line of neither side is
// about both.
func markedOf(l Line, d decode.Dir) bool {
	if len(l.Marked) == 0 {
		return false
	}
	side, ok := sideOf(l.Text)
	return !ok || side == d
}

func TestNothingWrongBesides(t *testing.T) {
	for _, lines := range [][]string{
		{"> GET /chat HTTP/1.1", "< HTTP/1.1 101 Switching Protocols"},
		{"< 81 05 \"Hello\""},
		{"< Sec-WebSocket-Extensions: permessage-deflate"},
	} {
		var example []Line
		for _, l := range lines {
			example = append(example, Line{Text: l})
		}
		if got := play(t, example); len(got) > 0 {
			t.Errorf("%q: got violations %v, want none", lines, got)
		}
	}
}

func sideOf(text string) (d decode.Dir, ok bool) {
	switch {
	case strings.HasPrefix(text, "> "):
		return decode.FromClient, true
	case strings.HasPrefix(text, "< "):
		return decode.FromServer, true
	}
	return 0, false
}

// violations is a sink.
type violations []decode.Violation

func (v *violations) Emit(ev *decode.Event) {
	for _, x := range ev.Violations {
		*v = append(*v, x)
	}
}

// A step of an example is one of its lines, understood.
type step struct {
	dir   decode.Dir
	head  string // a line of the head
	frame []byte
	end   decode.End
	wait  time.Duration
}

var (
	later    = regexp.MustCompile(`^([0-9.]+) s later$`)
	isFrames = regexp.MustCompile(`^[0-9a-f]{2}( |[0-9a-f]{2}|×|$)`)
	ends     = map[string]decode.End{
		"FIN": decode.EndFIN, "RST": decode.EndRST, "end of TLS without close_notify": decode.EndTLSEOF,
	}
)

// play gives an example to Sessions and returns what they report.
func play(t *testing.T, example []Line) []decode.Violation {
	t.Helper()
	var got violations
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	seen := new(decode.Seen)
	url := "wss://server.example.com/chat"
	var steps []step
	conn := int64(0)
	run := func() {
		conn++
		s := &decode.Session{Sink: &got, Look: decode.Look{Messages: true, Advice: true, Seen: seen}}
		s.Open(decode.Info{Conn: conn, Time: now, URL: url})
		now = converse(s, now, steps)
		steps = nil
	}
	for _, l := range example {
		d, ok := sideOf(l.Text)
		text := strings.TrimPrefix(strings.TrimPrefix(l.Text, "> "), "< ")
		end, isEnd := ends[text]
		switch wait := later.FindStringSubmatch(text); {
		case wait != nil:
			sec, err := strconv.ParseFloat(wait[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			steps = append(steps, step{wait: time.Duration(sec * float64(time.Second))})
		case !ok && strings.HasPrefix(text, "ws://"):
			url = text
		case !ok && text == "another connection":
			run()
		case !ok:
			t.Fatalf("cannot play %q", text)
		case isEnd:
			steps = append(steps, step{dir: d, end: end})
		case isFrames.MatchString(text):
			steps = append(steps, step{dir: d, frame: frames(t, text)})
		default:
			steps = append(steps, step{dir: d, head: text})
		}
	}
	run()
	return got
}

// converse plays steps, with heads before the first frame. The response waits
// for the steps that stand before its lines, if the example has any.
func converse(s *decode.Session, now time.Time, steps []step) time.Time {
	request, response := heads(steps)
	last := slices.IndexFunc(steps, func(st step) bool { return st.dir == decode.FromServer && st.head != "" })
	s.Data(decode.FromClient, now, []byte(request))
	answered := false
	for i, st := range steps {
		if !answered && i >= last && (st.frame != nil || st.wait > 0 || i == last) {
			s.Data(decode.FromServer, now, []byte(response))
			answered = true
		}
		switch {
		case st.wait > 0:
			now = now.Add(st.wait)
		case st.frame != nil:
			s.Data(st.dir, now, st.frame)
		case st.head == "":
			s.End(st.dir, now, st.end, "")
		}
	}
	if !answered {
		s.Data(decode.FromServer, now, []byte(response))
	}
	return now
}

// heads returns the heads of a handshake without a fault, changed as the lines
// in steps say.
func heads(steps []step) (request, response string) {
	client, server := lines(steps, decode.FromClient), lines(steps, decode.FromServer)
	const extensions = "Sec-WebSocket-Extensions: "
	if ext := valueOf(server, extensions); ext != "" && !slices.ContainsFunc(client, func(l string) bool { return strings.Contains(l, strings.TrimSuffix(extensions, ": ")) }) {
		client = append(client, extensions+strings.TrimSuffix(ext, ";"))
	}
	request = head([]string{
		"GET /chat HTTP/1.1", "Host: server.example.com", "Upgrade: websocket", "Connection: Upgrade",
		"Origin: https://server.example.com", "Sec-WebSocket-Key: 8YmBPf+ktDVCLmdeQNEzYw==", "Sec-WebSocket-Version: 13",
	}, client)
	base := []string{
		"HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Accept: " + decode.AcceptKey(valueOf(strings.Split(request, "\r\n"), "Sec-WebSocket-Key: ")),
	}
	if len(server) > 0 && strings.HasPrefix(server[0], "HTTP/") && !strings.Contains(server[0], " 101 ") {
		base[3] = "Content-Length: 0"
	}
	return request, head(base, server)
}

func lines(steps []step, d decode.Dir) (lines []string) {
	for _, st := range steps {
		if st.dir == d && st.head != "" {
			lines = append(lines, st.head)
		}
	}
	return lines
}

func valueOf(lines []string, field string) string {
	for _, l := range lines {
		if v, ok := strings.CutPrefix(l, field); ok {
			return v
		}
	}
	return ""
}

var repeatedText = regexp.MustCompile(`"(\w+)"×(\d+)`)

// head returns base with some of its lines replaced: the first line of a name
// takes the place of that in base, others are added.
func head(base, changes []string) string {
	given := map[string]bool{}
	for _, l := range changes {
		if names, ok := strings.CutPrefix(l, "(no "); ok {
			for name := range strings.SplitSeq(strings.TrimSuffix(names, ")"), ", ") {
				base = slices.DeleteFunc(base, func(b string) bool { return strings.HasPrefix(b, name+":") })
			}
			continue
		}
		l = strings.NewReplacer(`\x00`, "\x00", `\n`, "\n").Replace(l)
		l = repeatedText.ReplaceAllStringFunc(l, func(m string) string {
			part := repeatedText.FindStringSubmatch(m)
			n, _ := strconv.Atoi(part[2])
			return strings.Repeat(part[1], n)
		})
		name, _, _ := strings.Cut(l, ":")
		name = strings.TrimRight(name, " ")
		at := slices.IndexFunc(base, func(b string) bool { return strings.HasPrefix(b, name+":") })
		if strings.Contains(l, " HTTP/1.") || strings.HasPrefix(l, "HTTP/1.") || strings.Contains(l, " 101 ") {
			at = 0
		}
		if at >= 0 && !given[name] {
			base[at] = l
		} else {
			base = append(base, l)
		}
		given[name] = true
	}
	return strings.Join(base, "\r\n") + "\r\n\r\n"
}

var token = regexp.MustCompile(`^(?:([0-9a-f]+)|("(?:\\.|[^"\\])*"))(?:×(\d+))?(?: |$)`)

// frames returns the bytes of a line: hexadecimal digits and quoted text.
func frames(t *testing.T, text string) (b []byte) {
	t.Helper()
	for text != "" {
		m := token.FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("cannot read %q", text)
		}
		part, err := hex.DecodeString(m[1])
		if m[2] != "" {
			var s string
			s, err = strconv.Unquote(m[2])
			part = []byte(s)
		}
		if err != nil {
			t.Fatalf("%q: %v", m[0], err)
		}
		n := 1
		if m[3] != "" {
			n, _ = strconv.Atoi(m[3])
		}
		b = append(b, slices.Repeat(part, n)...)
		text = text[len(m[0]):]
	}
	return b
}

func TestAppendPointsAtWhatIsMarked(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{"< 81 [82] 00 -- masked", "  < 81 82 00\n       ^^ masked\n"},
		{"< \"é\"×2 [01] 02 [03]", "  < \"é\"×2 01 02 03\n          ^^    ^^\n"},
		{"< 81 00 -- empty", "  < 81 00  empty\n"},
		{"2 s later", "  2 s later\n"},
	} {
		l, err := parseLine(c.source)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(l.Append(nil, "  ")); got != c.want {
			t.Errorf("%q: got\n%swant\n%s", c.source, got, c.want)
		}
	}
}

func TestParseSaysWhereItStops(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{"== Frames\nrule no-such-rule\n", `line 2: no rule "no-such-rule"`},
		{"why  because\n", "line 1: before the first rule"},
		{"rule frame-rsv-set\n< [c1\n", "line 2: [ without its other half"},
		{"rule frame-rsv-set\n< c1]\n", "line 2: ] without its other half"},
	} {
		if _, err := parse(c.source); fmt.Sprint(err) != c.want {
			t.Errorf("%q: got error %v, want %s", c.source, err, c.want)
		}
	}
}
