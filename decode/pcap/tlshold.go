package pcap

import (
	"container/list"
	"slices"
)

// A capture may have the keys of a conversation behind its first packets. Until they
// come, what is said is held, so that it can be decrypted from its beginning then.
const (
	maxHold     = 256 << 10 // bytes of one conversation
	maxAllHolds = 32 << 20  // of all conversations
	maxWaiters  = 16        // conversations that wait for the same secret
)

// A hold is what is held of a conversation.
type hold struct {
	conn    *tlsConn
	element *list.Element // in holds.all
	cost    int
	calls   []func() // that play it
	waits   bool     // for the secret that is missing
	playing bool
}

// holds are those of all conversations.
type holds struct {
	all     list.List // of *hold, in the order in which they began
	cost    int
	waiting map[secretID][]*hold
	came    []secretID // secrets for which some wait
}

// add begins to hold a conversation.
func (h *holds) add(c *tlsConn) *hold {
	one := &hold{conn: c}
	one.element = h.all.PushBack(one)
	return one
}

// waits reports whether the conversation waits for a secret.
func (c *tlsConn) waits() bool { return c.hold != nil && c.hold.waits }

// keep keeps a call that plays n bytes. What is too much is not held any more.
func (c *tlsConn) keep(n int, call func()) {
	h, all := c.hold, &c.outer.player.held
	if h == nil || h.playing {
		return
	}
	h.calls = append(h.calls, call)
	h.cost += n + pieceCost
	all.cost += n + pieceCost
	if h.cost > maxHold {
		h.giveUp()
	}
	for all.cost > maxAllHolds {
		all.all.Front().Value.(*hold).giveUp()
	}
}

// giveUp ends the hold. A conversation that waits is passed over.
func (h *hold) giveUp() {
	if h.waits {
		h.conn.fail(place{}, PassedNoKey)
	}
	h.conn.unhold()
}

// unhold lets go of what is held.
func (c *tlsConn) unhold() {
	h, all := c.hold, &c.outer.player.held
	if h == nil {
		return
	}
	c.hold = nil
	if h.waits {
		list := all.waiting[c.missing]
		if i := slices.Index(list, h); len(list) > 1 && i >= 0 {
			all.waiting[c.missing] = slices.Delete(list, i, i+1)
		} else if i >= 0 {
			delete(all.waiting, c.missing)
		}
	}
	all.all.Remove(h.element)
	all.cost -= h.cost
}

// wait waits for the secret that is missing, if it may still come.
func (c *tlsConn) wait() bool {
	all := &c.outer.player.held
	if c.hold == nil || c.opened || len(all.waiting[c.missing]) == maxWaiters {
		return false
	}
	if all.waiting == nil {
		all.waiting = map[secretID][]*hold{}
	}
	all.waiting[c.missing] = append(all.waiting[c.missing], c.hold)
	c.hold.waits = true
	return true
}

// secret notes that a secret came.
func (h *holds) secret(id secretID) {
	if h.waiting[id] != nil {
		h.came = append(h.came, id)
	}
}

// play plays the conversations of which the secrets came.
func (h *holds) play() {
	came := h.came
	h.came = nil
	for _, id := range came {
		list := h.waiting[id]
		delete(h.waiting, id)
		for _, one := range list {
			one.play()
		}
	}
}

// play plays a conversation from its beginning.
func (h *hold) play() {
	c := h.conn
	h.waits = false
	c.drop()
	c.begin()
	h.playing = true
	for _, call := range h.calls {
		if c.outer.mode == modeTLS && !h.waits {
			call()
		}
	}
	h.playing = false
}
