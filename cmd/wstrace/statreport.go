package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/render"
)

// A statReport is statistics as text: a table with a column for each side, and
// lines below it.
type statReport struct {
	*statistics
	strings.Builder
}

const (
	statNameWidth = 30
	statSideWidth = 25
)

func (s *statistics) writeText() error {
	r := statReport{statistics: s}
	r.head()
	if s.frames() > 0 || s.messages() > 0 {
		r.row("", "client >", "server <")
		r.counts()
		r.speeds()
		r.compression()
		r.histogram()
	}
	r.http()
	r.closes()
	_, err := s.w.Write([]byte(r.String()))
	return err
}

// both calls f for each side.
func (s *statistics) both(f func(*sideStatistics) string) [2]string {
	return [2]string{f(&s.sides[decode.FromClient]), f(&s.sides[decode.FromServer])}
}

func (s *statistics) frames() int64 {
	return s.sides[0].frameCount() + s.sides[1].frameCount()
}

func (s *statistics) messages() int64 {
	return s.sides[0].messageCount() + s.sides[1].messageCount()
}

func (s *sideStatistics) frameCount() (n int64) {
	for _, of := range s.frames {
		n += of
	}
	return n
}

func (s *sideStatistics) messageCount() int64 { return s.messages[0] + s.messages[1] }

func (s *sideStatistics) savings() (all decode.Savings) {
	for _, z := range s.deflate {
		all.Messages += z.Messages
		all.Wire += z.Wire
		all.Len += z.Len
	}
	return all
}

func (r *statReport) line(format string, args ...any) {
	r.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}

func (r *statReport) row(name, client, server string) {
	r.line("%-*s%*s%*s", statNameWidth, name, statSideWidth, client, statSideWidth, server)
}

// side adds a row with what f returns for each side, unless neither has any.
func (r *statReport) side(name string, f func(*sideStatistics) string) {
	if v := r.both(f); v != [2]string{"", ""} && v != [2]string{"0", "0"} {
		for i := range v {
			if v[i] == "" {
				v[i] = "-"
			}
		}
		r.row(name, v[0], v[1])
	}
}

func (r *statReport) head() {
	s := plural(r.sessions, "session")
	if r.sessions > r.websocket && r.websocket > 0 {
		s += ", " + number(r.websocket) + " of them WebSocket"
	}
	if r.sessions > 0 {
		s += fmt.Sprintf(", from %s to %s: %s", clockOf(r.first), clockOf(r.last), took(int64(r.last.Sub(r.first))))
	}
	r.line("%s", s)
}

func clockOf(t time.Time) string { return t.Local().Format("15:04:05.000") }

func number(n int64) string { return strconv.FormatInt(n, 10) }

// took returns a duration in nanoseconds as a person would say it.
func took(n int64) string {
	if d := time.Duration(n); d < 50*time.Microsecond && d > 0 {
		return strings.NewReplacer("ns", " ns", "µs", " µs").Replace(round(d).String())
	}
	return string(render.AppendDuration(nil, time.Duration(n)))
}

// inSeconds is took for a timeout, which people set in seconds.
func inSeconds(n int64) string {
	if d := time.Duration(n); d >= 50*time.Second && d < 10*time.Minute {
		return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', -1, 64) + " s"
	}
	return took(n)
}

func inBytes(n int64) string { return string(render.AppendSize(nil, n)) }

func (r *statReport) counts() {
	r.side("frames", func(s *sideStatistics) string { return number(s.frameCount()) })
	for op := range 16 {
		r.side("  "+decode.OpName(ws.OpCode(op)), func(s *sideStatistics) string { return number(s.frames[op]) })
	}
	name := "bytes of frames"
	switch {
	case r.bare && r.frames() > 0:
		name = "bytes of frames or messages"
	case r.bare:
		name = "bytes of messages"
	}
	r.side(name, func(s *sideStatistics) string { return inBytes(s.bytes) })
	r.side("messages", func(s *sideStatistics) string { return number(s.messageCount()) })
	for i, op := range [...]string{"text", "binary"} {
		r.side("  "+op, func(s *sideStatistics) string { return number(s.messages[i]) })
	}
	r.side("  not inflated", func(s *sideStatistics) string { return number(s.unread) })
	r.spread("message size", inBytes, func(s *sideStatistics) *histogram { return &s.sizes })
}

