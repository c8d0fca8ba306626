package saz

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A player plays one session.
type player struct {
	decode.Session
	r      *input
	in     *stored
	number int64
	bad    func(error)

	messages *bool // set if no frames are known

	meta *meta
	now  time.Time // of the latest step

	heads    [2]*decode.Head // by Dir; the response is the final one
	counted  [2]int64        // bytes given that followed the heads
	accepted bool            // it is a WebSocket connection

	missing  [2]int64 // by Dir: of the last frame so far
	cut      [2]bool  // that ended inside its header
	unframed [2]bool  // nothing can be framed any more
	closes   [2]bool  // a Close was sent
	dropped  [2]bool  // the frame at hand was not sent on
	told     bool     // that frames were assembled
	buf      []byte
}

const chunk = 32 << 10 // bytes that a session is given at once

// play plays the session. turn is asked before each step.
func (p *player) play(turn func(time.Time) bool) {
	step := func(t time.Time) bool {
		if t.After(p.now) {
			p.now = t
		}
		return turn(p.now)
	}
	p.buf = make([]byte, chunk)
	p.readMeta()
	request, head := p.openHead(partRequest)
	p.begin(head)
	m := p.meta
	if !step(m.timer("GotRequestHeaders", "ClientBeginRequest")) {
		return
	}
	if !p.exchange(decode.FromClient, request, head, m.timer("ClientDoneRequest"), step) {
		return
	}
	response, head := p.openHead(partResponse)
	if len(head) > 0 && !step(m.timer("GotResponseHeaders", "ServerBeginResponse", "ClientBeginResponse")) {
		return
	}
	if !p.exchange(decode.FromServer, response, head, m.timer("ServerDoneResponse"), step) {
		return
	}
	if !p.frames(step) {
		return
	}
	p.end(step)
}

// readMeta reads N_m.xml, if there is one.
func (p *player) readMeta() {
	p.meta = new(meta)
	e := p.in.parts[partMeta]
	if e == nil {
		return
	}
	r, err := e.open(p.r)
	if err == nil {
		p.meta, err = readMeta(r)
	}
	if err != nil {
		p.bad(e.fail(0, err))
	}
}

// A side is what is open of an entry with a head and a body.
type side struct {
	e *entry
	r *bufio.Reader
}

// openHead opens an entry and reads the head at its beginning, which may be cut off.
func (p *player) openHead(which part) (*side, []byte) {
	e := p.in.parts[which]
	if e == nil {
		return nil, nil
	}
	r, err := e.open(p.r)
	if err != nil {
		p.bad(e.fail(0, err))
		return nil, nil
	}
	s := &side{e, bufio.NewReaderSize(r, chunk)}
	head, err := s.head()
	if err != nil {
		p.bad(e.fail(int64(len(head)), err))
	}
	return s, head
}

// head reads a head, or what there is in its place, up to the limit of a session.
func (s *side) head() ([]byte, error) {
	var head []byte
	for {
		line, err := s.r.ReadSlice('\n')
		had := len(head)
		head = append(head, line...)
		if had == 0 {
			head = respelled(head)
		}
		switch n := decode.HeadLen(head, had); {
		case n > 0:
			return head, nil
		case err == io.EOF:
			return head, nil
		case err != nil && err != bufio.ErrBufferFull:
			return head, err
		case len(head) >= decode.MaxHead:
			return head, nil
		}
	}
}

// respelled returns a start line of HTTP/2 or HTTP/3, of which there is none on the wire
// and which may lack the minor version, as one that can be parsed.
func respelled(line []byte) []byte {
	for _, proto := range [...]string{"HTTP/2", "HTTP/3"} {
		if rest, ok := bytes.CutPrefix(line, []byte(proto+" ")); ok {
			return slices.Concat([]byte(proto+".0 "), rest)
		}
		if rest, ok := bytes.CutSuffix(line, []byte(" "+proto+"\r\n")); ok {
			return slices.Concat(rest, []byte(" "+proto+".0\r\n"))
		}
	}
	return line
}

