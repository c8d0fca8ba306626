package edit

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode/pick"
	"github.com/wstrace/wstrace/decode/trace"
)

// exchanged returns a trace of one exchange.
func exchanged(records ...string) string {
	return "{\"wstrace\":1}\n{\"k\":\"open\",\"c\":1}\n" + strings.Join(records, "\n") + "\n"
}

func TestRedactBodies(t *testing.T) {
	post := func(length string, fields ...string) string {
		if length != "" {
			fields = append(fields, `["Content-Length","`+length+`"]`)
		}
		return `{"k":"req","c":1,"m":"POST","target":"/","v":"HTTP/1.1","h":[` + strings.Join(fields, ",") + `]}`
	}
	ok := func(fields string) string {
		return `{"k":"res","c":1,"v":"HTTP/1.1","code":200,"reason":"OK","h":[` + fields + `]}`
	}
	const upgrade = `{"k":"req","c":1,"m":"GET","target":"/","v":"HTTP/1.1","h":[["Upgrade","websocket"],["Connection","Upgrade"]]}`
	refused := func(length, blen string) string {
		return `{"k":"res","c":1,"v":"HTTP/1.1","code":403,"reason":"No","h":[["Content-Length","` + length + `"]],"blen":` + blen + `}`
	}
	body := func(d, text string) string {
		return `{"k":"body","c":1,"d":"` + d + `","text":` + string(pick.Encode(text)) + `}`
	}
	packed := func(text string) string { return `{"k":"body","c":1,"d":"<","b64":"` + base(zipped(text)) + `"}` }
	note := func(d, why string) string {
		return `{"k":"note","c":1,"text":"a body of the ` + d + ` was not looked into for secrets, as it ` + why + `: it is left out"}`
	}
	done := func(sent, got int) string { return fmt.Sprintf(`{"k":"done","c":1,"sent":%d,"got":%d}`, sent, got) }
	end := `{"k":"end","c":1,"d":"<","how":"fin"}`
	both := []string{`{"k":"end","c":1,"d":">","how":"fin"}`, end}
	for _, c := range []struct {
		name      string
		old, want []string
		selectors []string
	}{
		{"in two pieces, both ways",
			[]string{post("14"), body(">", `{"tok`), body(">", `en":"ab"}`), ok(`["Content-Length","18"]`), body("<", `{"a":{"token":"b"}}`[:19]), end, done(14, 19)},
			[]string{post("28"), body(">", `{"tok`), body(">", `en":"redacted-token-1"}`), ok(`["Content-Length","33"]`), body("<", `{"a":{"token":"redacted-token-2"}}`), end, done(28, 34)}, nil},
		{"one that stays", []string{post("2"), body(">", "{}"), ok(""), body("<", "ab"), done(2, 2)}, nil, nil},
		{"chunked",
			[]string{post("", `["Transfer-Encoding","chunked"]`), body(">", `{"token":"a"}`), ok(""), end, done(24, 0)},
			[]string{post("", `["Transfer-Encoding","chunked"]`), body(">", `{"token":"redacted-token-1"}`), ok(""), end, done(39, 0)}, nil},
		{"of which both ends are known",
			append([]string{post("13"), body(">", `{"token":"a"}`), ok("")}, append(both, done(13, 0))...),
			append([]string{post("28"), body(">", `{"token":"redacted-token-1"}`), ok("")}, append(both, done(28, 0))...), nil},
		{"with a head that was sent instead",
			[]string{strings.TrimSuffix(post("13"), "}") + `,"fx":"replace"}`, strings.TrimSuffix(post("13", `["X","y"]`), "}") + `,"leg":"out"}`, body(">", `{"token":"a"}`)},
			[]string{strings.TrimSuffix(post("28"), "}") + `,"fx":"replace"}`, strings.TrimSuffix(post("28", `["X","y"]`), "}") + `,"leg":"out"}`, body(">", `{"token":"redacted-token-1"}`)}, nil},
		{"HEAD", []string{`{"k":"req","c":1,"m":"HEAD","target":"/","v":"HTTP/1.1","h":[]}`, ok(`["Content-Length","18"]`), done(0, 0)}, nil, nil},
		{"not recorded", []string{post("28"), ok(`["Content-Length","18"]`), end, done(28, 18)}, nil, nil},
		{"refusal",
			[]string{upgrade, refused("13", "13"), body("<", `{"token":"a"}`), done(0, 13)},
			[]string{upgrade, refused("28", "28"), body("<", `{"token":"redacted-token-1"}`), done(0, 28)}, nil},
		{"compressed", []string{post(""), ok(`["Content-Encoding","gzip"]`), packed(`{"token":"a"}`), end},
			[]string{post(""), ok(`["Content-Encoding","gzip"]`), packed(`{"token":"redacted-token-1"}`), end}, nil},
		{"compressed, and nothing in it", []string{post(""), ok(`["Content-Encoding","gzip"]`), packed(`{"tok":"a"}`), end}, nil, nil},
		{"in a coding that is not known",
			[]string{post(""), ok(`["Content-Encoding","br"],["Content-Length","4"]`), body("<", "ab"), body("<", "cd"), end, done(0, 4)},
			[]string{post(""), note("server", "is coded with br"), ok(`["Content-Encoding","br"],["Content-Length","4"]`), `{"k":"body","c":1,"d":"<","len":4,"cut":true}`, end, done(0, 4)}, nil},
		{"a form", []string{post("21", `["Content-Type","application/x-www-form-urlencoded"]`), body(">", "user=a&pin=%31%32&x=y")},
			[]string{post("29", `["Content-Type","application/x-www-form-urlencoded"]`), body(">", "user=a&pin=redacted-pin-1&x=y")}, []string{"?pin"}},
		{"a form, but no parameter is selected", []string{post("21", `["Content-Type","text/plain"]`), body(">", "user=a&pin=%31%32&x=y")}, nil, []string{"?pin"}},
		{"a form in parts",
			[]string{post("67", `["Content-Type","multipart/form-data; boundary=q"]`), body(">", "--q\r\ncontent-disposition: form-data; name=\"pin\"\r\n\r\n12\r\n--q--\r\n")},
			[]string{post("79", `["Content-Type","multipart/form-data; boundary=q"]`), body(">", "--q\r\ncontent-disposition: form-data; name=\"pin\"\r\n\r\nredacted-pin-1\r\n--q--\r\n")}, []string{"?pin"}},
		{"cut",
			[]string{post(""), ok(`["Content-Length","900"]`), `{"k":"body","c":1,"d":"<","len":900,"text":"{\"token\":\"a\",\"b\":\"eyJhbGc","cut":true}`, end, done(0, 900)},
			[]string{post(""), ok(`["Content-Length","915"]`), `{"k":"body","c":1,"d":"<","len":915,"text":"{\"token\":\"redacted-token-1\",\"b\":\"","cut":true}`, end, done(0, 915)}, nil},
		{"ended too early",
			[]string{post(""), ok(`["Content-Length","900"]`), `{"k":"body","c":1,"d":"<","len":4,"text":"a b ","cut":true}`, end}, nil, nil},
		{"known from elsewhere",
			[]string{post("25"), body(">", `{"token":"Zq8Xk2Vt9Lm4R"}`), ok(""), body("<", "hello Zq8Xk2Vt9Lm4R"), end},
			[]string{post("28"), body(">", `{"token":"redacted-token-1"}`), ok(""), body("<", "hello redacted-token-1"), end}, nil},
	} {
		if c.want == nil {
			c.want = c.old
		}
		if c.selectors == nil {
			c.selectors = []string{"$..token"}
		}
		got := redacted(t, exchanged(c.old...), c.selectors...)
		_, got, _ = strings.Cut(got, "\"c\":1}\n")
		if want := strings.Join(c.want, "\n") + "\n"; got != want {
			t.Errorf("%s: got\n%swant\n%s", c.name, got, want)
		}
	}
}

