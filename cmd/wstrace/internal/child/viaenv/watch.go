package viaenv

import "time"

// watchInterval is the time between two looks at a command's connections.
const watchInterval = 500 * time.Millisecond

// A Connection is one that a command has made around the proxy.
type Connection struct {
	PID     int
	Process string // the name of the process
	Addr    string // "ip:port" of the other end
}