// spread adds rows on a histogram of each side.
func (r *statReport) spread(name string, show func(int64) string, of func(*sideStatistics) *histogram) {
	if most := max(of(&r.sides[0]).n, of(&r.sides[1]).n); most == 0 {
		return
	} else if most == 1 {
		r.side(name, func(s *sideStatistics) string {
			if h := of(s); h.n > 0 {
				return show(h.min)
			}
			return ""
		})
		return
	}
	for _, row := range []struct {
		name string
		of   func(*histogram) int64
	}{
		{name + ", min", func(h *histogram) int64 { return h.min }},
		{"  median", func(h *histogram) int64 { return h.at(0.5) }},
		{"  p99", func(h *histogram) int64 { return h.at(0.99) }},
		{"  max", func(h *histogram) int64 { return h.max }},
	} {
		r.side(row.name, func(s *sideStatistics) string {
			if h := of(s); h.n > 0 {
				return show(row.of(h))
			}
			return ""
		})
	}
}

func (r *statReport) speeds() {
	if span := r.last.Sub(r.first); span > 0 {
		r.side("messages a second", func(s *sideStatistics) string { n, _ := s.rates(span); return short(n) })
		r.side("  peak", func(s *sideStatistics) string { return number(s.busy.mostMessages) })
		r.side("bytes a second", func(s *sideStatistics) string { _, n := s.rates(span); return inBytes(int64(n)) })
		r.side("  peak", func(s *sideStatistics) string { return inBytes(s.busy.mostBytes) })
	}
	r.spread("gap between messages", took, func(s *sideStatistics) *histogram { return &s.gaps })
	r.spread("answer to the other side", took, func(s *sideStatistics) *histogram { return &s.answers })
	r.spread("ping to pong", took, func(s *sideStatistics) *histogram { return &s.rtts })
	r.side("  pings without a pong", func(s *sideStatistics) string { return number(s.missing) })
}

// short returns x with two figures or a little more.
func short(x float64) string {
	if x < 9.95 {
		return strconv.FormatFloat(x, 'g', 2, 64)
	}
	return strconv.FormatFloat(x, 'f', 0, 64)
}

// gain says what compression made of so many bytes.
func gain(z decode.Savings) string {
	if z.Messages == 0 || z.Len == 0 {
		return ""
	}
	return fmt.Sprintf("%s to %s, %d %%", inBytes(z.Len), inBytes(z.Wire), int64(math.Round(float64(z.Wire)*100/float64(z.Len))))
}

func (r *statReport) compression() {
	r.side("compressed messages", func(s *sideStatistics) string { return number(s.savings().Messages) })
	r.side("  all", func(s *sideStatistics) string { return gain(s.savings()) })
	for i := range sizeSteps {
		r.side("  "+stepName(i), func(s *sideStatistics) string { return gain(s.deflate[i]) })
	}
}

// stepName returns the sizes of a row.
func stepName(i int) string {
	from := sizeSteps[i]
	switch {
	case from == 0:
		return "0 B"
	case i == len(sizeSteps)-1:
		return "from " + binarySize(from)
	case from < 1<<10:
		return fmt.Sprintf("%d to %d B", from, sizeSteps[i+1]-1)
	}
	return binarySize(from) + " to " + binarySize(sizeSteps[i+1])
}

func binarySize(n int64) string {
	if n < 1<<20 {
		return number(n>>10) + " KiB"
	}
	return number(n>>20) + " MiB"
}

// stepEnd returns the largest size of a row.
func stepEnd(i int) int64 {
	if i == len(sizeSteps)-1 {
		return math.MaxInt64
	}
	return sizeSteps[i+1] - 1
}

// histogram adds how many messages have which size.
func (r *statReport) histogram() {
	var counts [2][len(sizeSteps)]int64
	most := int64(0)
	for d := range counts {
		for i := range sizeSteps {
			n := r.sides[d].sizes.between(sizeSteps[i], stepEnd(i))
			counts[d][i], most = n, max(most, n)
		}
	}
	if most == 0 {
		return
	}
	r.row("messages by size", "", "")
	for i := range sizeSteps {
		if c, s := counts[0][i], counts[1][i]; c+s > 0 {
			r.row("  "+stepName(i), bar(c, most), bar(s, most))
		}
	}
}

// bar returns a number with a bar in front that is as long as it is large.
func bar(n, most int64) string {
	if n == 0 {
		return ""
	}
	const width = 10
	return strings.Repeat("#", max(int(n*width/most), 1)) + fmt.Sprintf(" %8d", n)
}

