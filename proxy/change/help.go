package change

import (
	"fmt"
	"strings"
)

// An Example is a line, with what it makes of a frame of the server.
type Example struct {
	Line string
	Came string // the frame, in hexadecimal; "" for that with Hello
	Sent string // what is sent, in hexadecimal or, in parentheses, in words
}

// hello is a text frame that says Hello (RFC 6455 §5.7).
const hello = "81 05 48 65 6c 6c 6f"

// Examples have every action.
var Examples = []Example{
	{"when op == text do drop", "", ""},
	{"when op == text do delay 200ms±50ms", "", hello + " (150 to 250 ms later)"},
	{"when op == text do dup", "", hello + " " + hello},
	{"when op == text do split 2", "", "01 02 48 65 00 02 6c 6c 80 01 6f"},
	{"when op == text do flip fin", "", "01 05 48 65 6c 6c 6f"},
	{"when op == text do flip rsv1", "", "c1 05 48 65 6c 6c 6f"},
	{"when op == text do len16", "", "81 7e 00 05 48 65 6c 6c 6f"},
	{"when op == text do len64", "", "81 7f 00 00 00 00 00 00 00 05 48 65 6c 6c 6f"},
	{"when op == text do truncate 2", "", "81 05 48 65"},
	{"when op == text do stall 3s", "", "81 05 48 65 6c 6c 6f (3 s between 48 and 65)"},
	{`do replace /l+(.)/L$1/`, "", "81 04 48 65 4c 6f"},
	{`do set $.a 2`, "81 07 7b 22 61 22 3a 31 7d", "81 07 7b 22 61 22 3a 32 7d"},
	{`when text == "Hello" do text "Bye"`, "", "81 03 42 79 65"},
	{`when op == text do inject < ping "x"`, "", hello + " 89 01 78"},
	{`when op == text do inject < bin [00 ff]`, "", hello + " 82 02 00 ff"},
	{`when text == "Hello" do close 1012 "restart"`, "", hello + " 88 09 03 f4 72 65 73 74 61 72 74"},
	{`when text == "Hello" do reset`, "", hello + " (and a reset)"},
	{`do rate 1KB/s`, "", hello + " (7 ms later)"},
	{`when path == /chat do status 503 "busy"`, "(the request)", "(HTTP/1.1 503 Service Unavailable, to the client)"},
	{`do header -Sec-WebSocket-Extensions`, "(the request)", "(the request without that field, and so no compression)"},
	{`when kind == res do header Sec-WebSocket-Accept: wrong`, "(the answer)", "(the answer with that value)"},
}

// Help returns a page about changes: how they are written, and examples.
func Help() string {
	var b strings.Builder
	b.WriteString(`A change is a line that says what becomes of what passes.

  [when FILTER] [TRIGGER...] do ACTION[, ACTION...] [also]

FILTER selects, as in wstrace's filters; without it every frame is a match.

Triggers, all of which have to agree:
  every N, every TIME   the Nth match and each Nth after; once in TIME
  after N, after TIME   not the first N matches; not those of the first TIME
  once                  one match in a session
  p=0.1                 one match in ten, by chance

Matches count by session and direction, times begin at the first match. If all actions
are about the session, such as inject, a line with a TIME acts when it is time, without
another match: every 20s do inject < ping.

A frame or message is subject to the first line that acts on it; if that ends with also,
to later lines too, whose filters see what came.

Actions on frames:
  drop                  nothing is sent; of a message, nor are the frames that continue it
  delay TIME[±TIME]     it waits, and what is behind it, until a Close or the end comes; +- is ±, too
  dup                   the message, or control frame, is sent twice; of a compressed one, the copy
                        is not compressed
  split N               fragments of at most N bytes
  flip BIT              fin, rsv1, rsv2, rsv3, or mask: with a masking key or without
  len16, len64          the length is in a longer form than it needs
  truncate N            only N bytes of payload are sent, the length stays as it was
  stall TIME            the first half is sent, and the rest TIME later
Actions on messages, which are held until they are complete, up to 1 MiB:
  replace /RE/TEXT/     an expression of Go's regexp by a text, in which $1 or ${1} is its first group
  set PATH VALUE        a value of JSON that is there: set $.price 9.5; a word is a string
  text "TEXT"           all of it
Actions on the session:
  inject DIR WHAT       > to the server or < to the client: text "...", bin [de ad] or "...",
                        ping ["..."], pong ["..."], close [CODE ["REASON"]]; the pong to
                        an injected ping is not passed on
  close CODE ["REASON"] both sides get a Close, what they send then is dropped
  reset                 both connections are reset
  rate SIZE/s           from here on, in the direction of the match
Actions on the handshake, in lines of their own:
  status CODE ["BODY"]  the client gets this answer; the server does not get the request
  header NAME: VALUE    in the request and in the answer: when from == client, or server
  header -NAME          without it

A filter that looks into messages makes its line one about whole messages; about control
frames, too, if it names op. Pings and pongs overtake fragments that are held. When a file
of changes is read again, counts and times start over. A stream stays valid except for
what an action is meant to break: masking keys are new, and once a compressed message was
changed, those that follow are sent uncompressed if their receiver needs that.

Examples, with what becomes of a frame `)
	fmt.Fprintf(&b, "%s of the server:\n", hello)
	for _, e := range Examples {
		came := e.Came
		if came != "" {
			came += " → "
		}
		sent := e.Sent
		if sent == "" {
			sent = "(nothing)"
		}
		fmt.Fprintf(&b, "  %s\n      %s%s\n", e.Line, came, sent)
	}
	return b.String()
}

// FaultHelp returns a page about faults, with the lines that they stand for.
func FaultHelp() string {
	var b strings.Builder
	b.WriteString("A fault is a name for one or more changes.\n\n")
	for _, f := range Faults {
		fmt.Fprintf(&b, "  %s: %s\n", f.Name, f.Doc)
		for _, l := range f.Lines {
			fmt.Fprintf(&b, "      %s\n", l)
		}
	}
	return b.String()
}
