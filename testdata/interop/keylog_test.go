package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
)

// TestKeyLog has tshark read both legs with the secrets that the proxy has
// written down.
func TestKeyLog(t *testing.T) {
	need(t, tool{"tshark", "--version"}.missing())
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(strings.ReplaceAll(tls.VersionName(version), " ", ""), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			tr := newTrust(t)
			tr.server.MaxVersion = version
			var heard, told board
			inside := newTap(t, gorillaServer(t, &heard), tr.server)
			behind := newTap(t, inside.addr, nil)
			var keys bytes.Buffer // TLS writes to it one line at a time
			rec := newRecording()
			p := &proxy.Proxy{
				Sink: rec, Look: rec.look(), KeyLog: &keys, Authority: tr.authority, UpstreamTLS: tr.client,
				Upstream: &url.URL{Scheme: "wss", Host: localhost(behind.addr)},
			}
			ahead := newTap(t, servedBy(t, p), nil)
			j := job{ID: fmt.Sprint(jobs.Add(1)), URL: "wss://" + localhost(ahead.addr) + "/echo", CA: tr.file,
				Rounds: [][]message{{{"text", 5}, {"binary", 300}, {"ping", 4}}, {{"text", 70000}}}}
			if err := gobwasClient(ctx, j, diary{&told, j.ID}); err != nil {
				t.Fatal(err)
			}
			want := []string{rec.sides[decode.FromClient].brief(), rec.sides[decode.FromServer].brief()}
			for name, tp := range map[string]*tap{"client": ahead, "server": behind} {
				f, err := tp.only(ctx)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if got := f.tshark(t, keys.Bytes()); !slices.Equal(got, want) {
					t.Errorf("leg of the %s: tshark reads\n%s\nwant\n%s", name, got, want)
				}
			}
		})
	}
}

// brief returns opcodes, lengths and masking keys of the frames of a direction.
func (d *recorded) brief() string {
	var b strings.Builder
	var dec decode.Decoder
	for f := range dec.Frames(d.wire) {
		fmt.Fprintf(&b, "%d %d", f.OpCode, f.Length)
		if f.Masked {
			fmt.Fprintf(&b, " %x", f.Mask)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// tshark returns what brief does of the frames from the client and from the
// server that tshark finds in the octets of f, with keys.
func (f *flow) tshark(t *testing.T, keys []byte) []string {
	dir := t.TempDir()
	capture, secrets := filepath.Join(dir, "leg.pcap"), filepath.Join(dir, "keys.txt")
	for name, b := range map[string][]byte{capture: f.pcap(), secrets: keys} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"-r", capture, "-o", "tls.keylog_file:" + secrets, "-Y", "websocket", "-T", "fields", "-e", "tcp.srcport"}
	for _, field := range []string{"opcode", "payload_length", "payload_length_ext_16", "payload_length_ext_64", "masking_key"} {
		args = append(args, "-e", "websocket."+field)
	}
	var stderr bytes.Buffer
	cmd := exec.Command("tshark", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	var briefs [2]strings.Builder
	for packet := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSuffix(packet, "\n"), "\t")
		b := &briefs[0]
		if fields[0] == fmt.Sprint(serverPort) {
			b = &briefs[1]
		}
		next := func(i int) string { // of the values of a field, one for each frame that has it
			var v string
			v, fields[i], _ = strings.Cut(fields[i], ",")
			return v
		}
		for fields[1] != "" {
			b.WriteString(next(1) + " ")
			switch n := next(2); n {
			case "126":
				b.WriteString(next(3))
			case "127":
				b.WriteString(next(4))
			default:
				b.WriteString(n)
			}
			if key := next(5); key != "" {
				b.WriteString(" " + key)
			}
			b.WriteByte('\n')
		}
	}
	return []string{briefs[0].String(), briefs[1].String()}
}

const (
	clientPort = 50000
	serverPort = 443 // by which tshark knows what to expect
	maxSegment = 16 << 10
)

// pcap returns the octets of f as a capture of a connection over IPv4.
func (f *flow) pcap() []byte {
	const (
		fin, syn, ack = 1, 2, 16
		linkRaw       = 101
	)
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = le.AppendUint16(le.AppendUint16(b, 2), 4)
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint32(le.AppendUint32(b, 1<<18), linkRaw)
	seq := [2]uint32{1000, 2000} // client, server
	n := 0
	segment := func(from int, flags byte, p []byte) {
		b = le.AppendUint32(le.AppendUint32(b, 1), uint32(n)) // a microsecond each
		n++
		size := 40 + len(p)
		b = le.AppendUint32(le.AppendUint32(b, uint32(size)), uint32(size))
		be := binary.BigEndian
		addrs := [2]net.IP{{192, 0, 2, 1}, {192, 0, 2, 2}}
		ports := [2]uint16{clientPort, serverPort}
		b = be.AppendUint16(append(b, 0x45, 0), uint16(size))
		b = append(b, 0, 0, 0x40, 0, 64, 6, 0, 0)
		b = append(append(b, addrs[from]...), addrs[1-from]...)
		b = be.AppendUint16(be.AppendUint16(b, ports[from]), ports[1-from])
		b = be.AppendUint32(be.AppendUint32(b, seq[from]), seq[1-from])
		b = append(b, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0)
		b = append(b, p...)
		seq[from] += uint32(len(p))
		if flags&(syn|fin) != 0 {
			seq[from]++
		}
	}
	segment(0, syn, nil)
	segment(1, syn|ack, nil)
	segment(0, ack, nil)
	rest := [2][]byte{f.up.Bytes(), f.down.Bytes()}
	for _, r := range f.reads {
		from := 0
		if r.from == &f.down {
			from = 1
		}
		p := rest[from][:r.n]
		rest[from] = rest[from][r.n:]
		for len(p) > 0 {
			k := min(len(p), maxSegment)
			segment(from, ack, p[:k])
			p = p[k:]
		}
	}
	segment(0, fin|ack, nil)
	segment(1, fin|ack, nil)
	return b
}
