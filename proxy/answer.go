package proxy

import (
	"cmp"
	"net/http"

	"github.com/wstrace/wstrace/decode"
)

// refuse fails a request that is not relayed: raw is what there is of it.
func (k *link) refuse(info decode.Info, raw []byte, err error) phase {
	s := k.open(info, nil)
	s.Data(decode.FromClient, k.client.when, raw)
	return k.fail(s, err)
}

// fail ends a session whose request is not relayed, and tells the client why
// if it is there to listen.
func (k *link) fail(s *session, err error) phase {
	now := s.now()
	f, ok := err.(*failure)
	if ok {
		s.Answer(f.status)
	}
	switch {
	case err == errGone:
		s.End(decode.FromServer, now, howEnded(k.up.ended), "")
	case !ok:
		s.End(decode.FromClient, now, howEnded(err), "")
	case f.made:
		s.End(f.dir, now, decode.EndLocal, f.text)
	case f.status == http.StatusRequestTimeout:
		s.End(decode.FromClient, now, decode.EndTimeout, f.text)
	case f.status == http.StatusGatewayTimeout:
		s.End(decode.FromServer, now, decode.EndTimeout, f.text)
	case f.status == http.StatusBadGateway:
		s.End(decode.FromServer, now, decode.EndLocal, f.text)
	default:
		s.End(decode.FromClient, now, decode.EndLocal, f.text)
	}
	s.End(decode.FromClient, now, decode.EndLocal, "")
	s.End(decode.FromServer, now, decode.EndLocal, "")
	s.Done(now)
	if ok {
		return k.answer(f.status, "text/plain", cmp.Or(f.body, f.text)+"\n")
	}
	return phaseClose
}

// answer sends the client an answer of ours and closes its connection. The
// server has nothing more to say.
func (k *link) answer(status int, contentType, body string) phase {
	k.leave()
	b := reply(status, contentType, body)
	if k.method == http.MethodHead {
		b = b[:len(b)-len(body)] // RFC 9110 §9.3.2
	}
	k.client.Write(b)
	k.client.lingerClose()
	return phaseClose
}