// begin opens the session.
func (p *player) begin(head []byte) {
	m := p.meta
	req := parseHead(decode.FromClient, head)
	info := decode.Info{Conn: p.number, Time: p.now, Via: "saz", Ext: m.flags[flagExt],
		Server: m.flags[flagServer], URL: m.flags[flagURL], NoFrames: m.flags[flagMessages] != ""}
	if ip := m.flags[flagClientIP]; ip != "" {
		info.Client = joinHost(strings.TrimPrefix(ip, "::ffff:"), m.flags[flagClientPort])
	}
	if name, pid, ok := strings.Cut(m.flags[flagProcess], ":"); ok {
		info.Process = name
		info.PID, _ = strconv.Atoi(pid)
		info.PID = max(info.PID, 0)
	}
	if m.flags[flagBy] == "" {
		info.Cont = p.in.parts[partFrames] != nil && (len(head) == 0 || p.in.parts[partResponse] == nil)
	} else {
		info.Cont, info.Piece = m.flags[flagCont] != "", m.flags[flagPiece] != ""
	}
	if req != nil {
		host, url := address(req, m.bits&bitHTTPS != 0)
		info.URL = cmp.Or(info.URL, url)
		info.Server = cmp.Or(info.Server, host)
	}
	*p.messages = *p.messages || info.NoFrames
	p.At(0, p.in.offset())
	p.Open(info)
	if text := m.flags[flagComments]; text != "" {
		p.Notice(p.now, text)
	}
	if p.in.parts[partGRPC] != nil {
		p.Notice(p.now, "the messages of gRPC in the archive are left out")
	}
}

// offset returns where the session stands in the file.
func (in *stored) offset() int64 {
	for _, e := range in.parts {
		if e != nil {
			return e.offset()
		}
	}
	return 0
}

// parseHead parses a whole head, or returns nil.
func parseHead(d decode.Dir, b []byte) *decode.Head {
	if decode.HeadLen(b, 0) == 0 {
		return nil
	}
	parse := decode.ParseResponse
	if d == decode.FromClient {
		parse = decode.ParseRequest
	}
	h, err := parse(string(b))
	if err != nil {
		return nil
	}
	return h
}

// address returns the server that a request is for, and its URL.
func address(h *decode.Head, tls bool) (host, url string) {
	scheme, port := "http", ":80"
	rest, path := h.Get("Host"), h.Target
	if s, r, ok := strings.Cut(h.Target, "://"); ok && h.Method != "CONNECT" {
		tls = strings.EqualFold(s, "https") || strings.EqualFold(s, "wss")
		i := strings.IndexAny(r+"/", "/?#")
		rest, path = r[:i], r[i:]
	}
	switch {
	case h.Method == "CONNECT":
		return h.Target, ""
	case rest == "":
		return "", ""
	case decode.AsksForWebSocket(h):
		scheme = "ws"
	}
	if tls {
		scheme, port = scheme+"s", ":443"
	}
	host = rest[strings.LastIndexByte(rest, '@')+1:]
	if i := strings.LastIndexByte(host, ':'); i < 0 || strings.HasSuffix(host, "]") {
		host += port
	}
	if path == "*" {
		path = ""
	}
	return host, scheme + "://" + rest + path
}

func joinHost(ip, port string) string {
	switch {
	case port == "" || port == "0":
		return ip
	case strings.Contains(ip, ":"):
		ip = "[" + ip + "]"
	}
	return ip + ":" + port
}

// exchange gives a head and the body behind it to the session. It returns false if
// there is to be no further step.
func (p *player) exchange(d decode.Dir, s *side, head []byte, bodyTime time.Time, step func(time.Time) bool) bool {
	if s == nil || len(head) == 0 {
		return true
	}
	p.At(0, s.e.offset())
	p.Data(d, p.now, head)
	h := parseHead(d, head)
	for d == decode.FromServer && h != nil && h.Status < 200 && h.Status != 101 { // an interim one
		var err error
		if head, err = s.head(); err != nil {
			p.bad(s.e.fail(0, err))
			return true
		}
		p.Data(d, p.now, head)
		h = parseHead(d, head)
	}
	p.heads[d] = h
	if h == nil {
		p.rest(d, s) // what a session makes of it
		p.FlushAll(d, p.now)
		return true
	}
	req := p.heads[decode.FromClient]
	if d == decode.FromServer {
		p.accepted = h.Status == 101 && (req == nil || decode.AsksForWebSocket(req))
	}
	if req != nil && req.Method == "CONNECT" {
		return true // what Fiddler writes behind such heads is its own
	}
	body := decode.RequestBody(h)
	if d == decode.FromServer {
		method := ""
		if req != nil {
			method = req.Method
		}
		body = decode.ResponseBody(h, method)
	}
	if body.Done() {
		p.surplus(d, s)
		return true
	}
	if !step(bodyTime) {
		return false
	}
	return p.body(d, s, h, &body, step)
}

