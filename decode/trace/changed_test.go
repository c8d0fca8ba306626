package trace

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// changedLines spells a session with changes as the lines of a trace. Each part
// between semicolons is a record: its time, its side, what it is, and more about
// it. What follows the handshake is a frame, "junk", or "end" and how.
//
//	0 < ping drop; 1 < text "hi" out; 12 > close 1000; 13 > end fin
func changedLines(s string) string {
	var b strings.Builder
	b.WriteString(`{"wstrace":1}` + "\n")
	if !strings.Contains(s, `"k":"open"`) {
		b.WriteString(`{"k":"open","c":1}` + "\n")
	}
	for i, part := range strings.Split(s, ";") {
		part = strings.TrimSpace(part)
		if strings.HasPrefix(part, "{") || part == "" {
			b.WriteString(part + "\n")
			continue
		}
		f := strings.Fields(part)
		kind, mask := "frame", f[1] == ">"
		if f[2] == "junk" || f[2] == "end" {
			kind, mask = f[2], false
		}
		rec := fmt.Sprintf(`{"k":%q,"t":%s,"d":%q`, kind, f[0], f[1])
		if kind == "frame" {
			op := strconv.Quote(f[2])
			if _, err := strconv.Atoi(f[2]); err == nil {
				op = f[2]
			}
			rec += `,"op":` + op
		}
		for _, w := range f[3:] {
			switch {
			case w[0] == '"':
				rec += `,"text":` + w
			case strings.HasPrefix(w, "hex="):
				rec += fmt.Sprintf(`,"hex":%q`, w[4:])
			case strings.HasPrefix(w, "rsv="), strings.HasPrefix(w, "lenc="), strings.HasPrefix(w, "len="):
				name, n, _ := strings.Cut(w, "=")
				rec += fmt.Sprintf(`,%q:%s`, name, n)
			case w == "drop", w == "delay", w == "replace", w == "hold":
				rec += fmt.Sprintf(`,"fx":%q,"change":"do it"`, w)
			case w == "out":
				rec += `,"leg":"out","change":"do it"`
			case w == "first":
				rec += `,"fin":false`
			case w == "masked", w == "unmasked":
				mask = w == "masked"
			case kind == "end":
				rec += fmt.Sprintf(`,"how":%q`, w)
			default:
				rec += `,"code":` + w
			}
		}
		if mask {
			rec += fmt.Sprintf(`,"mask":"%08x"`, 0x9e3779b9*uint32(i*i+7))
		}
		b.WriteString(rec + "}\n")
	}
	return b.String()
}

// verdictOf plays a trace and returns the rules that are broken, each with the side
// that did it, and how the session was closed.
func verdictOf(t *testing.T, trace string) (rules []string, texts string, closed *decode.Totals) {
	t.Helper()
	err := playAll(strings.NewReader(trace), decode.SinkFunc(func(ev *decode.Event) {
		for _, v := range ev.Violations {
			if v.ID != "ping-absent" && v.ID != "ping-storm" {
				rule := v.From.String() + " " + string(v.ID)
				if v.Severity == decode.SeverityInfo {
					rule += " info"
				}
				rules = append(rules, rule)
				texts += v.Text + "\n"
			}
			if ev.Out {
				t.Errorf("%s is found in what was sent", v.ID)
			}
		}
		if ev.Kind == decode.KindClosed {
			closed = ev.Clone().Totals
		}
	}), thorough())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(rules)
	return rules, texts, closed
}

