package render

import (
	"io"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// changed lets a gate act on what a server sends, and tells what is sent in its
// place.
func changed(sink decode.Sink, fate decode.Fate, came, sent string) {
	c := upgraded(sink, decode.Info{Conn: 1})
	c.Gate = func(ev *decode.Event) decode.Fate {
		if ev.Kind == decode.KindFrame {
			return fate
		}
		return decode.Fate{}
	}
	c.server(came)
	c.Sent(decode.FromServer, c.now, []byte(sent), fate.Change)
}

func TestChanges(t *testing.T) {
	for _, test := range []struct {
		fate       decode.Fate
		came, sent string
		want       []string
	}{
		{decode.Fate{}, frame(0x81, "a"), "", []string{`< text  10000001      1             "a"`}},
		{decode.Fate{FX: decode.FXDrop}, frame(0x89, ""), "", []string{`< ping  10001001      0`, `~ < dropped`}},
		{decode.Fate{FX: decode.FXReplace, Change: "a\x1b\xff"}, frame(0x82, "\x00"), frame(0x8a, ""),
			[]string{`< bin   10000010      1             [00]`, `~ < replaced  change a\x1b\xff`, `~ < pong  10001010      0  change a\x1b\xff`}},
		// Text that is sent in fragments is not text that came in fragments.
		{decode.Fate{FX: decode.FXHold}, frame(0x01, "a") + frame(0x80, "b"), frame(0x02, "a") + frame(0x80, "b"),
			[]string{`< text  00000001      1             "a"`, `~ < held`, `< cont  10000000      1             "b"`, `~ < held`,
				`~ < bin   00000010      1             "a"`, `~ < cont  10000000      1             "b"`}},
	} {
		var b strings.Builder
		changed(NewCompact(&b, Options{Preview: 80}), test.fate, test.came, test.sent)
		got := strings.ReplaceAll(b.String(), "00:00:00.0000 #1 ", "")
		if want := strings.Join(test.want, "\n") + "\n"; got != want {
			t.Errorf("%+v: got\n%swant\n%s", test.fate, got, want)
		}
	}
}

// TestChangeTold has a remark on what a change did, and one of nobody's.
func TestChangeTold(t *testing.T) {
	for _, form := range []string{"compact", "fiddler", "hex"} {
		var b strings.Builder
		c := upgraded(newForm(form, &b, Options{Preview: 80}), decode.Info{Conn: 1})
		c.Changed(decode.FromClient, c.now, "set $.a 1\x1b", "passes as it came: \xff")
		c.Changed(decode.FromServer, c.now, "", "a remark")
		got := strings.ReplaceAll(strings.ReplaceAll(b.String(), "00:00:00.0000 #1 ", ""), "00:00:00:0000 #1 ", "")
		if want := "~ > passes as it came: \\xff  change set $.a 1\\x1b\n= a remark\n"; got != want {
			t.Errorf("%s: got\n%swant\n%s", form, got, want)
		}
	}
}

func TestChangesNoAllocations(t *testing.T) {
	var events []*decode.Event
	changed(decode.SinkFunc(func(ev *decode.Event) { events = append(events, ev.Clone()) }),
		decode.Fate{FX: decode.FXReplace, Change: `when text contains "a long condition" do replace /a/b/`}, frame(0x81, "hello"), frame(0x81, "good-bye"))
	for _, form := range forms {
		sink := newForm(form, io.Discard, Options{Preview: 80, Color: true})
		if n := testing.AllocsPerRun(20, func() {
			for _, ev := range events {
				if ev.Kind == decode.KindFrame {
					sink.Emit(ev)
				}
			}
		}); n != 0 && !raceEnabled() {
			t.Errorf("%s: got %v allocations, want 0", form, n)
		}
	}
}
