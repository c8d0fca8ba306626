package decode

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode/internal/vectors"
)

// A peer is an implementation by others that says of the bytes of one side
// whether it takes them.
type peer struct {
	name    string
	needs   []string // a command that succeeds if it is there
	command []string
	lenient []RuleID          // errors that it lets pass
	wrong   map[string]string // vectors that it judges otherwise, and why that is right for us
}

const (
	python   = "/usr/bin/python3"
	interop  = "../testdata/interop/"
	nodeRoot = interop + "node/"
)

var peers = []peer{
	{"wsproto", []string{python, "-c", "import wsproto"}, []string{python, interop + "python/verdicts.py"}, nil,
		map[string]string{
			"close 1014": "it knows no code above 1013",
			"one compressed block in two fragments, a ping between them":            "it forgets at the ping that the message is compressed",
			"final block, as a message":                                             finalBlock,
			"compressed message that is cut":                                        cutBlock,
			"second close with a code that is never sent":                           pastClose,
			"second and third close, of 1 byte and with a reason that is not UTF-8": pastClose,
		}},
	{"ws", []string{"test", "-d", nodeRoot + "node_modules/ws"}, []string{"node", nodeRoot + "verdicts.mjs"},
		[]RuleID{"frame-length-not-minimal"},
		map[string]string{
			"longest payload that can be declared":                                  "its numbers end at 2 to the 53",
			"final block, as a message":                                             finalBlock,
			"compressed message that is cut":                                        cutBlock,
			"second close with a code that is never sent":                           pastClose,
			"second and third close, of 1 byte and with a reason that is not UTF-8": pastClose,
		}},
}

const (
	finalBlock = "zlib begins a new stream behind a final block, RFC 7692 §7.2.3.4 goes on"
	pastClose  = "it looks at nothing behind a close frame"
	cutBlock   = "nothing is missing as long as no further message comes"
)

// lenient are the errors that no peer looks at: those that take more than one
// frame, or one side, to see.
var lenient = []RuleID{
	"mask-key-repeated", "mask-key-constant", "mask-key-predictable", "mask-key-zero",
	"frag-unfinished", "data-after-close", "pong-missing", "close-not-answered",
	"pmd-window-exceeded", // zlib looks only when it runs out of output
}

// TestVerdicts compares what is said of the vectors with what others say of
// them: they take what has no error, refuse what has one, and find the same
// messages in what they take.
func TestVerdicts(t *testing.T) {
	type input struct {
		Side string `json:"side"`
		Ext  string `json:"ext"`
		Hex  string `json:"hex"`
	}
	type output struct {
		Error    string   `json:"error"`
		Messages []string `json:"messages"`
	}
	var cases []vectors.Vector
	var lines bytes.Buffer
	for _, v := range vectors.Load(t, vectorFiles) {
		side, ok := oneSided(v)
		if !ok {
			continue
		}
		cases = append(cases, v)
		line, err := json.Marshal(input{side.String(), v.Ext, hex.EncodeToString(sent(v.Steps, side))})
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(line, '\n'))
	}
	if len(cases) < 50 {
		t.Errorf("got %d vectors to compare, want 50 or more", len(cases))
	}
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			need(t, p.needs)
			cmd := exec.Command(p.command[0], p.command[1:]...)
			cmd.Stdin, cmd.Stderr = bytes.NewReader(lines.Bytes()), os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			verdicts := strings.Split(strings.TrimSpace(string(out)), "\n")
			if len(verdicts) != len(cases) {
				t.Fatalf("got %d verdicts, want %d", len(verdicts), len(cases))
			}
			for i, v := range cases {
				var said output
				if err := json.Unmarshal([]byte(verdicts[i]), &said); err != nil {
					t.Fatal(err)
				}
				ours, messages := judged(v)
				strict := slices.DeleteFunc(slices.Clone(ours), func(id RuleID) bool {
					return slices.Contains(lenient, id) || slices.Contains(p.lenient, id)
				})
				switch {
				case p.wrong[v.Name] != "":
				case said.Error != "" && len(ours) == 0:
					t.Errorf("%s: it says %q, we say nothing", v.Name, said.Error)
				case said.Error == "" && len(strict) > 0:
					t.Errorf("%s: we say %v, it says nothing", v.Name, strict)
				case said.Error == "" && len(ours) == 0 && messages != nil && !slices.Equal(said.Messages, messages):
					t.Errorf("%s: it finds messages %q, we find %q", v.Name, said.Messages, messages)
				}
			}
		})
	}
}

// oneSided reports whether the frames of v all come from one side, and which.
func oneSided(v vectors.Vector) (Dir, bool) {
	if v.Heads || len(v.Steps) == 0 || v.Ext != "" && (!strings.HasPrefix(v.Ext, permessageDeflate) || strings.Contains(v.Ext, ",")) {
		return 0, false
	}
	for _, s := range v.Steps {
		if s.Side != v.Steps[0].Side || s.End != "" {
			return 0, false
		}
	}
	return Dir(v.Steps[0].Side), true
}

// judged returns the errors in v, and its messages as peers write them, unless
// one is longer than what is kept of it.
func judged(v vectors.Vector) (errors []RuleID, messages []string) {
	cut := false
	messages = []string{}
	s := &Session{Look: Look{Messages: true}, Sink: SinkFunc(func(ev *Event) {
		for _, v := range ev.Violations {
			if v.Severity == SeverityError {
				errors = append(errors, v.ID)
			}
		}
		if m := ev.Message; ev.Kind == KindMessage && !m.Unfinished {
			sum := sha256.Sum256(m.Data)
			messages = append(messages, OpName(m.Op)+" "+hex.EncodeToString(sum[:]))
			cut = cut || m.Cut
		}
	})}
	s.Open(Info{Conn: 1, Time: start, Ext: v.Ext})
	s.Upgraded()
	for _, step := range v.Steps {
		s.Data(Dir(step.Side), start, step.Bytes)
	}
	if cut {
		messages = nil
	}
	return errors, messages
}

// need skips a test, or fails it where CI=true, unless a command succeeds.
func need(t *testing.T, command []string) {
	t.Helper()
	if err := exec.Command(command[0], command[1:]...).Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s: %v", strings.Join(command, " "), err)
		}
		t.Skipf("%s: %v", strings.Join(command, " "), err)
	}
}
