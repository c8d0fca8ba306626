package trace

import (
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// Version is the version of the format that this package reads and writes.
const Version = 1

// A Kind says what a record is about. There may be kinds that this package
// doesn't know.
type Kind = string

const (
	KindHeader Kind = ""       // the first line of a recording
	KindOpen   Kind = "open"   // a session begins
	KindReq    Kind = "req"    // a request head
	KindRes    Kind = "res"    // a response head
	KindBody   Kind = "body"   // a piece of an HTTP body
	KindFrame  Kind = "frame"  // a frame, or its first piece
	KindMore   Kind = "more"   // a further piece of it
	KindJunk   Kind = "junk"   // bytes that belong to no frame
	KindOpaque Kind = "opaque" // bytes are not decoded from here on
	KindEnd    Kind = "end"    // a direction ended, or both
	KindDone   Kind = "done"   // the exchange is over
	KindGap    Kind = "gap"    // bytes of a capture are lost
	KindNote   Kind = "note"   // a remark

	// Derived kinds, ignored when a trace is played; but a session of which no
	// frames are known has its messages in message records.
	KindViolation Kind = "violation" // a rule was broken
	KindMessage   Kind = "message"   // a message, in place of its frames
	KindClosed    Kind = "closed"    // what a session adds up to
	KindSum       Kind = "sum"       // what a recording adds up to
)

// LegOut is the leg of a record of what was sent in place of what came.
const LegOut = "out"

// A Record is one line of a trace. Which fields mean something depends on its
// kind. A payload is at most as long as its frame; that of a frame in several
// pieces is at most [decode.MaxPiece].
type Record struct {
	Line   int       // number of the line it was read from, from 1; 0 if from none
	Offset int64     // of that line in the file, in bytes
	Time   time.Time // t0 + T; set by [Reader] only

	Kind   Kind          // k
	T      time.Duration // t
	HasT   bool          // false: as in the line before
	C      int64         // c, or conn of a violation; 0: the session opened last
	Dir    decode.Dir    // d; valid iff HasDir
	HasDir bool

	// header
	Version int
	T0      string // RFC 3339; "" stands for 1970-01-01 00:00:00 local time
	By      string
	Host    string
	Mode    string
	Run     string // of a recording in several files: the name that all of them have
	Part    int64  // which of them this is, from 1; 0 if it is the only one
	Redact  []string
	Snap    int64 // valid iff HasSnap: longer payloads were cut to this length
	HasSnap bool

	// open
	Client, Server, URL, Via string
	PID                      int64 // 0 if it is not known
	Process                  string
	Ext                      string // extensions in force without a handshake
	NoFrames                 bool   // messages: the session has message records, and no frames
	Cont                     bool   // the session goes on from the part before
	TLS                      []byte // JSON

	// req, res
	Head    *decode.Head // never nil
	RawHead bool         // Head.Raw is the head; otherwise its parts are
	Body    []byte       // the beginning of the body, of early writers; others have KindBody
	BodyLen int64        // blen: length of the whole body, here or in records of its own; 0 if not known

	// frame; the payload also of body, more, junk and message
	Op      ws.OpCode
	Fin     bool
	Rsv     byte // RSV1 is 4
	Masked  bool
	Mask    [4]byte
	LenBits int    // lenc: 7, 16 or 64; 0 for as few as needed
	Len     uint64 // as declared; of body, more and junk: as it was, if Cut
	Form    Form
	Payload []byte // unmasked
	Cut     bool   // the payload was cut when it was written
	Last    bool   // body: nothing of it follows

	// req, res, frame, more, junk; of note only Change
	Leg    string // LegOut: it was sent; otherwise it came
	FX     string // what became of what came, as [decode.FX] names it; "" if it was sent on as it came
	Change string // what decided that

	// req, res, opaque, end: a part before has it, and it stands here only so that this
	// part can be read by itself.
	Derived bool

	Inflated    []byte // =text; valid iff HasInflated
	HasInflated bool
	InflatedCut bool   // =cut: Inflated is not all of it
	Packed      string // =packed; of a message packed: the format that it is in, of which Inflated or Payload is the content

	Why               string // junk, opaque
	How, Err          string // end
	Status            int64  // end: of the answer that the proxy gave in place of the server; 0 if none
	N                 int64  // gap
	Sent, Got         int64  // done
	Text              string // note, violation
	From              string // violation
	Rule              string
	Severity, Section string
	Frame             int64 // violation; valid iff HasFrame
	HasFrame          bool
	Message           *Message // message; never nil
	Closed            *Closed  // closed; never nil
	Conns             int64    // sum
	Frames, Bytes     int64

	Extra []Member // keys that are not of this kind, in the order they came
}

// A Member is a key with its JSON value.
type Member struct {
	Key   string
	Value []byte
}

// IsHeader reports whether r is a header line.
func (r *Record) IsHeader() bool { return r.Kind == KindHeader }

// Append appends the line that r is, with its LF, to dst: keys in their fixed
// order, defaults left out.
func (r *Record) Append(dst []byte) []byte {
	switch r.Kind {
	case KindHeader:
		dst = appendInt(dst, `{"wstrace":`, int64(r.Version))
		dst = r.appendKeys(dst)
	case KindFrame:
		dst = append(dst, `{"k":"frame"`...)
		dst = r.appendFrame(dst)
	default:
		dst = append(dst, `{"k":`...)
		dst = appendString(dst, r.Kind)
		dst = r.appendKeys(dst)
	}
	for _, m := range r.Extra {
		dst = append(dst, ',')
		dst = appendString(dst, m.Key)
		dst = append(dst, ':')
		dst = append(dst, m.Value...)
	}
	return append(dst, '}', '\n')
}

// appendKeys appends the keys of the kind of r that don't have their defaults.
func (r *Record) appendKeys(dst []byte) []byte {
	keys := keysOf(r.Kind)
	for i := range keys {
		if k := &keys[i]; k.append != nil {
			dst = k.append(dst, k.lead, r)
		}
	}
	return dst
}
