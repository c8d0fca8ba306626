package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/gobwas/ws"
)

// wsc is a program: wsc [-hold] URL [WORD...] talks with a server as wsclient does.
// It knows nothing of proxies, and trusts the roots of the system. With -hold it says
// "holding" after the words, and stays until the server ends the connection.
func wsc() {
	hold := flag.Bool("hold", false, "")
	flag.Parse()
	d := ws.Dialer{Timeout: patience}
	run := func() error {
		if !*hold {
			return talk(d, flag.Arg(0), flag.Args()[1:])
		}
		c, _, _, err := d.Dial(context.Background(), flag.Arg(0))
		if err != nil {
			return err
		}
		for _, word := range flag.Args()[1:] {
			if err := exchange(c, c, ws.MustCompileFrame(ws.MaskFrameInPlace(ws.NewTextFrame([]byte(word))))); err != nil {
				return err
			}
		}
		fmt.Println("holding")
		io.Copy(io.Discard, c)
		return nil
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "wsc:", err)
		os.Exit(1)
	}
}