// TestJudgeChanged judges each side by what came from it, and by what it was sent.
func TestJudgeChanged(t *testing.T) {
	// How a connection is closed in order, by the client at 50 s.
	const bye = "; 50 > close 1000; 50 < close 1000; 50 < end fin; 50 > end fin"
	for _, c := range []struct{ name, session, want string }{
		{"ping", `0 < ping; 20 > text "x"`, "client pong-missing"},
		{"dropped ping", `0 < ping drop; 20 > text "x"`, ""},
		{"ping that is delayed until now", `0 < ping delay; 20 > text "x"; 20 < ping out; 21 > pong`, ""},
		{"ping that is delayed, and not answered then", `0 < ping delay; 20 > text "x"; 20 < ping out; 31 > text "x"`, "client pong-missing"},
		{"ping that is held for ever", `0 < ping hold; 20 > text "x"`, ""},
		{"injected ping", `0 < ping "a" out; 20 > text "x"`, "client pong-missing"},
		{"injected ping, its pong swallowed", `0 < ping "a" out; 0.1 > pong "a" drop; 20 > text "x"`, ""},
		{"injected ping, a wrong pong", `0 < ping "a" out; 0.1 > pong "b"; 20 > text "x"`, "client pong-missing, client pong-payload-mismatch"},
		{"pong to a ping that was dropped", `0 < ping "a" drop; 0.1 > pong "a"`, "client pong-unsolicited info"},
		{"pong to a ping that was replaced", `0 < ping "a" replace; 0 < ping "b" out; 0.1 > pong "b"`, ""},
		{"pong to what the ping was before", `0 < ping "a" replace; 0 < ping "b" out; 0.1 > pong "a"`, "client pong-missing, client pong-payload-mismatch"},
		{"dropped pong", `0 < ping; 0.1 > pong drop; 20 < text "x"`, ""},
		{"server that gives up for a dropped pong", `0 < ping; 0.1 > pong drop; 9 < end fin; 9 > end fin`, ""},
		{"server that gives up for a pong that waits", `0 < ping; 0.1 > pong delay; 9 < end fin; 9 > end fin`, ""},
		{"server that ends after a pong that was late", `0 < ping; 0.1 > pong delay; 8 > pong out; 9 < end fin; 9 > end fin`, "server close-missing"},
		{"server that ends, and an injected ping was answered", `0 < ping out; 0.1 > pong drop; 9 < end rst; 9 > end fin`, "server tcp-reset"},
		{"client that ends behind an injected ping of no account", `0 < ping out; 0.1 > text "x"; 5 > end fin; 5 < end fin`, "client close-missing"},
		{"eight pings dropped, and one passed", `0 < ping "0"; 0 > pong "0"; ` +
			strings.Repeat(`1 < ping "0" drop; `, 9) + `2 < ping "0"; 2.1 > pong "0"; 20 > text "x"`, ""},

		{"injected close that is answered", `0 < close 1012 out; 0.1 > close 1012; 1 < end local; 1 > end local`, ""},
		{"injected close that is not answered", `0 < close 1012 out; 11 < text "x" drop; 12 < end local; 12 > end local`, "client close-not-answered"},
		{"injected close, and the end", `0 < close 1012 out; 1 > end fin; 1 < end local`, "client close-not-answered"},
		{"injected close, another code in the answer", `0 < close 1012 out; 0.1 > close 1000; 1 > end local; 1 < end local`, "client close-reply-code-differs info"},
		{"injected close, and data after the answer", `0 < close 1012 out; 0.1 > close 1012; 0.2 > text "x"; 1 < end local; 1 > end local`, "client bytes-after-close info, client data-after-close"},
		{"injected close, and data before the answer", `0 < close 1012 out; 0.1 > text "x"; 0.2 > close 1012; 1 < end local; 1 > end local`, ""},
		{"injected close to both, both answer", `0 < close 1012 out; 0 > close 1012 out; 0.1 > close 1012 drop; 0.2 < close 1012 drop; 1 < end local; 1 > end local`, ""},
		{"injected close to both, the server does not answer", `0 < close 1012 out; 0 > close 1012 out; 0.1 > close 1012 drop; 12 > end local; 12 < end local`, "server close-not-answered"},
		{"injected close to both, the client does not answer", `0 < close 1012 out; 0 > close 1012 out; 0.1 < close 1012 drop; 12 > end local; 12 < end local`, "client close-not-answered, server tcp-close-late"},
		{"dropped close is owed no answer", `0 > close 1000 drop; 1 < text "x"; 12 < text "x"; 13 > end fin; 13 < end fin`, ""},
		{"close is owed one", `0 > close 1000; 1 < text "x"; 12 < text "x"; 13 > end fin; 13 < end fin`, "server close-not-answered"},
		{"delayed close", `0 > close 1000 delay; 12 < text "x"; 12 > close 1000 out; 12.1 < close 1000; 12.2 < end fin; 12.2 > end fin`, ""},
		{"close that is answered too late, counted from when it was sent", `0 > close 1000 delay; 5 > close 1000 out; 16 < text "x"`, "server close-not-answered"},
		{"server's own close while the client's waits", `0 > close 1000 delay; 1 < close 1001; 2 > close 1000 out; 2 < end fin; 2 > end fin`, ""},
		{"close replaced by another", `0 > close 1000 replace; 0 > close 4000 out; 0.1 < close 4000; 0.2 < end fin; 0.2 > end fin`, ""},
		{"answer to what the close was before", `0 > close 1000 replace; 0 > close 4000 out; 0.1 < close 1000; 0.2 < end fin; 0.2 > end fin`, "server close-reply-code-differs info"},
		{"frame after a close that was dropped", `0 > close 1000 drop; 1 > text "x"`, "client data-after-close"},
		{"message open at an injected close", `0 > text "x" first; 0 < close 1012 out; 0.1 > close 1012; 1 < end local; 1 > end local`, "client frag-unfinished info"},
		{"message open without one", `0 > text "x" first; 0.1 > close 1012; 0.2 < close 1012; 1 < end fin; 1 > end fin`, "client frag-unfinished"},

		{"text that is not UTF-8, and goes on", `0 < text hex=ff; 12 > text "x"`, "client violation-tolerated, server text-invalid-utf8"},
		{"text that was replaced by a right one", `0 < text hex=ff replace; 0 < text "y" out; 12 > text "x"`, "server text-invalid-utf8"},
		{"text that was dropped", `0 < text hex=ff drop; 12 > text "x"`, "server text-invalid-utf8"},
		{"text that was replaced, and another that passes", `0 < text hex=ff replace; 0 < text "y" out; 1 < bin rsv=2; 12 > text "x"`, "server frame-rsv-set, server text-invalid-utf8"},
		{"masked frame that was dropped behind one that passed", `0 < text "a" masked; 1 < text "b" masked drop; 12 > text "x"`, "client violation-tolerated, server frame-server-masked"},

		{"end without close", `0 < text "a"; 5 > end fin; 5 < end fin`, "client close-missing"},
		{"end after a masked frame", `0 < text "a" replace; 0 < text "a" masked out; 5 > end fin; 5 < end fin`, ""},
		{"end after text that is not UTF-8", `0 < text "a" replace; 0 < text hex=ff out; 5 > end rst; 5 < end fin`, ""},
		{"end after text that is UTF-8", `0 < text "a" replace; 0 < text hex=c3a9 out; 5 > end rst; 5 < end fin`, "client tcp-reset"},
		{"end after text that is cut in a character", `0 < text "a" replace; 0 < text hex=c3 out; 5 > end fin; 5 < end fin`, ""},
		{"end after a character in two fragments", `0 < text hex=c3a9 replace; 0 < text hex=c3 first out; 0 < cont hex=a9 out; 5 > end fin; 5 < end fin`, "client close-missing"},
		{"end after a character of which half was dropped", `0 < text "a" drop; 0 < text hex=c3 first; 0 < cont hex=a9 drop; 0 < cont "a" out; 5 > end fin; 5 < end fin`, ""},
		{"end after reserved bits", `0 < text "a" replace; 0 < text "a" rsv=4 out; 5 > end fin; 5 < end fin`, ""},
		{"end after an opcode of its own", `0 < text "a" replace; 0 < 3 out; 5 > end fin; 5 < end fin`, ""},
		{"end after a length in too many bits", `0 < text "a" replace; 0 < text "a" lenc=64 out; 5 > end fin; 5 < end fin`, ""},
		{"end after a client's frame without a mask", `0 > text "a" replace; 0 > text "a" unmasked out; 5 < end fin; 5 > end fin`, ""},
		{"end after a client's frame with another mask", `0 > text "a" replace; 0 > text "a" out; 5 < end fin; 5 > end fin`, "server close-missing"},
		{"end after a bad close code", `0 < close 1000 replace; 0 < close 1005 out; 5 > end fin; 5 < end fin`, ""},
		{"end after a ping without FIN", `0 < ping "a" replace; 0 < ping "a" first out; 5 > end fin; 5 < end fin`, ""},
		{"end after a fragment that was dropped", `0 < text "a" first; 0 < cont "b" drop; 1 < text "c"; 5 > end fin; 5 < end fin`, ""},
		{"end after a first fragment that was dropped", `0 < text "a" first drop; 0 < cont "b"; 5 > end fin; 5 < end fin`, ""},
		{"end after a fragment in the middle that was dropped", `0 < bin "a" first; 0 < cont "b" first drop; 0 < cont "c"; 5 > end fin; 5 < end fin`, "client close-missing"},
		{"end after a message that was dropped", `0 < text "a" first drop; 0 < cont "b" drop; 5 > end fin; 5 < end fin`, "client close-missing"},
		{"end after a message in fragments that was delayed halfway", `0 < text "a" first; 0 < cont "b" delay; 1 < cont "b" out; 5 > end fin; 5 < end fin`, "client close-missing"},
		{"end after a frame that never came to its end", `0 < bin hex=00010203 replace; 0 < bin len=9 hex=0001 out; 5 > end fin; 5 < end fin`, ""},
		{"end after the beginning of a header", `0 < text "a" replace; 0 < junk hex=81 out; 5 > end fin; 5 < end fin`, ""},
		{"end after bytes that are no frame", `0 < text "a" replace; 0 < junk hex=817fffffffffffffffff0000 out; 5 > end fin; 5 < end fin`, ""},
		{"no pong is owed after a broken frame", `0 < text "a" masked out; 1 < ping; 20 > text "x"`, ""},
		{"nor is a close answered", `0 < text "a" masked out; 1 < close 1000; 20 > text "x"`, ""},
		{"what is sent after a broken frame is judged", `0 < text "a" masked out; 1 > text hex=ff`, "client text-invalid-utf8"},
		{"the other side still owes its pong", `0 < text "a" masked out; 1 > ping; 20 < text "x"`, "server pong-missing"},
		{"message of the client that ends early", `0 < text "a" masked out; 0 > text "a" first; 1 > close 1002; 2 > end fin; 2 < end fin`, ""},

		{"each action that keeps the protocol", `0 > text "a" replace; 0 > text "b" out; 1 < bin hex=00 delay; 2 < bin hex=00 out; 2 > text "abc" replace; ` +
			`2 > text "a" first out; 2 > cont "b" first out; 2 < ping "p"; 2.1 > pong "p"; 2.2 > cont "c" out; 3 < text "dup"; 3 < text "dup" out; ` +
			`4 > text "gone" drop; 5 > text "new" out; 6 > close 1000; 6.1 < close 1000; 6.1 < end fin; 6.2 > end fin`, ""},
	} {
		session := c.session
		if !strings.Contains(session, "end ") && !strings.Contains(session, "close ") {
			session += bye
		}
		rules, texts, _ := verdictOf(t, changedLines(session))
		if got := strings.Join(rules, ", "); got != c.want {
			t.Errorf("%s: got %q, want %q\n%s%s", c.name, got, c.want, changedLines(session), texts)
		}
	}
}

