package proxy

import "time"

// write is the writer of an outbox. It ends when the outbox is closed and what
// is left is written, or when dst can't be written to.
func (o *outbox) write(dst destination, s *session) {
	defer close(o.done)
	var batch []byte
	for {
		items, wait, ok := o.next()
		if !ok {
			return
		}
		if len(items) == 0 {
			o.sleep(wait)
			continue
		}
		now := s.now()
		for i := range items {
			s.Sent(o.dir, now, items[i].b, items[i].change)
		}
		b := items[0].b
		if len(items) > 1 { // one write
			batch = batch[:0]
			for i := range items {
				batch = append(batch, items[i].b...)
			}
			b = batch
		}
		_, err := dst.Write(b)
		o.wrote(items, err)
	}
}

// sleep waits for something to do, for no longer than d unless that is 0.
func (o *outbox) sleep(d time.Duration) {
	if d == 0 {
		<-o.wake
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-o.wake:
	case <-t.C:
	}
}

// next takes from the outbox what the writer is to write now. If that is
// nothing, wait says when to ask again, unless woken before; 0 means never. ok
// is false at the end.
func (o *outbox) next() (items []item, wait time.Duration, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.giveUpUrgent()
	o.stall = 0
	switch {
	case o.err != nil:
		return nil, 0, false
	case len(o.direct) > 0: // the relay is about to write
		return nil, 0, true
	case o.urgentNow():
		items, o.urgent = o.urgent, nil
	case len(o.queue) == 0:
		return nil, 0, !o.closed
	case o.stalled.After(now):
		return nil, o.stalled.Sub(now), true
	case o.queue[0].held(now):
		return nil, o.queue[0].until.Sub(now), true
	default:
		n := 1
		for size := len(o.queue[0].b); n < len(o.queue) && !o.queue[n].held(now) && o.queue[n-1].stall == 0; n++ {
			if o.queue[n-1].ends && len(o.urgent) > 0 {
				break
			}
			if size += len(o.queue[n].b); size > maxBatch {
				break
			}
		}
		items, o.queue = o.queue[:n:n], o.queue[n:]
		o.stall = items[n-1].stall
	}
	o.writing = true
	return items, 0, true
}

// urgentNow reports whether something urgent can be written now: what was written
// ends with a frame, or nothing will come that ends it.
func (o *outbox) urgentNow() bool {
	return len(o.urgent) > 0 && (!o.midway || o.cutOff())
}

// cutOff reports whether what was written ends inside a frame whose end will not
// come through the outbox.
func (o *outbox) cutOff() bool {
	return o.midway && (o.lost || o.closed) && len(o.queue)+len(o.direct) == 0 && !o.writing
}

// giveUpUrgent drops injections that wait for the end of a frame when there will
// be none. What came is left; only what a gate has made of the frame in front of
// it can have no end.
func (o *outbox) giveUpUrgent() {
	if len(o.urgent) == 0 || !o.cutOff() {
		return
	}
	came := o.urgent[:0]
	for _, it := range o.urgent {
		if it.asCame {
			came = append(came, it)
		} else {
			o.extra -= len(it.b)
		}
	}
	o.urgent = came
	signal(o.progress)
}

// wrote notes that the writer has written items, or could not.
func (o *outbox) wrote(items []item, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range items {
		if items[i].urgent {
			o.extra -= len(items[i].b)
		} else {
			o.size -= len(items[i].b)
		}
	}
	o.writing, o.midway = false, !items[len(items)-1].ends
	if o.stalled = (time.Time{}); o.stall > 0 {
		o.stalled = time.Now().Add(o.stall)
	}
	clear(items)
	if err != nil {
		o.err = errWrite
	}
	signal(o.progress)
}

// busy reports whether the writer writes or is about to.
func (o *outbox) busy() bool {
	return o.writing || o.urgentNow() || len(o.queue) > 0 && !o.inStall() && !o.queue[0].held(time.Now())
}