// body gives the body of d to the session.
func (p *player) body(d decode.Dir, s *side, h *decode.Head, body *decode.Body, step func(time.Time) bool) bool {
	if start, _ := s.r.Peek(chunkLine); h.HasToken("Transfer-Encoding", "chunked") && len(start) > 0 && !chunkStart.Match(start) {
		return p.decoded(d, s, step)
	}
	got := int64(0)
	for !body.Done() {
		n, err := s.r.Read(p.buf)
		used := body.Next(p.buf[:n])
		got += int64(used)
		p.counted[d] += int64(used)
		p.Data(d, p.now, p.buf[:used])
		if used < n {
			p.tellSurplus(d)
			return true
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			p.bad(s.e.fail(int64(len(h.Raw))+got, err))
			break
		}
		if !step(p.now) {
			return false
		}
	}
	if body.Done() {
		p.surplus(d, s)
		return true
	}
	missing := p.meta.number(flagMissing + sideName(d))
	if n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64); missing == 0 && err == nil && !body.UntilClose() {
		missing = n - got
	}
	if missing > 0 {
		p.counted[d] += missing
		p.SkipBody(d, p.now, missing)
	}
	return true
}

// chunkStart is how a body in chunks begins, as far as chunkLine bytes tell.
var chunkStart = regexp.MustCompile(`^[0-9A-Fa-f]{1,16}[ \t]*(?:;|\r?\n)`)

const chunkLine = 32

// decoded gives a body to the session that was stored without the transfer coding that
// its head tells.
func (p *player) decoded(d decode.Dir, s *side, step func(time.Time) bool) bool {
	for {
		n, err := s.r.Read(p.buf)
		p.counted[d] += int64(n)
		p.Body(d, p.now, p.buf[:n], err == io.EOF)
		if err != nil {
			if err != io.EOF {
				p.bad(s.e.fail(0, err))
			}
			return true
		}
		if !step(p.now) {
			return false
		}
	}
}

func sideName(d decode.Dir) string {
	if d == decode.FromClient {
		return "request"
	}
	return "response"
}

// rest gives what follows to the session.
func (p *player) rest(d decode.Dir, s *side) {
	for {
		n, err := s.r.Read(p.buf)
		p.Data(d, p.now, p.buf[:n])
		if err != nil {
			if err != io.EOF {
				p.bad(s.e.fail(0, err))
			}
			return
		}
	}
}

// surplus tells of what stands behind the message of d and is no part of it.
func (p *player) surplus(d decode.Dir, s *side) {
	if _, err := s.r.ReadByte(); err == nil {
		p.tellSurplus(d)
	}
}

func (p *player) tellSurplus(d decode.Dir) {
	p.Notice(p.now, "what stands behind the "+sideName(d)+" in the archive is left out")
}

// frames gives the frames to the session.
func (p *player) frames(step func(time.Time) bool) bool {
	e := p.in.parts[partFrames]
	if e == nil {
		return true
	}
	r, err := e.open(p.r)
	if err != nil {
		p.bad(e.fail(0, err))
		return true
	}
	p.At(0, e.offset())
	f := &frameReader{r: bufio.NewReaderSize(r, maxHeaders)}
	for first := true; ; first = false {
		h, err := f.next(first)
		if err == io.EOF {
			return true
		}
		if err == nil {
			if !step(h.time) {
				return false
			}
			if first && !p.accepted {
				if p.heads[decode.FromServer] != nil {
					p.Notice(p.now, "the archive has frames, but the response does not upgrade the connection: they are left out")
					return true
				}
				p.accepted = true
				p.Upgraded()
			}
			err = p.frame(f, h, step)
		}
		if err == errStopped {
			return false
		}
		if err != nil {
			p.bad(e.fail(f.at, err))
			return true
		}
	}
}

var errStopped = errors.New("stopped")

// frame gives what is stored as one frame to the session.
func (p *player) frame(f *frameReader, h frameHead, step func(time.Time) bool) error {
	d := h.dir
	generated := h.bits&frameGenerated != 0
	if h.bits&frameAssembled != 0 && !p.told && !p.meta.noFrames() {
		p.told = true
		p.Notice(p.now, "the archive has messages whose fragments were put together: some of the frames were not on the wire")
	}
	if p.meta.noFrames() {
		return p.message(f, h)
	}
	if !generated {
		p.gap(d)
		p.drop(d, h.bits&frameAborted != 0)
	}
	for left := h.n; left > 0; {
		b := f.peek(left)
		total, head, known := frameLen(b)
		switch {
		case !known:
			p.unframed[d] = true
			total = left
		case p.unframed[d]:
			total = left
		case total == 0 && int64(len(b)) < left: // the archive ends
			total = left
		case total == 0:
			total = int64(head)
		}
		n := min(total, left)
		if !generated && len(b) > 0 && ws.OpCode(b[0]&15) == ws.OpClose {
			p.closes[d] = true
		}
		left -= n
		if err := p.bytes(f, d, n, generated, step); err != nil {
			return err
		}
		switch {
		case n == total:
		case generated:
			p.SentGap(d, total-n)
		case n < int64(head):
			p.cut[d] = true
		default:
			p.FlushAll(d, p.now)
			p.missing[d] = total - n
		}
	}
	return f.end()
}

