package viaenv

// A Connection is one that a command has made around the proxy.
type Connection struct {
	PID     int
	Process string // the name of the process
	Addr    string // "ip:port" of the other end
}
