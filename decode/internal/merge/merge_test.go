package merge

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// play plays sessions whose steps are at these seconds, and returns which had its turn,
// in order.
func play(ctx context.Context, sessions [][]int, after func(turns int) error) (order []int, err error) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	open := 0
	err = Play(ctx, len(sessions), func(i int) time.Time { return at(sessions[i][0]) }, func(i int) Session {
		return func(yield func(time.Time) bool) {
			open++
			defer func() { open-- }()
			order = append(order, i)
			for _, s := range sessions[i][1:] {
				if !yield(at(s)) {
					return
				}
				order = append(order, i)
			}
		}
	}, func() error { return after(len(order)) })
	if open != 0 {
		err = errors.Join(err, errors.New("a session was left"))
	}
	return order, err
}

func goOn(int) error { return nil }

func TestPlay(t *testing.T) {
	for _, c := range []struct {
		sessions [][]int
		want     []int
	}{
		{nil, nil},
		{[][]int{{5}, {3}, {4}}, []int{1, 2, 0}},
		{[][]int{{1, 4, 6}, {2, 5, 7}, {3}}, []int{0, 1, 2, 0, 1, 0, 1}},
		{[][]int{{1, 1, 1}, {1, 1, 1}}, []int{0, 1, 0, 0, 1, 1}},
		{[][]int{{5, 1, 1}, {6}}, []int{0, 0, 0, 1}}, // backwards is at once
	} {
		if got, err := play(t.Context(), c.sessions, goOn); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%d: got %d, %v, want %d", c.sessions, got, err, c.want)
		}
	}
}

// TestMany begins no more at the same time than it may.
func TestMany(t *testing.T) {
	sessions := make([][]int, 3*MaxOpen)
	for i := range sessions {
		sessions[i] = []int{i, 1000}
	}
	got, err := play(t.Context(), sessions, goOn)
	if err != nil || len(got) != 2*len(sessions) || slices.Index(got, MaxOpen) != MaxOpen+1 || got[MaxOpen] != 0 {
		t.Errorf("got %d turns, %v", len(got), err)
	}
}

func TestStop(t *testing.T) {
	enough := errors.New("enough")
	sessions := [][]int{{1, 2, 3}, {1, 2, 3}}
	if got, err := play(t.Context(), sessions, func(turns int) error {
		if turns == 3 {
			return enough
		}
		return nil
	}); err != enough || len(got) != 3 {
		t.Errorf("got %d, %v", got, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if got, err := play(ctx, sessions, goOn); err != enough || len(got) != 0 {
		t.Errorf("got %d, %v", got, err)
	}
}
