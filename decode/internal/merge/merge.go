// Package merge plays sessions that a file has one after the other in the order of
// their times, as they were live.
package merge

import (
	"container/heap"
	"context"
	"iter"
	"slices"
	"time"
)

// MaxOpen is how many sessions are played at the same time: each of them may read
// the file by itself. Beyond that, one begins when another has ended, whatever its
// time.
const MaxOpen = 128

// A Session yields, before each of its steps, when that happened. A time before the
// one that it yielded last counts as that.
type Session = iter.Seq[time.Time]

// Play plays n sessions until all have ended, or ctx is done, of which it returns the
// cause, or after returns an error. starts returns when session i begins, and begin
// is called then. after is called after each step.
func Play(ctx context.Context, n int, starts func(i int) time.Time, begin func(i int) Session, after func() error) error {
	begins := make([]int32, n) // those that have not begun, by time
	for i := range begins {
		begins[i] = int32(i)
	}
	slices.SortStableFunc(begins, func(a, b int32) int { return starts(int(a)).Compare(starts(int(b))) })
	var playing queue
	defer func() {
		for _, t := range playing {
			t.stop()
		}
	}()
	for len(begins)+len(playing) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var t *turn
		if len(begins) > 0 && len(playing) < MaxOpen && (len(playing) == 0 || !playing[0].at.Before(starts(int(begins[0])))) {
			i := begins[0]
			begins = begins[1:]
			t = &turn{i: i, at: starts(int(i))}
			t.next, t.stop = iter.Pull(begin(int(i)))
			heap.Push(&playing, t)
		} else {
			t = playing[0]
		}
		at, more := t.next()
		if at.After(t.at) {
			t.at = at
		}
		if more {
			heap.Fix(&playing, t.place)
		} else {
			heap.Remove(&playing, t.place)
		}
		if err := after(); err != nil {
			return err
		}
	}
	return nil
}

// A turn is a session that is being played.
type turn struct {
	i     int32
	at    time.Time // of its next step
	next  func() (time.Time, bool)
	stop  func()
	place int // in the queue
}

func (t *turn) before(u *turn) bool {
	if !t.at.Equal(u.at) {
		return t.at.Before(u.at)
	}
	return t.i < u.i
}

// A queue is a heap of sessions, the next one first.
type queue []*turn

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].before(q[j]) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

func (q *queue) Push(x any) {
	t := x.(*turn)
	t.place = len(*q)
	*q = append(*q, t)
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	t := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return t
}
