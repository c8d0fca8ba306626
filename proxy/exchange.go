package proxy

import (
	"io"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/socks"
)

// An exchange is a request and its answer, or a tunnel. The link's goroutine
// makes it, hands it to the upstream's, and sends the request; the upstream's
// relays the answer, sets the outcome and closes answered.
type exchange struct {
	*session
	method    string // of the request; "" for a tunnel
	websocket bool   // the request asks for websocket
	keepAlive bool   // the client may go on after the answer
	sentEarly bool   // the client sent frames before the answer, which were relayed

	head    *decode.Head // what is sent in place of the head of the answer, until it was; nil if that goes as it came
	headLen int          // length of the one that came, in bytes; valid iff head is not nil

	tunnel string             // "host:port" that a tunnel leads to if the server, a proxy, opens it; "" for none
	socks  *socks.Negotiation // of which this is a turn, or nil

	answered chan struct{}
	outcome  outcome
	failure  *failure // iff outcomeRefused
}

type outcome uint8

const (
	outcomeKeep    outcome = iota // the answer is complete; another request may follow
	outcomeTunnel                 // the server has opened a tunnel, in which all begins anew
	outcomeUpgrade                // both directions are relayed from here on
	outcomeLast                   // the server ended, or the client can't be reached
	outcomeRefused                // the answer can't be relayed: failure
)

// send writes the head of a request and relays its body.
func (k *link) send(x *exchange, head []byte, body decode.Body) error {
	for {
		b := k.client.unread()
		n := body.Next(b)
		if n > 0 {
			x.Data(decode.FromClient, k.client.when, b[:n])
		}
		out := b[:n]
		if head != nil { // one write
			out, head = append(head, out...), nil
		}
		if len(out) > 0 {
			if _, err := k.up.Write(out); err != nil {
				return errWrite
			}
			k.client.use(n)
		}
		if body.Done() {
			return nil
		}
		if err := k.client.fill(); isTimeout(err) { // interrupted: the answer came first
			<-x.answered
			k.client.SetReadDeadline(time.Time{})
			if x.outcome != outcomeKeep {
				return nil
			}
		} else if err != nil {
			return err
		}
	}
}

// await reads the client while the answer to its request is under way. What a
// client sends before the 101 is taken for frames and relayed, unless it looks
// like the next request, which waits.
func (k *link) await(x *exchange) error {
	for {
		select {
		case <-x.answered:
			return nil
		default:
		}
		b := k.client.unread()
		if len(b) > 0 && x.websocket && !isNextRequest(b) && x.outlet == nil {
			if err := k.sendEarly(x); err != nil {
				return err
			}
			continue
		}
		if len(b) < k.p.maxHead() { // more can wait, and a reset is noticed
			err := k.client.fill()
			if err == nil {
				continue
			}
			if !isTimeout(err) && (err != io.EOF || len(b) == 0) {
				return err
			}
		}
		<-x.answered
		return nil
	}
}

// isNextRequest reports whether b, which follows a request that asks for
// websocket, begins like another request or can still do so.
func isNextRequest(b []byte) bool {
	for _, c := range b[:min(len(b), 2)] {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

func (k *link) sendEarly(x *exchange) error {
	x.sentEarly = true
	x.Data(decode.FromClient, k.client.when, k.client.unread())
	_, err := k.up.Write(k.client.unread())
	k.client.drop()
	if err != nil {
		return errWrite
	}
	return nil
}

// finish waits for the answer to an exchange whose request was sent, unless err
// says what kept it from being sent, and does what the outcome asks for.
func (k *link) finish(x *exchange, err error) phase {
	if err == nil {
		err = k.await(x)
	}
	switch {
	case err == nil:
	case err == errWrite:
		k.mustReset.Store(true)
		x.End(decode.FromClient, x.now(), cutShort(k.ctx.Done()), "")
	default:
		k.endClient(x, err)
	}
	<-x.answered
	k.client.SetReadDeadline(time.Time{})
	if x.outcome == outcomeLast && err == nil && k.mustReset.Load() {
		err = k.client.cause()
		k.endClient(x, err)
	}

	next := phaseClose
	switch {
	case x.outcome == outcomeUpgrade, x.outcome == outcomeKeep && (x.sentEarly || k.frameWaits(x)):
		// A client that went on after a refusal is relayed until it notices.
		k.relayed, k.clientEnded = x.session, err != nil
		return phaseRelay
	case x.outcome == outcomeTunnel && (err == nil || err == io.EOF):
		x.Done(x.now())
		return k.within(x.tunnel)
	case x.outcome == outcomeKeep && x.socks != nil && err == nil:
		return phaseNext
	case x.outcome == outcomeKeep && x.socks != nil && err == io.EOF:
		k.relayed, k.clientEnded = x.session, true
		return phaseRelay
	case x.outcome == outcomeKeep:
		if err == nil {
			next = phaseNext
		}
	case x.outcome == outcomeRefused:
		k.fail(x.session, x.failure)
	case x.outcome == outcomeLast:
		x.End(decode.FromClient, x.now(), decode.EndLocal, "")
	}
	x.Done(x.now())
	if x.outcome == outcomeLast && err == nil {
		k.client.lingerClose()
	}
	return next
}

// endClient takes the end of the client's direction, with err, before it is
// relayed.
func (k *link) endClient(x *exchange, err error) {
	recordEnd(decode.FromClient, k.client, x.session, err)
	k.up.endLike(err)
}

// frameWaits reports whether what the client has sent is a frame that has to
// wait for the answer to x, because the gate comes in only after it.
func (k *link) frameWaits(x *exchange) bool {
	b := k.client.unread()
	return x.outlet != nil && x.websocket && len(b) > 0 && !isNextRequest(b)
}
