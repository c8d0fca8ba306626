package pcap

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/internal/vectors"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/render"
)

var (
	threeWays     = render.Options{Preview: 60, Time: render.TimeISO}
	threeWaysLook = decode.Look{Messages: true, Bodies: math.MaxInt64}
)

// A recorder shows a session and records it as a trace and as a capture.
type recorder struct {
	decode.Tee
	live, trace, file bytes.Buffer
	capture           *Writer
	findings          []string
}

func newRecorder() *recorder {
	r := new(recorder)
	r.capture = NewWriter(&r.file, Options{})
	r.Sinks = []decode.Sink{
		render.NewCompact(&r.live, threeWays), trace.NewWriter(&r.trace, trace.Options{}), r.capture,
		decode.SinkFunc(func(ev *decode.Event) {
			for i := range ev.Violations {
				r.findings = append(r.findings, ev.Violations[i].String())
			}
		}),
	}
	return r
}

// look is what the session looks into that is recorded.
func (r *recorder) look() decode.Look {
	look := threeWaysLook
	look.Tap = r.capture
	return look
}

// What a capture can't tell, or not in the same words.
var (
	sessionNumber = regexp.MustCompile(` #\d+ `)
	edited        = regexp.MustCompile(` → \S+|  removed .*`)
	exchangeLine  = regexp.MustCompile(`(?m)^\S+( #1 = [A-Z]+ \S+ \d+ .*?)  [\d.]+ k?B in .*$`)
	upgradeTotal  = regexp.MustCompile(`(?m)^.* upgraded to \S+: \d+ B >.*\n`)
	gap           = regexp.MustCompile(`(?m)^.* gap \d+ bytes: not recorded\n`)
)

// comparable returns text without what can't be compared. Gaps that are in neither are
// bodies.
func comparable(text string, gaps bool) string {
	text = sessionNumber.ReplaceAllString(text, " #1 ")
	text = edited.ReplaceAllString(text, "")
	text = exchangeLine.ReplaceAllString(text, "$1")
	text = upgradeTotal.ReplaceAllString(text, "")
	if !gaps {
		text = gap.ReplaceAllString(text, "")
	}
	return text
}

// compare compares what the recordings show with what was shown live. It checks that the
// capture has a comment for every finding.
func (r *recorder) compare(t *testing.T, name string) {
	t.Helper()
	if err := r.capture.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range r.findings[:min(len(r.findings), maxNotes)] {
		if comment := clean(f, maxComment); !strings.Contains(r.file.String(), comment) {
			t.Errorf("%s: the capture does not say %q", name, comment)
		}
	}
	for what, s := range map[string]decode.Source{
		"trace":   &trace.Source{R: &r.trace},
		"capture": &Source{R: bytes.NewReader(r.file.Bytes())},
	} {
		var out bytes.Buffer
		if err := s.Play(context.Background(), render.NewCompact(&out, threeWays), threeWaysLook); err != nil {
			t.Errorf("%s: %s: %v", name, what, err)
		}
		want, got := r.live.String(), out.String()
		if what == "capture" {
			gaps := gap.MatchString(want)
			want, got = comparable(want, gaps), comparable(got, gaps)
		}
		if got != want {
			t.Errorf("%s:\n%s", name, diff.Diff("live", []byte(want), what, []byte(got)))
		}
	}
}

// TestThreeWays shows every session in testdata live, from a trace and from a capture of
// it, in the same words. This is what a capture can't hold, and is not compared:
//
//   - in a trace, that an end came before a first frame that is incomplete, if there is no
//     handshake: it is not known yet that the session is WebSocket;
//   - that what came before a gap was shown at once, as in a piece of a recording;
//   - frames that were changed, as each leg is a conversation of its own, and what another
//     head was like;
//   - that it was wstrace that ended the connection, or that it is not known who did;
//   - of an exchange that did not become a WebSocket connection, when it was over and how
//     many bytes its bodies had on the way; what is missing of them is a gap;
//   - that a connection ended of which the end was not recorded, as with a head cut off.
//
// Requests whose method is not in capitals are another protocol for who reads captures.
func TestThreeWays(t *testing.T) {
	sessions := 0
	for i, v := range vectors.Load(t, "../../testdata/vectors/*.txt") {
		if v.Key != "" || len(v.Steps) == 0 || slices.ContainsFunc(v.Steps, func(s vectors.Step) bool { return s.End == "local" }) ||
			v.Name == "longest payload that can be declared" || v.Heads && notHTTP.Match(v.Steps[0].Bytes) {
			continue
		}
		sessions++
		r := newRecorder()
		info := path{port: 80}.info(i)
		info.URL, info.Ext = v.URL, v.Ext
		if v.SNI != "" {
			info.ClientTLS = &decode.TLS{SNI: strings.Trim(v.SNI, "-")}
		}
		playVector(&decode.Session{Sink: r, Look: r.look()}, v, info)
		r.compare(t, v.Name)
	}
	if sessions < 300 {
		t.Errorf("compared %d vectors, want more", sessions)
	}
	sessions = 0
	files := traces(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		all := sessionsOf(files[name])
		for _, n := range slices.Sorted(maps.Keys(all)) {
			one := all[n]
			if one.apart != "" {
				t.Logf("%s, session %d: %s", name, n, one.apart)
				continue
			}
			sessions++
			r := newRecorder()
			s := trace.Source{R: &one.file}
			if err := s.Play(context.Background(), r, r.look()); err != nil {
				t.Errorf("%s, session %d: %v", name, n, err)
				continue
			}
			r.compare(t, fmt.Sprintf("%s, session %d", name, n))
		}
	}
	if sessions < 40 {
		t.Errorf("compared %d sessions of traces, want more", sessions)
	}
}

