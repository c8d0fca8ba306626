package interop

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/har"
	"github.com/wstrace/wstrace/decode/trace"
)

// TestHARInNode has Node read the HAR that is made of a trace: the messages are those of
// the trace.
func TestHARInNode(t *testing.T) {
	need(t, tool{"node", "--version"}.missing())
	names, _ := filepath.Glob("../traces/*.wst")
	if len(names) == 0 {
		t.Fatal("no traces")
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var made bytes.Buffer
		var want []string
		w := har.NewWriter(&made, har.Options{By: "wstrace test"})
		src := trace.Source{R: bytes.NewReader(text)}
		err = src.Play(t.Context(), decode.SinkFunc(func(ev *decode.Event) {
			w.Emit(ev)
			if m := ev.Message; m != nil && !ev.Out && (ev.Kind == decode.KindFrame || m.Frames == 0 || m.Unfinished) {
				want = append(want, line(ev, m))
			}
		}), decode.Look{Messages: true, Bodies: math.MaxInt64, WholeBodies: true, FactsOnly: true})
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		file := filepath.Join(t.TempDir(), "made.har")
		if err := os.WriteFile(file, made.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("node", "node/har.mjs", file).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		got := strings.Split(strings.TrimSpace(string(out)), "\n")
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// line returns what Node prints of a message. A text that is not UTF-8 has no bytes of
// its own in JSON.
func line(ev *decode.Event, m *decode.Message) string {
	kind, data := "receive", m.Data
	if m.Dir == decode.FromClient {
		kind = "send"
	}
	if m.Op == ws.OpText {
		data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	}
	return fmt.Sprintf(`["%d","%s",%d,%d,"%s"]`, ev.Conn, kind, ev.Time.Round(time.Millisecond).UnixMilli(), m.Op, hex.EncodeToString(data))
}