// http adds lines on HTTP beside, and on upgrades that were refused.
func (r *statReport) http() {
	if x := &r.exchanges; x.n > 0 {
		r.line("%s%s, %s; median %s, p99 %s, max %s", plural(x.n, "HTTP request"), x.String(), statuses(x.statuses),
			took(x.took.at(0.5)), took(x.took.at(0.99)), took(x.took.max))
	}
	if len(r.refused) > 0 {
		n := int64(0)
		for _, of := range r.refused {
			n += of
		}
		r.line("%s not granted, %s", plural(n, "upgrade"), statuses(r.refused))
	}
	if r.tunnels.n > 0 {
		r.line("%s%s", plural(r.tunnels.n, "tunnel"), r.tunnels.String())
	}
}

// statuses returns "200 ×9, 404".
func statuses(n map[int]int64) string {
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(n)) {
		name := number(int64(status))
		if status == 0 {
			name = "no answer"
		}
		if n[status] > 1 {
			name += " ×" + number(n[status])
		}
		parts = append(parts, name)
	}
	return strings.Join(parts, ", ")
}

// closes adds how sessions ended, and what may have ended them.
func (r *statReport) closes() {
	for _, key := range r.endings() {
		end := r.ends[key]
		idle := "idle before for " + inSeconds(end.idle.max)
		if least := inSeconds(end.idle.min); !strings.HasSuffix(idle, " "+least) {
			idle = fmt.Sprintf("idle before for %s to %s", least, inSeconds(end.idle.max))
		}
		r.line("closed %-28s %s, %s", key.String(), plural(end.n, "session"), idle)
		slices.SortStableFunc(end.suspects, func(a, b suspect) int { return cmp.Compare(b.n, a.n) })
		for i, s := range end.suspects {
			if i == maxSuspects {
				r.line("  and %d others", len(end.suspects)-i)
				break
			}
			r.line("  %s", s.String(end.n))
		}
	}
}

// maxSuspects is how many are named for one way to end.
const maxSuspects = 6

func (e ending) String() string {
	s := number(int64(e.code))
	switch e.code {
	case otherCode:
		s = "with other codes"
	case 0:
		s = "(code not known)"
	case decode.CodeAbnormal:
		s = "without a Close"
	}
	if e.by != "" {
		s += byText(e.by)
	}
	return s
}

var sinceNames = [...]string{
	decode.SinceAny:    "without a byte of either side",
	decode.SinceServer: "without a byte of the server",
	decode.SinceClient: "without a byte of the client",
	decode.SinceOpened: "after the beginning",
}

// String says what a limit has to do with n sessions that ended.
func (s suspect) String(n int64) string {
	text := fmt.Sprintf("looks like %s: %s %s", s.Of, inSeconds(int64(s.After)), sinceNames[s.Since])
	if s.Setting == "" {
		text += ", fixed"
	} else {
		text += ", set by " + s.Setting
	}
	if s.n < n {
		text += fmt.Sprintf(" (%d of %d)", s.n, n)
	}
	if s.pinged == 0 && s.Since != decode.SinceOpened {
		text += "; no ping was sent"
	}
	return text
}

