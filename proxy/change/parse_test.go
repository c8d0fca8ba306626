package change

import (
	"strings"
	"testing"
)

// Every action and trigger is read, and what is wrong is told with its place.
func TestParseLine(t *testing.T) {
	for _, s := range []string{
		`do drop`,
		`when op == text and from == server every 3 do drop`,
		`when json.type == "trade" do set $.price 0`,
		`every 20s do inject < ping`,
		`when path == /chat after 30s once do close 1012 "restart"`,
		`when op do delay 200ms±50ms`,
		`when op do delay 200ms+-50ms, dup also`,
		`do split 7, len16, len64, flip fin, flip rsv1, flip rsv2, flip rsv3, flip mask, truncate 5, stall 3s`,
		`do replace /(a)\/b/c$1/`,
		`do replace |a/b|c|, text "x"`,
		`do replace /(?P<n>a)(b)/${2}x$n$$3/`,
		`do set $['a, b'].c {"d": [1, 2]}`,
		`do set $.a free, set $.b 'it''`,
		`p=0.1 after 3 do inject > text "x", inject < bin [de ad be ef], inject > pong [00], inject < close 1000 "bye", inject < close`,
		`do reset`,
		`do rate 10KB/s`,
		`when path == /x once do status 503 "busy"`,
		`do header X-Name: a value, header Y: "a, b", header -Origin also`,
		`do header X-Name: value also`,
	} {
		l, err := ParseLine(s)
		if strings.Contains(s, "it''") { // an end of the string, and another beginning
			if err == nil {
				t.Errorf("%s: no error", s)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", s, err)
		} else if l.String() != s {
			t.Errorf("%s: it is told as %s", s, l)
		}
	}
	for s, want := range map[string]string{
		``:                         `column 1: want when, every, after, once, p= or do, found the end`,
		`when`:                     `column 5: want a field or a string, found the end`,
		`when op == txt do drop`:   `column 12: op: is never "txt"; the nearest is text`,
		`when op drop`:             `column 9: want every, after, once, p= or do, found "drop"`,
		`do`:                       `column 3: want an action, found the end; there are drop, delay, dup, split, flip, len16, len64, truncate, stall, replace, set, text, inject, close, reset, rate, status, header`,
		`do drop dup`:              `column 9: want a comma, also or the end, found "dup"`,
		`do drop also x`:           `column 14: also ends the line, found "x"`,
		`do delay`:                 `column 9: delay wants a time of up to an hour such as 200ms or 200ms±50ms, found ""`,
		`do delay 2h`:              `column 10: delay wants a time of up to an hour such as 200ms or 200ms±50ms, found "2h"`,
		`do stall 1s±1s`:           `column 10: stall takes a time without ±`,
		`do split 0`:               `column 10: split wants a number of bytes from 1 to 2147483647, found "0"`,
		`do flip rsv4`:             `column 9: flip wants one of fin, rsv1, rsv2, rsv3, mask, found "rsv4"`,
		`do replace /(a)/$1b/`:     `column 12: the expression has no group "1b"; ${1} is its first, also before letters, and $$ a dollar`,
		`do close 1012 restart`:    `column 15: the reason stands in quotes, found "restart"`,
		`do status 503 busy, drop`: `column 15: the body stands in quotes, found "busy"`,
		`do replace /a`:            `column 12: want /expression/text/: the second / is missing`,
		`do replace /a/b`:          `column 12: want /expression/text/: the third / is missing`,
		`do replace /(/b/`:         "column 13: missing closing ): `(`",
		`do set $.a`:               `column 11: set wants a value, found the end`,
		`do set a 1`:               `column 8: path "a": does not begin with $`,
		`do set $.a {`:             `column 12: want a value of JSON: unexpected EOF`,
		`do inject text "x"`:       `column 11: inject wants > for the way to the server, or < for that to the client, found "text"`,
		`do inject > txt "x"`:      `column 13: inject wants text, bin, ping, pong or close, found "txt"`,
		`do inject > text x`:       `column 18: the text stands in quotes, found "x"`,
		`do inject > bin [0]`:      `column 17: want bytes such as [de ad be ef], not [0]`,
		`do close`:                 `column 9: close wants a number from 0 to 65535, found ""`,
		`do rate 10KB`:             `column 9: rate wants bytes a second such as 10KB/s, found "10KB"`,
		`do status 101`:            `column 11: status wants a number from 200 to 599, found "101"`,
		`do header X`:              `column 11: header wants Name: value or -Name, found "X"`,
		`do header X Y: z`:         `column 11: header wants Name: value or -Name, found "X"`,
		`do header X: "a\r\nY: b"`: `column 14: the value of a header is one line`,
		`do drop, header -X`:       `column 10: status and header act on the handshake, and other actions do not; write two lines`,
		`p=0 do drop`:              `column 3: p is more than 0 and at most 1, not "0"`,
		`every 0 do drop`:          `column 7: every wants 1 or more, found 0`,
		`after x do drop`:          `column 7: after wants a number such as 3 or a time such as 500ms, found "x"`,
		`every 1us do drop`:        `column 7: every wants 1ms or more, found "1us"`,
	} {
		if _, err := ParseLine(s); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", s, err, want)
		}
	}
}

// A file has comments, and errors name their line.
func TestParse(t *testing.T) {
	lines, err := Parse(strings.NewReader("\uFEFF# first\n\n  do drop  \r\n\t# more\nwhen op == ping do delay 1s\n"))
	if err != nil || len(lines) != 2 || lines[0].String() != "do drop" {
		t.Errorf("got %v, %v", lines, err)
	}
	for s, want := range map[string]string{
		"do drop\n\ndo dropp\n":                      `line 3, column 4: no action "dropp"; the nearest is drop`,
		"do drop\n" + strings.Repeat("x", MaxLine+9): `line 2, column 1: the line is longer than 64 KiB`,
	} {
		if _, err := Parse(strings.NewReader(s)); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("when op == text every 3 do split 7, replace /a/b/ also\n# x\ndo header X: y")
	f.Fuzz(func(t *testing.T, s string) {
		lines, err := Parse(strings.NewReader(s))
		if err != nil {
			return
		}
		for _, l := range lines {
			if _, err := ParseLine(l.String()); err != nil {
				t.Errorf("%q was read, and not again: %v", l, err)
			}
		}
	})
}