// TestJudgeChangedNames holds a finding to the frame that a side was sent: those
// that were sent in place of others are counted by themselves.
func TestJudgeChangedNames(t *testing.T) {
	for _, c := range []struct{ session, want string }{
		{`0 < text "x"; 0 < ping; 20 > text "x"`, "no pong to the ping of frame 1 in 20 s, limit is 10 s"},
		{`0 < text "x" out; 0 < ping out; 20 > text "x"`, "no pong to the ping of out frame 1 in 20 s, limit is 10 s"},
		{`0 < close 1012 out; 20 > text "x"`, "no answer to the close of out frame 0 in 20 s, limit is 10 s"},
		{`0 < ping; 0.1 > pong; 0 < ping out; 3 > pong; 20 > text "x"`, "pong 2.9 s after the ping of out frame 0, 1 s is soon enough"},
		{`0 < close 1012 out; 1 > close 1000`, "code 1000 Normal Closure answers code 1012 Service Restart"},
	} {
		if _, got, _ := verdictOf(t, changedLines(c.session)); strings.TrimSpace(got) != c.want {
			t.Errorf("%s: got %q, want %q", c.session, got, c.want)
		}
	}
}

// TestClosedChanged checks who closed a session with changes, and what it adds up
// to.
func TestClosedChanged(t *testing.T) {
	for _, c := range []struct{ session, want string }{
		{`0 > close 1000; 0 < close 1000; 1 < end fin; 1 > end fin`, "1000 client answered"},
		{`0 > close 1000 drop; 0 < text "x"; 1 > end fin; 1 < end fin`, "1000 client"},
		{`0 > close 1000 replace; 0 > close 1001 out; 0 < close 1001; 1 < end fin; 1 > end fin`, "1000 client answered"},
		{`0 > close 1012 out; 0 < close 1012 out; 1 < end local; 1 > end local`, "1012 change"},
		{`0 > close 1012 out; 0 < close 1012 out; 0 < close 1012 drop; 1 < end local; 1 > end local`, "1012 change answered"},
		{`0 > close out; 1 < end local; 1 > end local`, "1005 change"},
		{`0 > close 1000; 0 < close 1012 out; 1 < end local; 1 > end local`, "1000 client"},
		{`0 < text "x"; 0 < end fin; 0 > close 1012 out; 1 > end local`, "1006 server"},
		{`0 < text "x" out; 1 < end local; 1 > end local`, "1006 wstrace"},
	} {
		_, _, got := verdictOf(t, changedLines(c.session))
		text := strconv.Itoa(got.Code) + " " + got.Closer()
		if got.Answered {
			text += " answered"
		}
		if text != c.want {
			t.Errorf("%s: got %q, want %q", c.session, text, c.want)
		}
	}

	_, _, got := verdictOf(t, changedLines(`0 < ping "a"; 1 > pong "a"; 2 < ping "b" drop; 3 < ping "c" delay; 5 < ping "c" out; 6 > pong "c"; `+
		`7 < ping "d" out; 9 > pong "d" drop; 9 < ping "e" out; 10 < text "x" drop; 10 < text "y" out; 11 < end fin; 11 > end fin`))
	h := got.Heartbeat[decode.FromServer]
	if s := fmt.Sprint(h.Pings, h.Pongs, h.Missing, h.RTTs); s != "3 2 0 [1s 1s]" {
		t.Errorf("got heartbeat %s, want 3 pings that came, 2 of them answered, each after 1 s", s)
	}
	if got.Frames != [2]int64{3, 4} || got.Messages != [2]int64{0, 1} {
		t.Errorf("got %v frames, %v messages, want what came: 3 and 4, none and 1", got.Frames, got.Messages)
	}
}

