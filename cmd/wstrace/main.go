// Wstrace is strace for WebSockets: a proxy that shows every frame as it stood
// on the wire, records sessions and shows them again.
//
//	root.go    the command line
//	live.go    wstrace [URL]: the proxy and what it prints about itself
//	command.go wstrace -- CMD: the proxy around a command
//	tls.go     the flags that say how TLS is looked into
//	show.go, check.go, rules.go, fmt.go, redact.go, replay.go, diff.go, ca.go,
//	demo.go    the subcommands
//	view.go    the flags that say how events are shown
//	record.go  the flags that say where they are recorded
//	parts.go   the flags that say in which files a recording goes on
//	flow.go    from the events to the files
//	console.go what goes to stderr
//	hints.go   what can be done about failures
//	internal/child    runs a command so that its connections come to us
//	internal/source   opens the files that are read
package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/child"
)

func main() {
	child.Become() // what it was started for, if that was to be a command

	// A reader of our output that goes away is an error of Write, no reason to
	// die: the traffic goes on.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	os.Exit(run(os.Args[1:]))
}

// run executes the command line and returns the exit status.
func run(args []string) int {
	con := &console{w: os.Stderr}
	root := newRoot(con)
	root.SetArgs(args)
	err := root.Execute()
	con.fail(err)
	con.tellMessages()
	return exitStatus(err)
}