// What waits for the end of a body is bounded, and what is left out is counted.
func TestRedactLongBodies(t *testing.T) {
	red, err := NewRedactor("$..token")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	take := func(line string) {
		rec, err := trace.Parse([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range red.Take(rec) {
			got = append(got, strings.TrimSpace(string(rec.Append(nil))))
		}
	}
	const piece = 64 << 10
	n := 5 * MaxMessage / piece
	res := fmt.Sprintf(`{"k":"res","c":1,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Length","%d"]]}`, n*piece+1)
	take(`{"k":"open","c":1}`)
	take(res)
	for range n {
		take(`{"k":"body","c":1,"d":"<","text":"` + strings.Repeat("x", piece) + `"}`)
		if w := red.sessions[1].waiting; w > maxWaiting {
			t.Fatalf("%d bytes wait", w)
		}
	}
	if len(got) != 1 {
		t.Fatalf("got %q while it was on its way", got)
	}
	take(`{"k":"body","c":1,"d":"<","text":"y"}`)
	want := []string{`{"k":"open","c":1}`, `{"k":"note","c":1,"text":"a body of the server was not looked into for secrets, as it is longer than 1 MiB: it is left out"}`,
		res, fmt.Sprintf(`{"k":"body","c":1,"d":"<","len":%d,"cut":true}`, n*piece+1)}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %.500q", got)
	}
	// Many small pieces wait too long; the others stay out.
	got = nil
	take(`{"k":"open","c":2}`)
	for range 10_000 {
		take(`{"k":"body","c":2,"d":"<","text":"y"}`)
		if w := red.sessions[2].waiting; w > maxWaiting {
			t.Fatalf("%d bytes wait", w)
		}
	}
	take(`{"k":"done","c":2,"sent":0,"got":10000}`)
	if len(got) != 4 || !strings.Contains(got[1], "waited for its end too long") || !strings.Contains(got[2], `"cut":true`) {
		t.Errorf("got %.500q", got)
	}
}