// TestJudgeChangedHeads judges a head by the one that its sender was sent, and what
// follows by that which its sender was answered.
func TestJudgeChangedHeads(t *testing.T) {
	const (
		key    = `["Sec-WebSocket-Key","AQIDBAUGBwgJCgsMDQ4PEA=="]`
		key2   = `["Sec-WebSocket-Key","7kbuTaXE58sYwiLO8T5oCg=="]`
		offer  = `["Sec-WebSocket-Extensions","permessage-deflate"]`
		accept = `["Sec-WebSocket-Accept","C/0nmHhBztSRGR1CwL6Tf4ZjwpY="]`
		frames = `1 > text rsv=4 hex=f248cdc9c90700; 2 < text "x"; 50 > close 1000; 50 < close 1000; 50 < end fin; 50 > end fin`
		plain  = `1 > text "x"; 2 < text "x"; 50 > close 1000; 50 < close 1000; 50 < end fin; 50 > end fin`
	)
	accept2 := `["Sec-WebSocket-Accept","` + decode.AcceptKey("7kbuTaXE58sYwiLO8T5oCg==") + `"]`
	chat, echo := `["Sec-WebSocket-Protocol","chat"]`, `["Sec-WebSocket-Protocol","echo"]`
	all := func(fields ...string) string { return strings.Join(fields, ",") }
	for _, c := range []struct{ name, asked, sent, answered, relayed, session, want string }{
		{"as it came", all(key, offer), "", all(accept, offer), "", frames, ""},
		{"another key, and its answer", key, key2, accept2, accept, plain, ""},
		{"another key, and the answer to the first", key, key2, accept, accept, plain, "server res-accept-mismatch"},
		{"another key, and the answer as it came", key, key2, accept2, "", plain, "client res-client-ignored-failure"},
		{"an answer that was broken", key, "", accept, accept2, plain, "client res-client-ignored-failure"},
		{"an answer that was broken, and the end", key, "", accept, accept2, `1 > end fin; 1 < end fin`, ""},
		{"an answer as it came, and the end", key, "", accept, "", `1 > end fin; 1 < end fin`, "client close-missing"},
		{"an answer that was mended", key, "", accept2, accept, plain, "server res-accept-mismatch"},
		{"an offer that was taken out", all(key, offer), key, accept, "", plain, ""},
		{"an offer that was taken out, and is accepted", all(key, offer), key, all(accept, offer), accept, plain, "server res-extension-not-offered"},
		{"an offer that was put in", key, all(key, offer), all(accept, offer), accept, plain, ""},
		{"an extension that the client was not told of", all(key, offer), "", all(accept, offer), accept, frames, "client frame-rsv-set"},
		{"a subprotocol of another offer", all(key, chat), all(key, echo), all(accept, echo), all(accept, chat), plain, ""},
		{"a subprotocol of the first offer", all(key, chat), all(key, echo), all(accept, chat), "", plain, "server res-protocol-not-offered"},
		{"a key that was taken out", key, `["A","b"]`, accept, "", plain, "server res-101-bad-handshake"},
		{"a key that was put in", `["A","b"]`, key, accept, "", plain, "client req-key-missing"},
	} {
		head := func(kind, came, sent string) string {
			line := func(fields, more string) string {
				if kind == "req" {
					return `{"k":"req","c":1,"m":"GET","target":"/","v":"HTTP/1.1","h":[["Host","h"],["Origin","http://h"],["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Version","13"],` + fields + `]` + more + "}\n"
				}
				return `{"k":"res","c":1,"v":"HTTP/1.1","code":101,"reason":"x","h":[["Upgrade","websocket"],["Connection","Upgrade"],` + fields + `]` + more + "}\n"
			}
			if sent == "" {
				return line(came, "")
			}
			return line(came, `,"fx":"replace","change":"x"`) + line(sent, `,"leg":"out","change":"x"`)
		}
		lines := strings.SplitAfterN(changedLines(c.session), "\n", 3)
		trace := lines[0] + lines[1] + head("req", c.asked, c.sent) + head("res", c.answered, c.relayed) + lines[2]
		rules, texts, _ := verdictOf(t, trace)
		rules = slices.DeleteFunc(rules, func(r string) bool { return strings.HasSuffix(r, " info") })
		if got := strings.Join(rules, ", "); got != c.want {
			t.Errorf("%s: got %q, want %q\n%s", c.name, got, c.want, texts)
		}
	}
}
