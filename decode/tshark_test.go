package decode

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode/internal/vectors"
)

// TestTshark compares the frames in the vectors with those that tshark finds:
// FIN, RSV, opcode, length and masking key.
func TestTshark(t *testing.T) {
	need(t, []string{"tshark", "--version"})
	const serverPort = 9001
	// A capture of one packet for each vector, without Ethernet.
	pcap := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	pcap = append(pcap, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0)
	want := map[string]string{} // by the client's port
	names := map[string]string{}
	for i, v := range vectors.Load(t, vectorFiles) {
		side, ok := oneSided(v)
		b := sent(v.Steps, side)
		if !ok || len(b) > 60000 || len(v.Junk[side]) > 0 {
			continue
		}
		var r record
		s := &Session{Sink: &r}
		s.Open(Info{Conn: 1, Time: start, Ext: v.Ext})
		s.Upgraded()
		s.Data(side, start, b)
		s.Done(start)
		fs := r.frames(side)
		if len(fs) == 0 || !fs[len(fs)-1].Complete {
			continue
		}
		client := uint16(20000 + i)
		from, to := client, uint16(serverPort)
		if side == FromServer {
			from, to = to, from
		}
		pcap = appendPacket(pcap, from, to, b)
		want[fmt.Sprint(client)] = tsharkLine(fs)
		names[fmt.Sprint(client)] = v.Name
	}
	file := filepath.Join(t.TempDir(), "vectors.pcap")
	if err := os.WriteFile(file, pcap, 0o666); err != nil {
		t.Fatal(err)
	}
	args := []string{"-n", "-r", file, "-d", fmt.Sprintf("tcp.port==%d,websocket", serverPort), "-T", "fields", "-E", "separator=|"}
	for _, f := range []string{"tcp.port", "websocket.fin", "websocket.rsv", "websocket.opcode", "websocket.mask", "websocket.payload_length", "websocket.payload_length_ext_16", "websocket.payload_length_ext_64", "websocket.masking_key"} {
		args = append(args, "-e", f)
	}
	out, err := exec.Command("tshark", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		ports, got, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "|")
		client := strings.Trim(strings.Replace(ports, fmt.Sprint(serverPort), "", 1), ",")
		found[client] = true
		if got != want[client] {
			t.Errorf("%s: tshark finds %s, we find %s", names[client], got, want[client])
		}
	}
	if len(found) != len(want) || len(want) < 50 {
		t.Errorf("got %d packets, want %d, at least 50", len(found), len(want))
	}
}

// tsharkLine returns what tshark prints of frames: a column for each field,
// with the values of those frames that have it.
func tsharkLine(fs []*Frame) string {
	var columns [8][]string
	add := func(i int, format string, v any) { columns[i] = append(columns[i], fmt.Sprintf(format, v)) }
	bit := map[bool]int{true: 1}
	for _, f := range fs {
		add(0, "%d", bit[f.Fin])
		add(1, "0x%02x", f.Rsv)
		add(2, "%d", f.OpCode)
		add(3, "%d", bit[f.Masked])
		add(4, "%d", f.Head[1]&0x7f)
		switch f.LengthBits() {
		case 16:
			add(5, "%d", f.Length)
		case 64:
			add(6, "%d", f.Length)
		}
		if f.Masked {
			add(7, "%x", f.Mask)
		}
	}
	var line []string
	for _, c := range columns {
		line = append(line, strings.Join(c, ","))
	}
	return strings.Join(line, "|")
}

// appendPacket appends a packet of a pcap file: IPv4 and TCP with payload b.
func appendPacket(dst []byte, from, to uint16, b []byte) []byte {
	n := uint32(40 + len(b))
	dst = binary.LittleEndian.AppendUint32(dst, 0) // time
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint32(dst, n)
	dst = binary.LittleEndian.AppendUint32(dst, n)
	dst = append(dst, 0x45, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	dst = append(dst, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2)
	dst = binary.BigEndian.AppendUint16(dst, from)
	dst = binary.BigEndian.AppendUint16(dst, to)
	dst = append(dst, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0)
	return append(dst, b...)
}