// notHTTP matches requests that the reader of captures takes for another protocol.
var notHTTP = regexp.MustCompile(`^[A-Z]*[a-z]`)

// playVector gives a vector to a session.
func playVector(s *decode.Session, v vectors.Vector, info decode.Info) {
	info.Time, info.Via = start, "direct"
	if h, err := decode.ParseRequest(string(v.Steps[0].Bytes)); err == nil && info.URL == "" {
		info.URL = urlOf(h, info.Server)
	}
	s.Open(info)
	if !v.Heads {
		s.Upgraded()
	}
	s.Done(playSteps(s, v))
}

// urlOf returns the URL that a request asks a server for, as the reader of captures has
// it.
func urlOf(h *decode.Head, server string) string {
	addr, _ := netip.ParseAddrPort(server)
	s := stream{player: new(player), flow: &flow{key: flowKey{b: addr}}}
	return s.url(h)
}

// traces returns the traces in testdata by name, those in scripts too.
func traces(t *testing.T) map[string][]byte {
	all := map[string][]byte{}
	files, _ := filepath.Glob("../../testdata/traces/*.wst")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = b
	}
	scripts, _ := filepath.Glob("../../testdata/scripts/*.txtar")
	for _, name := range scripts {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			if filepath.Ext(f.Name) == ".wst" {
				all[filepath.Base(name)+" "+f.Name] = f.Data
			}
		}
	}
	return all
}

// A oneSession is a session of a trace that may have others.
type oneSession struct {
	file     bytes.Buffer // a trace of it alone
	writer   *trace.Writer
	url      string // that its request asks for
	request  bool
	answered bool
	frames   bool
	ended    bool   // a direction has
	apart    string // why a capture can't hold it
}

// sessionsOf returns the sessions of a trace.
func sessionsOf(b []byte) map[int64]*oneSession {
	all := map[int64]*oneSession{}
	play := func(f func(s *oneSession, ev *decode.Event)) {
		source := trace.Source{R: bytes.NewReader(b), Bad: func(error) {}}
		source.Play(context.Background(), decode.SinkFunc(func(ev *decode.Event) {
			if ev.Conn == 0 {
				return
			}
			if all[ev.Conn] == nil {
				all[ev.Conn] = new(oneSession)
			}
			f(all[ev.Conn], ev)
		}), threeWaysLook)
	}
	play(func(s *oneSession, ev *decode.Event) {
		apart := func(is bool, why string) {
			if is {
				s.apart = cmp.Or(s.apart, why)
			}
		}
		apart(ev.Info.Piece, "it is a piece of a recording")
		apart(ev.Kind == decode.KindFrame && (ev.Out || ev.Fate.FX != decode.FXNone), "frames were changed")
		switch ev.Kind {
		case decode.KindRequest:
			s.request = true
			if h := ev.Handshake.Request; h != nil {
				s.url = urlOf(h, ev.Info.Server)
			}
		case decode.KindFrame:
			s.frames = true
		case decode.KindEnd:
			s.ended = true
			apart(ev.Both || ev.How != decode.EndFIN && ev.How != decode.EndRST && ev.How != decode.EndDrop, "it is not known who ended it, or that was wstrace")
		case decode.KindResponse:
			s.answered = ev.Handshake != nil && ev.Handshake.Response != nil
		}
	})
	for _, s := range all {
		switch {
		case !s.request && !s.frames:
			s.apart = cmp.Or(s.apart, "no request and no frames")
		case !s.answered && !s.frames && !s.ended:
			s.apart = cmp.Or(s.apart, "its end was not recorded")
		}
	}
	play(func(s *oneSession, ev *decode.Event) {
		if s.writer == nil {
			s.writer = trace.NewWriter(&s.file, trace.Options{})
		}
		info := *ev.Info
		info.URL = cmp.Or(info.URL, s.url)
		ev.Info = &info
		s.writer.Emit(ev)
	})
	return all
}
