package decode

import "strings"

// What is not judged because something of the session is missing. Everything
// else is: a frame whose payload is wrong is wrong wherever it stands.

// needBeginning are the rules that need the beginning of a session, as what they
// look for may lie there ([Info.Cont]).
var needBeginning = ruleSet("req-key-reused", "mask-key-seed-fixed", "reconnect-no-backoff", "mask-key-constant",
	"pong-unsolicited", "pong-payload-mismatch", "ping-absent",
	"close-missing", "close-reply-code-differs", "idle-close-60s", "tcp-reset")

// needAll are the rules that compare what comes with what came just before, or
// that say that something did not come ([Info.Piece]).
var needAll = ruleSet("req-early-data", "res-101-unsolicited", "res-client-ignored-failure", "handshake-slow",
	"mask-key-repeated", "mask-key-predictable", "frame-truncated", "violation-tolerated", "frame-after-fail",
	"frag-orphan-continuation", "frag-interleaved", "frag-unfinished", "frag-storm", "frame-buffer-split", "message-huge",
	"pong-missing", "pong-slow", "duplicate-message",
	"close-not-answered", "tcp-close-late", "tcp-client-closed-first", "tls-no-close-notify")

// needHeads are the rules, besides those whose names begin with head-, req- and res-,
// that look for what a head lacks: a source without frames may not have all of it
// ([Info.NoFrames]).
var needHeads = ruleSet("origin-missing", "handshake-slow")

func ruleSet(ids ...RuleID) map[RuleID]bool {
	m := make(map[RuleID]bool, len(ids))
	for _, id := range ids {
		if ruleByID[id] == nil {
			panic("no rule " + id)
		}
		m[id] = true
	}
	return m
}

// misses reports whether what a rule needs may be missing.
func (j *judge) misses(id RuleID) bool {
	if j.info.NoFrames {
		switch family, _, _ := strings.Cut(string(id), "-"); family {
		case "head", "req", "res":
			return true
		}
		if needHeads[id] {
			return true
		}
	}
	return j.info.incomplete() && (needBeginning[id] || j.info.Piece && needAll[id])
}
