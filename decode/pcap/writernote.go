package pcap

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// notes are comments for packets that come.
type notes struct {
	list []note
	more int // that had no room
}

// A note belongs to the packet with the byte before offset at. If that is negative, it
// belongs to the last of what comes next, or with atFirst to the first.
type note struct {
	at   int64
	text string
}

const atFirst = -2

// Limits of comments.
const (
	maxNotes   = 32
	maxComment = 4096 // bytes
)

func (n *notes) add(at int64, text string) {
	if len(n.list) >= maxNotes && at != atFirst { // which readers need
		n.more++
		return
	}
	n.list = append(n.list, note{at, clean(text, maxComment)})
}

// take returns the notes up to an offset, or those that are left if last is set.
func (n *notes) take(offset int64, last bool) (comments []string) {
	left := n.list[:0]
	for _, x := range n.list {
		if last || x.at == atFirst || x.at >= 0 && x.at <= offset {
			comments = append(comments, x.text)
		} else {
			left = append(left, x)
		}
	}
	n.list = left
	if last && n.more > 0 {
		comments = append(comments, fmt.Sprintf("and %d more", n.more))
		n.more = 0
	}
	if len(n.list) == 0 {
		n.list = nil // an idle session keeps no buffer
	}
	return comments
}

// clean returns s without what a comment or a name can't have, and no longer than most
// bytes.
func clean(s string, most int) string {
	b := decode.AppendEscaped(nil, []byte(s[:min(len(s), most)]), false)
	return string(decode.WholeChars(b[:min(len(b), most)]))
}

// findingPrefix begins the comments that are violations, so that Wireshark can filter
// for them alone.
const findingPrefix = "finding: "

// note notes what ev tells besides bytes.
func (w *Writer) note(s *session, ev *decode.Event) {
	n, at := &s.notes[0], int64(-1)
	if ev.Out {
		n = &s.notes[1]
	}
	switch ev.Kind {
	case decode.KindFrame:
		if f := ev.Frame; !ev.Out {
			at = f.Offset + int64(len(f.Head)) + f.At + int64(f.Len())
		}
		if ev.Fate != (decode.Fate{}) && !ev.Frame.More {
			n.add(at, fate(ev))
		}
	case decode.KindOpaque:
		n.add(at, fmt.Sprintf("from here on not decoded: %s", ev.Text))
	case decode.KindJunk:
		if !s.junk[ev.Dir] {
			s.junk[ev.Dir] = true
			n.add(at, fmt.Sprintf("%s: %s", ev.Dir, ev.Text))
		}
	case decode.KindNotice:
		n.add(at, ev.Text)
	case decode.KindEnd:
		if text := ended(ev); text != "" {
			n.add(at, text)
		}
	}
	for i := range ev.Violations {
		v := &ev.Violations[i]
		text := fmt.Sprintf("%s%s: %s", findingPrefix, v.Severity, v)
		if v.Frame >= 0 {
			text = fmt.Sprintf("%s%s in frame %d: %s", findingPrefix, v.Severity, v.Frame, v)
		}
		n.add(at, text)
	}
}

// fate says what became of a frame, or why it was sent.
func fate(ev *decode.Event) string {
	text := "sent by wstrace"
	if !ev.Out {
		text = fmt.Sprintf("frame %d, %s", ev.Frame.N, cmp.Or(ev.Fate.FX.String(), "as it came"))
	}
	if ev.Fate.Change != "" {
		text += ": " + ev.Fate.Change
	}
	return text
}

// ended says how a direction ended, unless its side ended it in the usual way.
func ended(ev *decode.Event) string {
	who := ev.Dir.String()
	if ev.Both {
		who = "client or server"
	}
	var b strings.Builder
	switch ev.How {
	case decode.EndFIN:
	case decode.EndRST:
		fmt.Fprintf(&b, "reset by the %s", who)
	case decode.EndTLSEOF:
		fmt.Fprintf(&b, "TLS of the %s ended without close_notify", who)
	case decode.EndTimeout:
		fmt.Fprintf(&b, "ended by wstrace, and not by the %s: a time limit", who)
	case decode.EndDrop:
		fmt.Fprintf(&b, "what else the %s sent was dropped, as the other side had gone", who)
	default:
		fmt.Fprintf(&b, "ended by wstrace, and not by the %s", who)
	}
	if ev.Status != 0 {
		fmt.Fprintf(&b, "; the client was answered %d by wstrace", ev.Status)
	}
	if ev.Text != "" {
		fmt.Fprintf(&b, ": %s", ev.Text)
	}
	return strings.TrimLeft(b.String(), ";: ")
}

// verdict says how a WebSocket connection was closed; "" for other sessions.
func verdict(ev *decode.Event) string {
	t := ev.Totals
	if ev.Handshake == nil || !ev.Handshake.Accepted {
		return ""
	}
	var b strings.Builder
	b.WriteString("closed")
	if t.Code != 0 || t.Said {
		fmt.Fprintf(&b, " %s", decode.CloseName(t.Code))
	}
	if who := t.Closer(); who != "" {
		fmt.Fprintf(&b, " by %s", who)
	}
	if t.Reason != "" {
		fmt.Fprintf(&b, " %q", t.Reason)
	}
	fmt.Fprintf(&b, " after %v", t.Closed.Sub(t.Opened).Round(time.Microsecond))
	switch n := t.Violations(); {
	case n == 1:
		b.WriteString(", 1 violation")
	case n > 1:
		fmt.Fprintf(&b, ", %d violations", n)
	}
	return b.String()
}
