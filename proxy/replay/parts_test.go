package replay

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// TestLoadParts loads the parts of a recording.
func TestLoadParts(t *testing.T) {
	const heads = `{"k":"req","c":1,"m":"GET","target":"/","v":"HTTP/1.1","h":[["Host","a"],["Upgrade","websocket"]]#}
{"k":"res","c":1,"v":"HTTP/1.1","code":101,"reason":"","h":[]#}
`
	first := `{"wstrace":1,"t0":"2026-11-21T00:00:00Z","run":"x","part":1}
{"k":"open","c":1}
` + strings.ReplaceAll(heads, "#", "") + `{"k":"frame","t":1,"c":1,"d":"<","op":"text","text":"one"}
`
	second := `{"wstrace":1,"t0":"2026-11-21T00:00:05Z","run":"x","part":2}
{"k":"open","c":1,"cont":true}
` + strings.ReplaceAll(heads, "#", `,"derived":true`) + `{"k":"frame","t":1,"c":1,"d":"<","op":"text","text":"two"}
`
	s, err := Load(Trace(strings.NewReader(first + second)))
	if err != nil {
		t.Fatal(err)
	}
	items := s.sides[decode.FromServer].items
	if n := s.Messages(decode.FromServer); n != 2 || items[1].t-items[0].t != 5*time.Second {
		t.Errorf("got %d messages, the second after %v, want 2, after 5 s", n, items[1].t-items[0].t)
	}
	if _, err := Load(Trace(strings.NewReader(second))); err != errPartial {
		t.Errorf("the second part alone: got %v", err)
	}
	if _, err := Load(Trace(strings.NewReader(second)), Session(1)); err != errPartial {
		t.Errorf("its session: got %v", err)
	}
	_, piece, _ := strings.Cut(first, "\n")
	if _, err := Load(Trace(strings.NewReader(piece))); !errors.Is(err, trace.ErrPiece) {
		t.Errorf("a piece: got %v", err)
	}
}
