package decode

import (
	"slices"
	"testing"
	"time"
)

func TestSuspects(t *testing.T) {
	server := Verdict{Code: CodeAbnormal, By: FromServer}
	client := Verdict{Code: CodeAbnormal, By: FromClient}
	closed := Verdict{Code: 1001, Said: true, By: FromServer}
	for _, c := range []struct {
		v      Verdict
		before [4]time.Duration
		want   []string
	}{
		{server, [4]time.Duration{SinceAny: 60 * time.Second}, []string{"AWS ALB", "Fly.io"}},
		{server, [4]time.Duration{SinceServer: 61 * time.Second}, []string{"nginx"}},
		{server, [4]time.Duration{SinceAny: 58 * time.Second}, nil},
		{server, [4]time.Duration{SinceClient: 60 * time.Second}, []string{"Phoenix"}},
		{client, [4]time.Duration{SinceClient: 60 * time.Second, SinceServer: 60 * time.Second}, []string{"nginx"}},
		{closed, [4]time.Duration{SinceAny: 120 * time.Second, SinceServer: 60 * time.Second}, []string{"uWebSockets"}},
		{server, [4]time.Duration{SinceOpened: 4*time.Hour + time.Minute}, []string{"Azure Front Door"}},
	} {
		var got []string
		for _, l := range c.v.Suspects(nil, c.before) {
			got = append(got, l.Of)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v, %v: got %q, want %q", c.v.By, c.before, got, c.want)
		}
	}
	if !slices.IsSortedFunc(Limits, func(a, b Limit) int { return int(a.After - b.After) }) {
		t.Error("the limits are not in order")
	}
}
