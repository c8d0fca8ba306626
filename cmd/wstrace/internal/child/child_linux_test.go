package child

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Become()
	os.Exit(m.Run())
}

func TestSmoke(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nhello\n")
				c.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, c)
				c.Close()
			}()
		}
	}()
	path, _ := exec.LookPath("sh")
	started := time.Now()
	p, err := Start(&Command{Path: path, Args: []string{"sh", "-c", "curl -sv http://" + l.Addr().String() + "/; python3 /tmp/gp.py " + strings.Split(l.Addr().String(), ":")[1] + "; exit 7"}, Env: os.Environ(), Lead: &Lead{
		Own:   func(netip.AddrPort) bool { return false },
		Tried: func(w Wanted, err error) { fmt.Println("tried", w, err, time.Since(started)) },
		Take: func(c Conn) {
			fmt.Println("take", c.Wanted)
			go func() {
				defer c.Done()
				go func() { io.Copy(c.Server, c.Client); c.Server.(*net.TCPConn).CloseWrite() }()
				io.Copy(c.Client, c.Server)
				c.Client.Close()
				c.Server.Close()
			}()
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Ended()
	fmt.Println(p.Status(), p.Confined)
	p.Close()
}
