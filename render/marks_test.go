package render

import (
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// TestMarks holds what the report marks to the bytes that the RFCs blame.
func TestMarks(t *testing.T) {
	const pmd = "permessage-deflate"
	for _, c := range []struct {
		rule, ext string
		frames    string // of the server, or of the client after >
		want      string // the bytes marked
	}{
		{"frame-rsv-set", "", "\xc1\x00", "c1"},
		{"frame-opcode-reserved", "", "\x83\x00", "83"},
		{"frame-length-not-minimal", "", "\x82\x7e\x00\x01a", "7e 00 01"},
		{"frame-length-not-minimal", "", "\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x01a", "7f 00 00 00 00 00 00 00 01"},
		{"frame-length-msb", "", "\x82\x7f\xff\x00\x00\x00\x00\x00\x00\x01a", "ff"},
		{"frame-client-unmasked", "", ">\x81\x01a", "01"},
		{"frame-server-masked", "", "\x81\x81\x0a\x0b\x0c\x0da", "0a 0b 0c 0d"},
		{"mask-key-zero", "", ">\x82\xfe\x00\x7e\x00\x00\x00\x00" + strings.Repeat("a", 126), "00 00 00 00"},
		{"frag-orphan-continuation", "", "\x80\x00", "80"},
		{"frag-interleaved", "", "\x01\x00\x82\x00", "82"},
		{"control-fragmented", "", "\x09\x00", "09"},
		{"control-too-long", "", "\x89\x7e\x00\x7e" + strings.Repeat("a", 126), "7e 00 7e"},
		{"text-invalid-utf8", "", "\x81\x04ab\xc3(", "c3"},
		{"text-invalid-utf8", "", "\x01\x02a\xe2\x80\x02\x82(", "82"}, // its first byte is in the frame before
		{"text-invalid-utf8", "", "\x01\x02ab\x89\x00\x80\x03\xc3\xbc\xff", "ff"},
		{"text-invalid-utf8", "", "\x81\x12" + strings.Repeat("a", 17) + "\xff", "ff"},
		{"text-utf8-cut", "", "\x81\x03a\xe2\x82", "e2"},
		{"close-body-one-byte", "", "\x88\x01\x03", "03"},
		{"close-code-forbidden", "", "\x88\x02\x03\xed", "03 ed"},
		{"close-code-out-of-range", "", "\x88\x03\x13\x88!", "13 88"},
		{"close-code-unassigned", "", "\x88\x02\x03\xec", "03 ec"},
		{"close-reason-invalid-utf8", "", "\x88\x05\x03\xe8a\xffb", "ff"},
		{"close-twice", "", "\x88\x00\x88\x00", "88"},
		{"data-after-close", "", "\x88\x00\x82\x00", "82"},
		{"pmd-rsv1-control", pmd, "\xc9\x00", "c9"},
		{"pmd-rsv1-continuation", pmd, "\x41\x03\xf2\x48\xcd\xc0\x04\xc9\xc9\x07\x00", "c0"},
		{"pmd-tail-not-stripped", pmd, "\xc1\x0b\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff", "00 00 ff ff"},
		{"pmd-inflate-failed", pmd, "\xc1\x08\x00\x01\x00\xfe\xffa\x06\x00", "06"},
		{"pmd-bfinal", pmd, "\xc1\x13\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "f3"},
		{"pmd-bfinal", pmd, "\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "f3"},
	} {
		var out strings.Builder
		r := NewReport(&out, Options{Preview: 80}, decode.SeverityInfo)
		s := &decode.Session{Sink: r, Look: decode.Look{Messages: true, Advice: true}}
		s.Open(decode.Info{Conn: 1, Ext: c.ext})
		s.Upgraded()
		if b, client := strings.CutPrefix(c.frames, ">"); client {
			s.Data(decode.FromClient, time.Time{}, []byte(b))
		} else {
			s.Data(decode.FromServer, time.Time{}, []byte(b))
		}
		s.End(decode.FromServer, time.Time{}, decode.EndLocal, "")
		s.End(decode.FromClient, time.Time{}, decode.EndLocal, "")
		r.End()
		if got := marked(out.String(), c.rule); got != c.want {
			t.Errorf("%s: got %q marked, want %q, in\n%s", c.rule, got, c.want, out.String())
		}
	}
}

// marked returns the bytes that stand above the marks of a rule.
func marked(report, rule string) string {
	_, rest, _ := strings.Cut(report, " "+rule)
	lines := strings.Split(rest, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "  error ") || strings.HasPrefix(l, "  warning ") || strings.HasPrefix(l, "  info ") {
			break
		}
		if !strings.Contains(l, "^^") {
			continue
		}
		var bytes []string
		for at := 0; at < len(l); at++ {
			if l[at] == '^' {
				bytes = append(bytes, lines[i-1][at:at+2])
				at++
			}
		}
		return strings.Join(bytes, " ")
	}
	return ""
}
