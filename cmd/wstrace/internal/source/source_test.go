package source

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/decode"
)

// save makes a file of text, compressed as its name says.
func save(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	c, _ := file.ByName(name)
	w, err := file.Create(name, c, 0o666)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

const chat = `{"wstrace":1}
{"k":"open","c":1}
{"k":"frame","d":"<","op":"text","text":"one"}
{"k":"frame","d":"<","op":"text","text":"two"}
`

// recorder is a Sink that notes sessions and texts.
type recorder struct {
	conns []int64
	texts []string
}

func (r *recorder) Emit(ev *decode.Event) {
	switch ev.Kind {
	case decode.KindOpen:
		r.conns = append(r.conns, ev.Conn)
	case decode.KindFrame:
		r.texts = append(r.texts, string(ev.Frame.AppendPayload(nil, -1)))
	}
}

func open(t *testing.T, name string) *File {
	t.Helper()
	f, err := Open(name)
	if err != nil {
		t.Fatalf("open %s: %v", filepath.Base(name), err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestPlay(t *testing.T) {
	var last int64
	for i, name := range []string{"chat.wst", "chat.wst.gz", "chat.wst.zst"} {
		name = save(t, name, chat)
		if err := os.Rename(name, filepath.Join(filepath.Dir(name), "x")); err != nil { // the content tells
			t.Fatal(err)
		}
		f := open(t, filepath.Join(filepath.Dir(name), "x"))
		if f.Compression() != file.Compression(i) {
			t.Errorf("%s: got compression %d", filepath.Base(name), f.Compression())
		}
		f.After = last
		var got recorder
		if err := f.Play(t.Context(), &got, decode.Look{}); err != nil {
			t.Errorf("%s: %v", filepath.Base(name), err)
		}
		if !slices.Equal(got.texts, []string{"one", "two"}) {
			t.Errorf("%s: got %q", filepath.Base(name), got.texts)
		}
		last = f.Last()
		if want := int64(i) + 1; last != want || !slices.Equal(got.conns, []int64{want}) {
			t.Errorf("%s: got sessions %d, and %d as the last one, want %d", filepath.Base(name), got.conns, last, want)
		}
	}
}

func TestRead(t *testing.T) {
	for _, name := range []string{"chat.wst", "chat.wst.gz", "chat.wst.zst"} {
		if b, err := io.ReadAll(open(t, save(t, name, chat))); string(b) != chat || err != nil {
			t.Errorf("%s: got %q, %v", name, b, err)
		}
	}
}

// TestCut plays what is left of a recording, after a crash.
func TestCut(t *testing.T) {
	f := open(t, save(t, "chat.wst", strings.TrimSuffix(chat, "o\"}\n")))
	var got recorder
	err := f.Play(t.Context(), &got, decode.Look{})
	at, ok := errors.AsType[*decode.SourceError](err)
	if !errors.Is(err, decode.ErrCut) || !ok || at.Line != 4 || err.Error() != "line 4: the file is cut off here" {
		t.Errorf("got %v, want that line 4 is cut off", err)
	}
	if !slices.Equal(got.texts, []string{"one"}) {
		t.Errorf("got %q", got.texts)
	}

	for _, name := range []string{"chat.wst.gz", "chat.wst.zst"} {
		name = save(t, name, chat)
		b, _ := os.ReadFile(name)
		for n := range b {
			os.WriteFile(name, b[:n], 0o666)
			f, err := Open(name)
			if err == nil {
				err = f.Play(t.Context(), &got, decode.Look{})
				f.Close()
			}
			if want := decode.ErrCut; n > 0 && !errors.Is(err, want) || n == 0 && err != ErrEmpty {
				t.Fatalf("%s: the first %d bytes of %d: got %v", filepath.Base(name), n, len(b), err)
			}
		}
	}
}

func TestDamage(t *testing.T) {
	const damaged = `{"wstrace":1}
{"k":"open","c":1}
{"k":"frame","d":"<","op":"text","text":"tw
{"k":"frame","d":"<","op":"text","text":"three"}
{"k":"frame","c":5,"d":"<","op":"text","text":"four"}
`
	f := open(t, save(t, "a.wst", damaged))
	err := f.Play(t.Context(), new(recorder), decode.Look{})
	if at, ok := errors.AsType[*decode.SourceError](err); !ok || at.Line != 3 || strings.Contains(at.Err.Error(), "line 3") {
		t.Errorf("got %v, want an error of line 3", err)
	}

	f = open(t, save(t, "b.wst", damaged))
	var bad []string
	f.Bad = func(err error) { bad = append(bad, err.Error()) }
	var got recorder
	if err := f.Play(t.Context(), &got, decode.Look{}); err != nil {
		t.Error(err)
	}
	if !slices.Equal(got.texts, []string{"three"}) {
		t.Errorf("got %q", got.texts)
	}
	if len(bad) != 2 || !strings.HasPrefix(bad[0], "line 3: ") || bad[1] != "line 5: session 5: frame, but the session is not open" {
		t.Errorf("got damage %q", bad)
	}
}

// TestStop ends a long recording early.
func TestStop(t *testing.T) {
	f := open(t, save(t, "a.wst", chat+strings.Repeat(`{"k":"frame","d":"<","op":"text","text":"more"}`+"\n", 100_000)))
	ctx, cancel := context.WithCancelCause(t.Context())
	frames, enough := 0, errors.New("enough")
	err := f.Play(ctx, decode.SinkFunc(func(ev *decode.Event) {
		if frames++; frames == 10 {
			cancel(enough)
		}
	}), decode.Look{})
	if err != enough || frames > 50_000 {
		t.Errorf("got %v after %d events", err, frames)
	}
}

// TestRecognize gives Open what is no recording, or hardly one.
func TestRecognize(t *testing.T) {
	unknown := func(head string) string { return "not a recording: begins with " + head }
	const zip = "not a recording: a ZIP without sessions of Fiddler"
	for text, want := range map[string]string{
		"":                     "nothing was recorded",
		"  \n\n":               "nothing was recorded",
		"\x1f\x8b":             "the file is cut off here, before its first line",
		"\x1f\x8b\x08\x00":     "the file is cut off here, before its first line",
		"\x28\xb5\x2f\xfd\x04": "the file is cut off here, before its first line",
		"hello\nyou":           unknown(`"hello\nyou"`),
		"\n\n[]":               unknown(`"\n\n[]"`),
		"\x0a\x0d\x0d\x0a\x1c": unknown(`"\n\r\r\n\x1c"`), // pcapng
		"PK\x03\x04":           zip,
		"PK\x03\x04" + strings.Repeat("\x00", 26) + "raw/1_c.txt":    "",
		"PK\x03\x04" + strings.Repeat("\x00", 26) + "_index.htm":     "",
		"PK\x03\x04" + strings.Repeat("\x00", 26) + "word/raw/1.xml": zip,
		"1234:7:version;2:21#":        "",
		"12:2:id,":                    "",
		"12:34\n":                     unknown(`"12:34\n"`),
		"12":                          unknown(`"12"`),
		"\x89PNG\r\n\x1a\n":           unknown(`"\x89PNG\r\n\x1a\n"`),
		`{"log":{"version":"1.2"}}`:   "",
		"{\n\"log\":{}}":              "",
		"\uFEFF {\"log\" : {":         "",
		`{"log":[]}`:                  unknown(`"{\"log\":[]}"`),
		`{"lo`:                        "",
		strings.Repeat(" ", 1e6):      unknown(`"` + strings.Repeat(" ", shownHead) + `"`),
		strings.Repeat("{ ", 1e5):     unknown(`"` + strings.Repeat("{ ", shownHead/2) + `"`),
		"# a comment\n\n":             "",
		"# a comment\n{\"k\":\"x\"}":  "",
		" {\"by\":1,\"wstrace\":1}\n": "",
		`{"wstr`:                      "",
		"\uFEFF{\"wstrace\":1}\n":     "",

		// Pieces of a trace.
		`{"k":"note"}`:                           "",
		"xt\":\"a\"}\n{\"k\":\"note\"}\n":        "",
		"{\"a\":1}}\r\n\n{ \"k\": \"note\"}\r\n": "",
		"xt\":\"a\"}\n{\"k\":\"no":               "",
		"xt\":\"a\"}\n":                          unknown(`"xt\":\"a\"}\n"`),
		"xt\":\"a\"}\n{\"k\":\"note\"\n":         unknown(`"xt\":\"a\"}\n{\"k\":\"note\"\n"`),
		"{\"a\":1}\n{\"k\":\"note\"}\n":          unknown(`"{\"a\":1}\n{\"k\":\"note\"}\n"`),
		"a\x00\n{\"k\":\"note\"}\n":              unknown(`"a\x00\n{\"k\":\"note\"}\n"`),
	} {
		name := filepath.Join(t.TempDir(), "a.wst")
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		f, err := Open(name)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%.20q: got %q, want %q", text, got, want)
		}
		if _, ok := errors.AsType[*UnknownError](err); ok != strings.HasPrefix(want, "not a ") {
			t.Errorf("%.20q: got a %T", text, err)
		}
		if cut := errors.Is(err, decode.ErrCut); cut != strings.HasPrefix(want, "the file is cut off") {
			t.Errorf("%.20q: the error says that the file is cut off: %v", text, cut)
		}
		if err == nil {
			if b, err := io.ReadAll(f); string(b) != text || err != nil {
				t.Errorf("read %q, %v", b, err)
			}
			f.Close()
		}
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a directory can be opened")
	}
}

// TestFirstLineIsEnough opens what is still being written.
func TestFirstLineIsEnough(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	stdin := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = stdin }()
	if _, err := io.WriteString(w, "{\"wstrace\":1}\n"); err != nil {
		t.Fatal(err)
	}
	open(t, "-")
}
