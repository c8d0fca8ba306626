package trace

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// Records that are played as they come make the events that a file makes.
func TestPlayerIsLikeSource(t *testing.T) {
	files, _ := filepath.Glob("../../testdata/*/*.wst")
	files = append(files, "")
	for _, name := range files {
		text := []byte(`{"wstrace":1}
{"k":"open","c":1}
{"k":"req","c":1,"m":"GET","target":"http://a/","v":"HTTP/1.1","h":[["Host","a"]],"fx":"replace"}
{"k":"req","c":1,"m":"GET","target":"/","v":"HTTP/1.1","h":[["Host","a"]],"leg":"out"}
{"k":"end","c":1,"d":"<","how":"local","err":"refused","status":502}
{"k":"done","c":1,"sent":0,"got":0}
{"k":"open","c":2}
{"k":"req","c":2,"m":"GET","target":"/","v":"HTTP/1.1","h":[]}
{"k":"end","c":2,"how":"fin"}
`)
		if name != "" {
			var err error
			if text, err = os.ReadFile(name); err != nil {
				t.Fatal(err)
			}
		}
		look := decode.Look{Messages: true, Advice: true}
		note := func(list *[]string) decode.Sink {
			return decode.SinkFunc(func(ev *decode.Event) {
				*list = append(*list, fmt.Sprint(ev.Kind, ev.Dir, ev.Conn, ev.Time.UnixNano(), ev.Text, len(ev.Violations), ev.Status))
			})
		}
		var want, got []string
		(&Source{R: bytes.NewReader(text), Bad: func(error) {}}).Play(context.Background(), note(&want), look)
		pl := NewPlayer(note(&got), look)
		for line := range bytes.Lines(text) {
			if rec, err := Parse(line); err == nil {
				pl.Play(rec)
			}
		}
		pl.Close()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %d events, want %d\n%v\n%v", name, len(got), len(want), got, want)
		}
	}
}