// Statistics as stat -o json writes them; times are in seconds.
type (
	statDocument struct {
		Sessions  int64         `json:"sessions"`
		WebSocket int64         `json:"websocket"`
		From      *time.Time    `json:"from,omitempty"`
		To        *time.Time    `json:"to,omitempty"`
		Seconds   float64       `json:"seconds"`
		Client    statSide      `json:"client"`
		Server    statSide      `json:"server"`
		HTTP      *statHTTP     `json:"http,omitempty"`
		Refused   map[int]int64 `json:"refused,omitempty"` // upgrades, by status
		Tunnels   *statPlain    `json:"tunnels,omitempty"`
		Closed    []statEnd     `json:"closed,omitempty"`
	}
	statSide struct {
		Frames      map[string]int64  `json:"frames"` // by opcode
		Bytes       int64             `json:"bytes"`
		Text        int64             `json:"text"` // messages
		Binary      int64             `json:"binary"`
		Unread      int64             `json:"unread,omitempty"` // messages that can't be inflated
		Size        *statSpread       `json:"size,omitempty"`
		Rate        statRate          `json:"rate"`
		Gap         *statSpread       `json:"gap,omitempty"`
		Answer      *statSpread       `json:"answer,omitempty"`
		RTT         *statSpread       `json:"rtt,omitempty"`
		Missing     int64             `json:"pongs_missing,omitempty"`
		Compression []statCompression `json:"compression,omitempty"`
	}
	statSpread struct {
		N         int64        `json:"n"`
		Min       float64      `json:"min"`
		Median    float64      `json:"median"`
		P99       float64      `json:"p99"`
		Max       float64      `json:"max"`
		Histogram [][3]float64 `json:"histogram"` // from, to, n
	}
	statRate struct {
		Messages     float64 `json:"messages"` // a second
		Bytes        float64 `json:"bytes"`
		MostMessages int64   `json:"peak_messages"` // in any second
		MostBytes    int64   `json:"peak_bytes"`
	}
	statCompression struct {
		From     int64  `json:"from"` // inflated size, in bytes
		To       *int64 `json:"to,omitempty"`
		Messages int64  `json:"messages"`
		Wire     int64  `json:"wire"`
		Len      int64  `json:"len"`
	}
	statPlain struct {
		N     int64 `json:"n"`
		Bytes int64 `json:"bytes"`
	}
	statHTTP struct {
		statPlain
		Status map[int]int64 `json:"status"`
		Took   *statSpread   `json:"took"`
	}
	statEnd struct {
		Code     int           `json:"code,omitempty"`
		By       string        `json:"by,omitempty"`
		N        int64         `json:"n"`
		Idle     *statSpread   `json:"idle"`
		Suspects []statSuspect `json:"suspects,omitempty"`
	}
	statSuspect struct {
		Name    string  `json:"name"`
		Limit   float64 `json:"limit"`
		Since   string  `json:"since"`
		Setting string  `json:"setting,omitempty"`
		N       int64   `json:"n"`
		Pinged  int64   `json:"pinged"`
	}
)

// document returns a histogram whose values are so many of the unit that is written.
func (h *histogram) document(unit float64) *statSpread {
	if h.n == 0 {
		return nil
	}
	d := &statSpread{h.n, float64(h.min) / unit, float64(h.at(0.5)) / unit, float64(h.at(0.99)) / unit, float64(h.max) / unit, nil}
	for i, n := range h.buckets {
		if n > 0 {
			from, to := bucketRange(i)
			d.Histogram = append(d.Histogram, [3]float64{float64(from) / unit, float64(to) / unit, float64(n)})
		}
	}
	return d
}

func (s *sideStatistics) document(span time.Duration) statSide {
	d := statSide{Frames: map[string]int64{}, Bytes: s.bytes, Text: s.messages[0], Binary: s.messages[1], Unread: s.unread,
		Size: s.sizes.document(1), Gap: s.gaps.document(1e9), Answer: s.answers.document(1e9), RTT: s.rtts.document(1e9), Missing: s.missing,
		Rate: statRate{MostMessages: s.busy.mostMessages, MostBytes: s.busy.mostBytes}}
	for op, n := range s.frames {
		if n > 0 {
			d.Frames[decode.OpName(ws.OpCode(op))] = n
		}
	}
	d.Rate.Messages, d.Rate.Bytes = s.rates(span)
	for i, z := range s.deflate {
		if z.Messages == 0 {
			continue
		}
		c := statCompression{sizeSteps[i], nil, z.Messages, z.Wire, z.Len}
		if to := stepEnd(i); to < math.MaxInt64 {
			c.To = &to
		}
		d.Compression = append(d.Compression, c)
	}
	return d
}

func (s *statistics) writeJSON() error {
	d := statDocument{Sessions: s.sessions, WebSocket: s.websocket, Seconds: s.last.Sub(s.first).Seconds(), Refused: s.refused}
	if s.sessions > 0 {
		d.From, d.To = &s.first, &s.last
	}
	d.Client, d.Server = s.sides[decode.FromClient].document(s.last.Sub(s.first)), s.sides[decode.FromServer].document(s.last.Sub(s.first))
	if x := &s.exchanges; x.n > 0 {
		d.HTTP = &statHTTP{statPlain{x.n, x.bytes}, x.statuses, x.took.document(1e9)}
	}
	if t := s.tunnels; t.n > 0 {
		d.Tunnels = &statPlain{t.n, t.bytes}
	}
	for _, key := range s.endings() {
		end := s.ends[key]
		e := statEnd{Code: key.code, By: key.by, N: end.n, Idle: end.idle.document(1e9)}
		for _, by := range end.suspects {
			since := [...]string{"any", "server", "client", "opened"}[by.Since]
			e.Suspects = append(e.Suspects, statSuspect{by.Of, by.After.Seconds(), since, by.Setting, by.n, by.pinged})
		}
		d.Closed = append(d.Closed, e)
	}
	return json.NewEncoder(s.w).Encode(d)
}
