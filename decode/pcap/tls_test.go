package pcap

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// certificate returns a new certificate for localhost.
func certificate(t testing.TB, rsaKey bool) tls.Certificate {
	t.Helper()
	var key any
	var public any
	if rsaKey {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		key, public = k, &k.PublicKey
	} else {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key, public = k, &k.PublicKey
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A tapped connection adds what is written to a convo.
type tapped struct {
	net.Conn
	mu    *sync.Mutex
	dir   decode.Dir
	convo *convo
}

func (c *tapped) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.convo.say(c.dir, string(b))
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// loopback returns the ends of a connection.
func loopback(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// chatTLS adds the conversation of chat over TLS to a new convo.
func chatTLS(t *testing.T, port int, client, server *tls.Config, inside func(k *convo)) *convo {
	t.Helper()
	k := newTalk(t, fmt.Sprintf("127.0.0.1:%d", port), "127.0.0.1:8443")
	k.handshake()
	var mu sync.Mutex
	a, b := loopback(t)
	conns := [2]*tls.Conn{tls.Client(&tapped{a, &mu, decode.FromClient, k}, client), tls.Server(&tapped{b, &mu, decode.FromServer, k}, server)}
	defer a.Close()
	defer b.Close()
	done := make(chan error)
	go func() { done <- conns[1].Handshake() }()
	if err := conns[0].Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	k.tell = func(d decode.Dir, b string) {
		t.Helper()
		if _, err := io.WriteString(conns[d], b); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(b))
		if _, err := io.ReadFull(conns[d.Peer()], got); err != nil || string(got) != b {
			t.Fatal(err)
		}
	}
	inside(k)
	conns[1].CloseWrite()
	conns[0].CloseWrite()
	k.fin()
	return k
}

func TestTLS(t *testing.T) {
	type suiteCase struct {
		version, suite uint16
		rsa            bool
	}
	cases := []suiteCase{{version: tls.VersionTLS13}}
	for _, s := range slices.Concat(tls.CipherSuites()) {
		if slices.Contains(s.SupportedVersions, tls.VersionTLS12) && (strings.Contains(s.Name, "GCM") || strings.Contains(s.Name, "CHACHA")) {
			cases = append(cases, suiteCase{tls.VersionTLS12, s.ID, strings.Contains(s.Name, "RSA")})
		}
	}
	for _, c := range cases {
		if c.suite != 0 && strings.Contains(tls.CipherSuiteName(c.suite), "ECDSA") {
			c.rsa = false
		}
		name := tls.VersionName(c.version) + " " + tls.CipherSuiteName(c.suite)
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			client := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", MaxVersion: c.version, NextProtos: []string{"http/1.1"}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
			server := &tls.Config{Certificates: []tls.Certificate{certificate(t, c.rsa)}, MaxVersion: c.version, NextProtos: []string{"http/1.1"}, KeyLogWriter: &log}
			if c.suite != 0 {
				client.CipherSuites = []uint16{c.suite}
			}
			full := chatTLS(t, 40000, client, server, (*convo).chatInside)
			resumed := chatTLS(t, 40001, client, server, (*convo).chatInside)
			retried := server.Clone()
			retried.CurvePreferences = []tls.CurveID{tls.CurveP384} // of which the client has no key share
			client.ClientSessionCache = nil
			retry := chatTLS(t, 40002, client, retried, (*convo).chatInside)
			keys, err := ParseKeys(log.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			tls12 := c.version == tls.VersionTLS12 // where Go logs no key of a session that is resumed
			for name, k := range map[string]*convo{"full": full, "resumed": resumed, "retried": retry} {
				want := strings.ReplaceAll(chatText, "version 13\n", "version 13  tls "+strings.ReplaceAll(tls.VersionName(c.version), "TLS ", "")+"\n")
				if name == "resumed" && tls12 {
					k = &convo{packets: slices.Concat(full.packets, k.packets)}
					want += strings.ReplaceAll(want, "#1 ", "#2 ")
				}
				got, passed, err := play(t, file{link: linkEthernet}.write(k.packets), keys)
				if err != nil || got != want || len(passed) > 0 {
					t.Errorf("%s: got %v %v\n%s\nwant\n%s", name, err, passed, got, want)
				}
				got, passed, err = play(t, file{link: linkEthernet, ng: true, secrets: log.Bytes()}.write(k.packets), nil)
				if err != nil || got != want || len(passed) > 0 {
					t.Errorf("%s, secrets in the file: got %v %v\n%s", name, err, passed, got)
				}
				if name != "resumed" || !tls12 { // of which the log does not tell
					for late := 0; late <= len(k.packets); late++ {
						got, passed, err = play(t, file{link: linkEthernet, ng: true, secrets: log.Bytes(), late: late}.write(k.packets), nil)
						if err != nil || got != want || len(passed) > 0 {
							t.Fatalf("%s, secrets behind %d packets: got %v %v\n%s", name, late, err, passed, got)
						}
					}
				}
				got, passed, err = play(t, file{link: linkEthernet, ng: true}.write(k.packets), nil)
				if err != nil || got != "" || len(passed) != 1 || passed[0].What != PassedNoKey {
					t.Errorf("%s, without keys: got %v %v\n%s", name, err, passed, got)
				}
				got, passed, err = play(t, file{link: linkEthernet}.write(k.packets), nil)
				if err != nil || got != "" || len(passed) != 1 || passed[0].What != PassedNoKey {
					t.Errorf("%s, without keys: got %v %v\n%s", name, err, passed, got)
				}
				got, passed, err = play(t, file{link: linkEthernet}.write(full.packets[20:]), keys)
				if err != nil || got != "" || len(passed) != 1 {
					t.Errorf("%s, without the beginning: got %v %v\n%s", name, err, passed, got)
				}
			}
			var info *decode.TLS
			s := &Source{R: bytes.NewReader(file{link: linkEthernet}.write(full.packets)), Keys: keys}
			s.Play(t.Context(), decode.SinkFunc(func(ev *decode.Event) { info = ev.Info.ClientTLS }), decode.Look{})
			if info == nil || info.SNI != "localhost" || info.ALPN != "http/1.1" || c.suite != 0 && info.Cipher != tls.CipherSuiteName(c.suite) {
				t.Errorf("got %+v", info)
			}
		})
	}
}

// TestTLSLoss drops packets of TLS, one at a time.
func TestTLSLoss(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		var log bytes.Buffer
		client := &tls.Config{InsecureSkipVerify: true, MaxVersion: version, KeyLogWriter: &log}
		server := &tls.Config{Certificates: []tls.Certificate{certificate(t, false)}}
		first := 0
		k := chatTLS(t, 40000, client, server, func(k *convo) {
			k.chatInside()
			first = len(k.packets)
			for i := range 4 {
				f := frame(decode.FromServer, text, words(9000))
				k.tell(decode.FromServer, f[:100])
				for f = f[100:]; len(f) > 0; f = f[min(2000, len(f)):] {
					k.tell(decode.FromServer, f[:min(2000, len(f))])
				}
				k.tell(decode.FromServer, frame(decode.FromServer, text, fmt.Sprint("after ", i)))
			}
		})
		keys, err := ParseKeys(log.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		resumed := 0
		for i := first; i < len(k.packets)-4; i++ {
			if len(k.packets[i].ip) < 500 {
				continue
			}
			got, passed, err := play(t, file{link: linkEthernet}.write(slices.Delete(slices.Clone(k.packets), i, i+1)), keys)
			if err != nil || len(passed) > 0 || !strings.Contains(got, "#1 < gap ") {
				t.Errorf("without packet %d: %v %v\n%s", i, err, passed, got)
			}
			if strings.Contains(got, `"after 3"`) {
				resumed++
			}
		}
		if resumed < 12 {
			t.Errorf("%s: frames were found again in %d cases", tls.VersionName(version), resumed)
		}
	}
}

// TestTLSOpenSSL plays what openssl says: cipher suites that Go does not choose, and new
// keys.
func TestTLSOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for _, suite := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"} {
		t.Run(suite, func(t *testing.T) { opensslChat(t, openssl, suite) })
	}
}

