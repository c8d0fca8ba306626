package decode

import (
	"strings"
	"time"
)

// A Limit is how long something along the way, or a server, is known to keep a
// connection, by default.
type Limit struct {
	Of      string // "nginx"
	After   time.Duration
	Since   LimitSince
	Setting string // what changes it; "" if nothing does
	Server  bool   // it is of a server, or answers for one: it may send a Close frame

	quiet bool // a rule takes a connection that ends so long after its last frame for one that it has ended
}

// A LimitSince says from when on a [Limit] counts.
type LimitSince uint8

const (
	SinceAny    LimitSince = iota // the last byte of either side
	SinceServer                   // the last byte of the server
	SinceClient                   // the last byte of the client
	SinceOpened                   // the beginning of the session
)

// Limits are those that are known, the shortest first. Where a server has a
// heartbeat of its application, the time is its interval with the time it waits.
var Limits = []Limit{
	{"Deepgram", 10 * time.Second, SinceClient, "send KeepAlive messages", true, false},
	{"Google Cloud load balancer", 30 * time.Second, SinceOpened, "timeoutSec of the backend service", false, false},
	{"Jetty", 30 * time.Second, SinceAny, "idleTimeout", true, true},
	{"SignalR", 30 * time.Second, SinceClient, "ClientTimeoutInterval", true, false},
	{"Engine.IO", 45 * time.Second, SinceClient, "pingInterval + pingTimeout", true, false},
	{"Heroku", 55 * time.Second, SinceAny, "", false, true},
	{"nginx", 60 * time.Second, SinceServer, "proxy_read_timeout", false, true},
	{"AWS ALB", 60 * time.Second, SinceAny, "idle_timeout.timeout_seconds", false, true},
	{"Fly.io", 60 * time.Second, SinceAny, "idle_timeout", false, false},
	{"Phoenix", 60 * time.Second, SinceClient, "timeout of the socket", true, false},
	{"Oracle load balancer", 65 * time.Second, SinceAny, "idle timeout of the listener", false, false},
	{"Cloudflare", 100 * time.Second, SinceAny, "", false, true},
	{"uWebSockets", 120 * time.Second, SinceAny, "idleTimeout", true, true},
	{"Azure App Service", 230 * time.Second, SinceAny, "", false, false},
	{"Azure Load Balancer", 240 * time.Second, SinceAny, "idleTimeoutInMinutes", false, false},
	{"Azure Front Door", 300 * time.Second, SinceAny, "", false, true},
	{"Envoy", 300 * time.Second, SinceAny, "stream_idle_timeout", false, true},
	{"AWS NLB", 350 * time.Second, SinceAny, "tcp.idle_timeout.seconds", false, true},
	{"AWS API Gateway", 10 * time.Minute, SinceAny, "", true, false},
	{"AWS CloudFront", 10 * time.Minute, SinceServer, "", false, false},
	{"Envoy", time.Hour, SinceAny, "idle_timeout", false, false},
	{"OpenAI", time.Hour, SinceOpened, "", true, false},
	{"AWS API Gateway", 2 * time.Hour, SinceOpened, "", true, false},
	{"Azure Front Door", 4 * time.Hour, SinceOpened, "", false, false},
}

// Suspects appends to dst the limits that may have ended a session, given how long
// each of the times that they count from was before the end, by LimitSince. They
// are met within 1.5 s or 2 %. A Close frame comes of servers alone, and the end of
// the client of none.
func (v *Verdict) Suspects(dst []Limit, before [4]time.Duration) []Limit {
	abnormal := v.Abnormal()
	for _, l := range Limits {
		if !abnormal && !l.Server || abnormal && v.By == FromClient && l.Server {
			continue
		}
		if d := (before[l.Since] - l.After).Abs(); d <= max(1500*time.Millisecond, l.After/50) {
			dst = append(dst, l)
		}
	}
	return dst
}

// idleLimit returns the idle timeout that ended a connection after it was quiet
// for so long, and what has it; or 0.
func idleLimit(quiet time.Duration) (limit time.Duration, what string) {
	var who []string
	for _, l := range Limits {
		if d := quiet - l.After; l.quiet && d > -time.Second && d < 2*time.Second {
			limit, who = l.After, append(who, l.Of)
		}
	}
	return limit, "a usual idle timeout (" + strings.Join(who, ", ") + ")"
}
