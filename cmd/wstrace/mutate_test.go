package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/proxy/replay"
)

// mutated are the commands that read a trace F, with another G beside it.
var mutated = []string{
	"show F", "show -m F", "show -v -n 0 F", "show --keep-going F", "show F G",
	"show -m --pretty -e body F", "show -o hex F", "show -o fiddler F", "show -o json F", "show -m -o json F", "show -m -o json -n 9 --keep-going F",
	"check F", "check --json F G", "check --severity error F",
	"diff F F", "diff --exact F G", "diff --ignore $..a --capture $..id --ignore /l+/ G F", "diff --session 2 F F",
	"fmt F", "fmt --freeze F", "redact F", "redact F Cookie: ?token $..a /l+/", "stat F", "ls F",
}

// What every command may take for one file: what a small trace needs, many times.
const (
	mostTime   = 20 * time.Second // on a machine that is busy
	mostMemory = 512 << 20        // allocated, also what was freed
)

// TestMutatedTraces breaks traces of all kinds and runs every command on each. It
// ends in a result or an error, soon and in bounded memory.
func TestMutatedTraces(t *testing.T) {
	kinds := traceKinds(t)
	rounds := 120
	if os.Getenv("SOAK") == "true" {
		rounds = 5000
	}
	dir := t.TempDir()
	f, g := filepath.Join(dir, "f.wst"), filepath.Join(dir, "g.wst")
	quietly(t)
	for i := range rounds {
		random := rand.New(rand.NewPCG(11, uint64(i)))
		a, b := kinds[random.IntN(len(kinds))], kinds[random.IntN(len(kinds))]
		broken := mutate(random, a, b)
		if random.IntN(20) == 0 {
			broken = zipped(broken)
		}
		for file, content := range map[string][]byte{f: broken, g: b} {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, command := range mutated {
			args := strings.Fields(command)
			for k := range args {
				args[k] = strings.NewReplacer("F", f, "G", g).Replace(args[k])
			}
			bounded(t, i, command, broken, func() { run(args) })
		}
		bounded(t, i, "replay", broken, func() { load(broken) })
		if t.Failed() {
			return
		}
	}
}

// load loads a trace for a replay in all ways.
func load(b []byte) {
	compare := replay.CompareOptions(replay.Ignore("$..a", "/x+/"), replay.Capture("$..id"), replay.AnyOrder())
	replay.Load(replay.Trace(bytes.NewReader(b)))
	replay.Load(replay.Trace(bytes.NewReader(b)), compare, replay.Session(2))
	replay.LoadAll(replay.Trace(bytes.NewReader(b)), compare)
	replay.LoadAll(replay.Trace(bytes.NewReader(b)), replay.Exact())
	replay.LoadAll(struct{ decode.Source }{replay.Trace(bytes.NewReader(b))}, compare) // by its events
}

// quietly lets commands print into nothing until the test ends.
func quietly(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = null, null
	t.Cleanup(func() {
		os.Stdout, os.Stderr = stdout, stderr
		null.Close()
	})
}

// bounded fails the test if f panics, or takes too long or too much memory. The
// input is kept.
func bounded(t *testing.T, round int, name string, input []byte, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun := time.Now()
	wrong := ""
	func() {
		defer func() {
			if p := recover(); p != nil {
				wrong = fmt.Sprintf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		f()
	}()
	took := time.Since(begun)
	runtime.ReadMemStats(&after)
	switch n := after.TotalAlloc - before.TotalAlloc; {
	case wrong != "":
	case took > mostTime:
		wrong = fmt.Sprintf("took %v", took)
	case n > mostMemory:
		wrong = fmt.Sprintf("allocated %d MB", n/1e6)
	default:
		return
	}
	file := filepath.Join(t.ArtifactDir(), fmt.Sprintf("mutated-%d.wst", round))
	os.WriteFile(file, input, 0o666)
	t.Errorf("round %d, %s: %s\n%d bytes: %.3000q", round, name, wrong, len(input), input)
}

// traceKinds returns traces of all kinds: those of the test data and of the scripts,
// and recordings made here.
func traceKinds(t *testing.T) (kinds [][]byte) {
	t.Helper()
	traces, _ := filepath.Glob("../../testdata/traces/*.wst")
	for _, name := range traces {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, b)
	}
	scripts, _ := filepath.Glob("../../testdata/scripts/*.txt*")
	for _, name := range scripts {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			if strings.HasSuffix(f.Name, ".wst") && len(f.Data) < 100_000 {
				kinds = append(kinds, f.Data)
			}
		}
	}
	if len(kinds) < 20 {
		t.Fatalf("%d traces", len(kinds))
	}
	for seed := range uint64(10) {
		kinds = append(kinds, recorded(rand.New(rand.NewPCG(7, seed))))
	}
	return append(kinds, hostile...)
}

// hostile are traces that broke something once.
var hostile = [][]byte{
	[]byte(`{"wstrace":1}
{"k":"open","c":1}
{"k":"frame","d":"<","op":"text","text":"a"}
{"k":"req","m":"GET","target":"/","v":"HTTP/1.1","h":[["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","AQIDBAUGBwgJCgsMDQ4PEA=="],["Sec-WebSocket-Version","13"]]}
`),
	[]byte(`{"wstrace":1}
{"k":"open","c":1}
{"k":"req","m":"POST","target":"/","v":"HTTP/1.1","h":[["Host","h"],["Content-Length","9"]]}
{"k":"body","d":">","text":"{\"a\":1,"}
{"k":"body","d":">","text":"}"}
{"k":"res","v":"HTTP/1.1","code":200,"reason":"OK","h":[["Transfer-Encoding","chunked"],["Content-Encoding","gzip"]]}
{"k":"body","d":"<","b64":"H4sIAAAAAAACA6tWKkhMzk5NUbKKNtQxiq0FAK2l1csQAAAA","last":true}
{"k":"body","d":"<","len":18446744073709551615,"hex":"ff","cut":true}
{"k":"done","sent":9,"got":47}
`),
	[]byte(`{"wstrace":1}
{"k":"open","c":1}
{"k":"req","raw":"R0VUIC8gSFRUUC8xLjENCkhvc3Q6IHgNClgtTmFtZTogTfxsbGVyDQpDb29raWU6IHNpZD0xDQoNCg=="}
{"k":"end","how":"fin"}
`),
	[]byte(`{"wstrace":1}
{"k":"open","c":1}
{"k":"req","raw":"R0VUIC8gSFRUUC8xLjENCkhvc3Q6IHgNCkF1dGhvcml6YXRpb246IEJlYXJlciBodW50ZXIyU0VDUkVUDQo="}
{"k":"end","how":"fin"}
`),
	// A bracket in each of 9999, and frames of absurd lengths.
	[]byte(`{"wstrace":1}
{"k":"open","c":1}
{"k":"frame","d":"<","op":"text","text":"` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999) + `"}
{"k":"frame","d":">","op":"bin","len":18446744073709551615,"hex":"01"}
{"k":"frame","d":"<","op":"text","len":9223372036854775808,"text":"a","cut":true}
{"k":"more","d":">","hex":"02"}
{"k":"gap","d":">","n":9223372036854775807}
{"k":"frame","d":">","op":"text","text":"b","re":"((a{99}){99}){9}","after":9223372036854775807,"group":"g"}
{"k":"end","how":"fin"}
`),
}