func opensslChat(t *testing.T, openssl, suite string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client := exec.Command(openssl, "s_client", "-connect", l.Addr().String(), "-ciphersuites", suite, "-servername", "localhost")
	stdin, err := client.StdinPipe()
	if err == nil {
		err = client.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer client.Wait()
	defer client.Process.Kill()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	k := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8443")
	k.handshake()
	var mu sync.Mutex
	var log bytes.Buffer
	reads := make(chan int, 100)
	tap := &tapped{&tappedReads{conn, &mu, k, reads}, &mu, decode.FromServer, k}
	server := tls.Server(tap, &tls.Config{Certificates: []tls.Certificate{certificate(t, false)}, KeyLogWriter: &log})
	from, to := io.Pipe()
	k.tell = func(d decode.Dir, b string) {
		t.Helper()
		if d == decode.FromServer {
			if _, err := io.WriteString(server, b); err != nil {
				t.Fatal(err)
			}
			return
		}
		io.WriteString(stdin, b)
		if _, err := io.ReadFull(from, make([]byte, len(b))); err != nil {
			t.Fatal(err)
		}
		for len(reads) > 0 {
			<-reads
		}
		io.WriteString(stdin, "K\n") // new keys, of both sides
		<-reads
	}
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	go io.Copy(to, server)
	k.chatInside()
	server.CloseWrite()
	k.fin()
	keys, err := ParseKeys(log.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	got, passed, err := play(t, file{link: linkEthernet}.write(k.packets), keys)
	want := strings.ReplaceAll(chatText, "version 13\n", "version 13  tls 1.3\n")
	if err != nil || len(passed) > 0 || got != want {
		t.Errorf("got %v %v\n%s", err, passed, got)
	}
}

// tappedReads adds what is read to a convo, as what a client says.
type tappedReads struct {
	net.Conn
	mu    *sync.Mutex
	convo *convo
	done  chan<- int // told of each read
}

func (c *tappedReads) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	c.convo.say(decode.FromClient, string(b[:n]))
	c.mu.Unlock()
	select {
	case c.done <- n:
	default:
	}
	return n, err
}

func TestTLSNamed(t *testing.T) {
	for _, c := range []struct {
		suite uint16
		want  string
	}{
		{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, "TLS with TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"},
	} {
		var log bytes.Buffer
		client := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{c.suite}, KeyLogWriter: &log}
		server := &tls.Config{Certificates: []tls.Certificate{certificate(t, false)}, CipherSuites: []uint16{c.suite}}
		k := chatTLS(t, 40000, client, server, (*convo).chatInside)
		keys, _ := ParseKeys(log.Bytes())
		got, passed, err := play(t, file{link: linkEthernet}.write(k.packets), keys)
		if err != nil || got != "" || !slices.Equal(passed, []Passed{{What: c.want, N: 1}}) {
			t.Errorf("got %v %v\n%s", err, passed, got)
		}
	}
}

func TestParseKeys(t *testing.T) {
	random, secret := strings.Repeat("ab", 32), strings.Repeat("cd", 48)
	for _, c := range []struct {
		log string
		n   int
	}{
		{"", 0},
		{"# comment\nCLIENT_RANDOM " + random + " " + secret + "\r\n", 1},
		{"CLIENT_RANDOM " + random + " xyz\n", 0},
		{"CLIENT_RANDOM abcd " + secret + "\n", 0},
		{"OTHER " + random + " " + secret + "\n", 0},
		{"CLIENT_TRAFFIC_SECRET_0 " + random + " " + secret + "\nSERVER_TRAFFIC_SECRET_0 " + random + " " + secret, 2},
	} {
		k, err := ParseKeys([]byte(c.log))
		if (err == nil) != (c.n > 0) || err == nil && len(k.secrets) != c.n {
			t.Errorf("%q: got %v", c.log, err)
		}
	}
}
