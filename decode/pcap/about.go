package pcap

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/wstrace/wstrace/decode"
)

// What comments of a [Writer] say of a session that is nowhere else in its capture. Who
// reads one of its captures takes that from there.
const (
	aboutSession = "session "
	aboutCont    = "it began before the recording"
	aboutFrames  = "frames without a handshake"
	aboutExt     = aboutFrames + ", with the extensions "
)

// aboutTLS begins the comments about the TLS of each leg, which is plain text here.
var aboutTLS = [legs]string{clientLeg: "TLS of the client: ", serverLeg: "TLS of the server: "}

// formatTLS formats t for a comment.
func formatTLS(t *decode.TLS) string {
	var b strings.Builder
	for _, f := range tlsFields(t) {
		if *f.value != "" && plain(*f.value) && !strings.Contains(*f.value, ", ") {
			if b.Len() > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s %s", f.name, *f.value)
		}
	}
	return cmp.Or(b.String(), "nothing more is known")
}

// parseTLS parses what formatTLS has made.
func parseTLS(s string) *decode.TLS {
	t := new(decode.TLS)
	for part := range strings.SplitSeq(s, ", ") {
		name, value, _ := strings.Cut(part, " ")
		for _, f := range tlsFields(t) {
			if f.name == name {
				*f.value = value
			}
		}
	}
	return t
}

type tlsField struct {
	name  string
	value *string
}

func tlsFields(t *decode.TLS) [4]tlsField {
	return [...]tlsField{{"version", &t.Version}, {"cipher", &t.Cipher}, {"ALPN", &t.ALPN}, {"SNI", &t.SNI}}
}

// plain reports whether s stands in a comment as it is.
func plain(s string) bool {
	return len(s) < maxComment/2 && !strings.Contains(s, `\`) && clean(s, maxComment) == s
}

// A told is what comments say of the next session of a conversation.
type told struct {
	place
	session bool // they do
	url     string
	ext     string
	cont    bool
	frames  bool
}

// tell takes a comment on the packet that comes next.
func (s *stream) tell(at place, comment string) {
	if rest, ok := strings.CutPrefix(comment, aboutSession); ok {
		rest, _, _ = strings.Cut(rest, ", of ") // a process
		_, url, _ := strings.Cut(rest, ": ")
		if !plain(url) || strings.Contains(url, " ") {
			url = ""
		}
		s.told, s.tls = told{place: at, session: true, url: url}, [legs]*decode.TLS{}
		return
	}
	for leg, prefix := range aboutTLS {
		if rest, ok := strings.CutPrefix(comment, prefix); ok && s.told.session {
			s.tls[leg] = parseTLS(rest)
		}
	}
	ext, extended := strings.CutPrefix(comment, aboutExt)
	switch {
	case !s.told.session:
	case comment == aboutCont:
		s.told.cont = true
	case extended && plain(ext), comment == aboutFrames:
		if s.client >= 0 && s.relayed == nil && len(s.queue) == 0 && s.mode != modeTLS && s.mode != modePassed {
			s.told.frames = true
			if extended {
				s.told.ext = ext
			}
			s.resetGuesses()
			s.dropHeads()
			x := s.missed(at)
			s.lacks = [2]bool{}
			x.Upgraded()
		}
	}
}

// add adds what comments say to what is known of the session that begins.
func (t *told) add(info *decode.Info) {
	if !t.session {
		return
	}
	info.URL = cmp.Or(t.url, info.URL)
	if t.frames {
		info.Time, info.Cont, info.Ext = t.time, false, t.ext
	}
	info.Cont = info.Cont || t.cont
	*t = told{}
}