// recorded returns a recording of a few sessions of random traffic.
func recorded(random *rand.Rand) []byte {
	var b bytes.Buffer
	w := trace.NewWriter(&b, traceOptions())
	at := time.Unix(1e9, 0)
	for c := range int64(1 + random.IntN(3)) {
		s := decode.Session{Sink: w}
		s.Open(decode.Info{Conn: c + 1, Time: at, URL: "ws://example.com/"})
		deflate := ""
		if random.IntN(2) == 0 {
			deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
		}
		s.Data(decode.FromClient, at, []byte("GET /a?token=s HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"+deflate+"\r\n"))
		s.Data(decode.FromServer, at, []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"+deflate+"\r\n"))
		for range random.IntN(20) {
			p := make([]byte, random.IntN(200))
			for i := range p {
				p[i] = byte(random.Uint32())
			}
			first := []byte{0x81, 0x82, 0x01, 0x80, 0xc1, 0x88, 0x89, 0x8a, 0x83, 0xf1}[random.IntN(10)]
			if first == 0x81 {
				p = []byte(fmt.Sprintf(`{"id":%d,"a":[%d,"hello"]}`, random.IntN(9), random.IntN(9)))
			}
			frame := append([]byte{first, 126, byte(len(p) >> 8), byte(len(p))}, p...)
			if random.IntN(30) == 0 {
				frame[1] = 127
			}
			d := decode.Dir(random.IntN(2))
			if d == decode.FromClient {
				frame = slices.Concat([]byte{first, 254, byte(len(p) >> 8), byte(len(p)), 0, 0, 0, 0}, p)
			}
			s.Data(d, at, frame)
		}
		if random.IntN(3) > 0 {
			s.End(decode.FromServer, at, decode.EndFIN, "")
			s.End(decode.FromClient, at, decode.EndRST, "")
		}
	}
	return b.Bytes()
}

// numbers take the place of those in a trace.
var numbers = []string{"0", "-1", "1", "2", "125", "126", "65536", "2147483648", "4294967296", "9223372036854775807",
	"9223372036854775808", "18446744073709551615", "1e400", "-0.5", "null", `""`, "[]", "true"}

// mutate breaks a trace in a few ways, with lines of another.
func mutate(random *rand.Rand, a, b []byte) []byte {
	lines := slices.Collect(bytes.Lines(a))
	for i := range lines {
		lines[i] = bytes.Clone(lines[i])
	}
	others := slices.Collect(bytes.Lines(b))
	for range 1 + random.IntN(4) {
		if len(lines) == 0 || len(others) == 0 {
			break
		}
		i := random.IntN(len(lines))
		switch random.IntN(9) {
		case 0:
			for range 1 + random.IntN(3) {
				lines[i][random.IntN(len(lines[i]))] ^= 1 << random.IntN(8)
			}
		case 1:
			k := random.IntN(len(lines))
			lines[i], lines[k] = lines[k], lines[i]
		case 2:
			lines = slices.Insert(lines, random.IntN(len(lines)), bytes.Clone(lines[i]))
		case 3:
			lines = slices.Delete(lines, i, i+1)
		case 4:
			lines[i] = lines[i][:random.IntN(len(lines[i]))+1]
		case 5:
			lines[i] = otherNumber(random, lines[i])
		case 6:
			lines = slices.Insert(lines, i, bytes.Clone(others[random.IntN(len(others))]))
		case 7:
			kinds := []string{"req", "res", "body", "frame", "more", "junk", "end", "done", "open", "gap", "opaque", "note", "message", "x-y"}
			lines[i] = bytes.Replace(lines[i], []byte(`"k":"frame"`), []byte(`"k":"`+kinds[random.IntN(len(kinds))]+`"`), 1)
		case 8:
			from, to := ">", "<"
			if random.IntN(2) == 0 {
				from, to = to, from
			}
			lines[i] = bytes.Replace(lines[i], []byte(`"d":"`+from), []byte(`"d":"`+to), 1)
		}
	}
	out := bytes.Join(lines, nil)
	if random.IntN(8) == 0 && len(out) > 0 {
		out = out[:random.IntN(len(out))]
	}
	return out
}

// otherNumber puts another value in the place of a number.
func otherNumber(random *rand.Rand, line []byte) []byte {
	var at []int
	for i := 1; i < len(line); i++ {
		if c := line[i]; '0' <= c && c <= '9' && strings.IndexByte(":,[", line[i-1]) >= 0 {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return line
	}
	from := at[random.IntN(len(at))]
	to := from
	for to < len(line) && strings.IndexByte("0123456789.", line[to]) >= 0 {
		to++
	}
	n := numbers[random.IntN(len(numbers))]
	if random.IntN(2) == 0 {
		n = strconv.FormatUint(random.Uint64()>>random.IntN(64), 10)
	}
	return slices.Concat(line[:from], []byte(n), line[to:])
}

func zipped(b []byte) []byte {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b)
	w.Close()
	return z.Bytes()
}
