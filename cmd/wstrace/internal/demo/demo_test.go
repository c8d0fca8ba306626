package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// What each side of each session sends, in its order.
var transcript = []string{
	`#1 > GET /chat?name=Ronald
text "Morning. Is Adam coming?"
text "At nine."
close "\x03\xe8Closing"
end fin`,
	`#1 < 101
text "Ronald joined."
text "Welcome Ronald."
text "John joined."
text "John says: Good morning, Ronald!"
text "Ronald says: Morning. Is Adam coming?"
text "Adam joined."
text "Adam says: Here I am. Café at nine?"
text "Ronald says: At nine."
close "\x03\xe8Closing"
end fin`,
	`#2 > GET /chat?name=John
text "Good morning, Ronald!"
pong "1"
text "I have to run. Bye, Adam!"
close "\x03\xe8Closing"
end fin`,
	`#2 < 101
text "John joined."
text "Welcome John."
text "John says: Good morning, Ronald!"
text "Ronald says: Morning. Is Adam coming?"
ping "1"
text "Adam joined."
text "Adam says: Here I am. Café at nine?"
text "Ronald says: At nine."
text "Ronald left."
text "John says: I have to run. Bye, Adam!"
close "\x03\xe8Closing"
end fin`,
	`#3 > GET /chat?name=Adam
text "Here I am. Café at nine?"
pong ""
pong ""
close "\x03\xe8Closing"
end fin`,
	`#3 < 101
text "Adam joined."
text "Welcome Adam."
text "Adam says: Here I am. Café at nine?"
text "Ronald says: At nine."
text "Ronald left."
text "John says: I have to run. Bye, Adam!"
text "John left."
close "\x03\xe8Closing"
end fin`,
}

func TestRun(t *testing.T) {
	got := map[string]string{}        // by session and side
	newcomer := map[int64]time.Time{} // when the first frame to each client came
	var closed []int64
	began := time.Now()
	err := Run(t.Context(), &decode.Tee{Sinks: []decode.Sink{decode.SinkFunc(func(ev *decode.Event) {
		key := fmt.Sprintf("#%d %s", ev.Conn, ev.Dir.Arrow())
		switch ev.Kind {
		case decode.KindRequest:
			got[key] += " GET " + ev.Handshake.Request.Target
		case decode.KindResponse:
			got[key] += fmt.Sprint(" ", ev.Head.Status)
		case decode.KindFrame:
			f := ev.Frame
			got[key] += fmt.Sprintf("\n%s %q", decode.OpName(f.OpCode), f.AppendPayload(nil, -1))
			switch {
			case ev.Dir == decode.FromServer && f.N == 0:
				newcomer[ev.Conn] = ev.Time
			case ev.Dir == decode.FromServer && f.N == 1 && !ev.Time.Equal(newcomer[ev.Conn]):
				t.Errorf("#%d: the newcomer's two frames come in two segments", ev.Conn)
			}
			if f.Masked != (ev.Dir == decode.FromClient) {
				t.Errorf("%s frame %d: masked is %v", key, f.N, f.Masked)
			}
		case decode.KindEnd:
			got[key] += "\nend " + ev.How.String()
		case decode.KindClosed:
			closed = append(closed, ev.Conn)
			if ev.Totals.Code != 1000 || ev.Totals.By != decode.FromClient {
				t.Errorf("#%d: closed %d by %v, want 1000 by client", ev.Conn, ev.Totals.Code, ev.Totals.By)
			}
		}
		for _, v := range ev.Violations {
			t.Errorf("%s: %v: %s", key, v.Rule.ID, v.Text)
		}
	})}}, decode.Look{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("it takes %v, want 3s or less", d)
	}
	if want := []int64{1, 2, 3}; !slices.Equal(closed, want) {
		t.Errorf("sessions closed in the order %v, want %v", closed, want)
	}
	for _, want := range transcript {
		key, rest := want[:4], want[4:]
		if got[key] != rest {
			t.Errorf("%s sends:\n%s\nwant:\n%s", key, got[key], rest)
		}
	}
}

func TestRunWithoutSink(t *testing.T) {
	if err := Run(t.Context(), nil, decode.Look{}, nil); err != nil {
		t.Error(err)
	}
}

func TestRunEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := Run(ctx, decode.SinkFunc(func(ev *decode.Event) {
		if ev.Kind == decode.KindFrame {
			cancel()
		}
	}), decode.Look{}, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
}