func (m *meta) noFrames() bool { return m.flags[flagMessages] != "" }

// bytes gives n bytes of frames to the session.
func (p *player) bytes(f *frameReader, d decode.Dir, n int64, generated bool, step func(time.Time) bool) error {
	for n > 0 {
		b := p.buf[:min(n, chunk)]
		if err := f.read(b); err != nil {
			return err
		}
		if n -= int64(len(b)); generated {
			p.Sent(d, p.now, b, "Fiddler")
		} else {
			p.counted[d] += int64(len(b))
			p.Data(d, p.now, b)
		}
		if n > 0 && !step(p.now) {
			return errStopped
		}
	}
	return nil
}

// gap passes over what is missing of the frame before.
func (p *player) gap(d decode.Dir) {
	if p.cut[d] && !p.unframed[d] {
		p.CutHeader(d, p.now)
		p.unframed[d] = true
	}
	if n := p.missing[d]; n > 0 {
		p.missing[d] = 0
		p.counted[d] += n
		p.Gap(d, p.now, n)
	}
}

// drop says whether the frame at hand was not sent on.
func (p *player) drop(d decode.Dir, dropped bool) {
	p.dropped[d] = dropped
	if dropped && p.Gate == nil {
		p.Gate = func(ev *decode.Event) decode.Fate {
			if ev.Kind == decode.KindFrame && p.dropped[ev.Dir] {
				return decode.Fate{FX: decode.FXDrop}
			}
			return decode.Fate{}
		}
	}
}

// maxMessage is the longest message, in bytes, of which no frames are known.
const maxMessage = 64 << 20

// message gives what is stored as a frame to the session, as a message.
func (p *player) message(f *frameReader, h frameHead) error {
	b := f.peek(h.n)
	n, head, known := frameLen(b)
	if !known || n != h.n || b[1]&0x80 != 0 {
		return errors.New("no message")
	}
	if n > maxMessage {
		return errors.New("a message is longer than 64 MiB")
	}
	op := ws.OpCode(b[0] & 15)
	if err := f.read(p.buf[:head]); err != nil {
		return err
	}
	var content bytes.Buffer // grows with what is there, whatever n says
	copied, err := io.CopyN(&content, f.r, n-int64(head))
	if f.at += copied; err != nil {
		return io.ErrUnexpectedEOF
	}
	p.closes[h.dir] = p.closes[h.dir] || op == ws.OpClose
	p.counted[h.dir] += copied
	p.Message(h.dir, p.now, op, content.Bytes())
	return f.end()
}

// An ending is an end that one of our archives tells.
type ending struct {
	d      decode.Dir
	both   bool
	time   time.Time
	status int
	how    decode.End
	text   string
}

// end ends the session, as far as the archive tells.
func (p *player) end(step func(time.Time) bool) {
	ends := p.meta.endings()
	for d := range decode.Dir(2) {
		if p.cut[d] && len(ends) == 0 {
			p.gap(d)
		}
	}
	for _, e := range ends {
		if !step(e.time) {
			return
		}
		if e.status != 0 {
			p.Answer(e.status)
		}
		if e.both {
			p.EndBoth(p.now, e.how, e.text)
		} else {
			p.End(e.d, p.now, e.how, e.text)
		}
	}
	at := p.meta.timer("ClientDoneResponse", "ServerDoneResponse")
	if p.meta.flags[flagBy] != "" {
		t, ok := parseTime(p.meta.flags[flagDone])
		if !ok {
			return // nobody knows
		}
		at = t
	} else if p.accepted && !(p.closes[0] && p.closes[1]) {
		return
	} else if p.accepted {
		at = p.now
	}
	if step(at) {
		p.skip()
		p.Done(p.now)
	}
}

// skip passes over the bytes that were counted and that are not in the archive.
func (p *player) skip() {
	sent, got, _ := strings.Cut(p.meta.flags[flagBytes], " ")
	for d, text := range [...]string{sent, got} {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > p.counted[d] {
			p.Skip(decode.Dir(d), p.now, n-p.counted[d])
		}
	}
}

// endings returns the ends in their order.
func (m *meta) endings() (all []ending) {
	for _, number := range [...]string{"1", "2"} {
		f := strings.SplitN(m.flags[flagEnd+number], " ", 5)
		if len(f) < 5 {
			break
		}
		e := ending{both: f[0] == "both", text: f[4]}
		if f[0] == "server" {
			e.d = decode.FromServer
		}
		var okTime, okHow bool
		e.time, okTime = parseTime(f[1])
		e.status, _ = strconv.Atoi(f[2])
		e.how, okHow = decode.ParseEnd(f[3])
		if okTime && okHow {
			all = append(all, e)
		}
	}
	return all
}
