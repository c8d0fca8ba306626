package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/decode/trace/edit"
)

const redactExample = `  wstrace redact chat.wst > shared.wst
        all that check calls a credential, and what is like it
  wstrace redact -i chat.wst credentials '?room' '$.user.email' '/card=(\d+)/'
        that, a parameter of the query, a value of JSON, part of any text`

func newRedact(con *console) *cobra.Command {
	var inPlace bool
	cmd := &cobra.Command{
		Use:   "redact [flags] FILE [SELECTOR...]",
		Short: "Replace secrets in a trace with placeholders",
		Long: `Print a trace with placeholders for what the selectors select, wherever it
stands: credentials, which is the list that check has and the default; Header:,
?parameter of the query and of forms, $.path of the JSON in messages and bodies,
xml:/path of those that are XML, or what /expression/, or its first group, matches in
any text. The same secret gets the same placeholder, also where it is repeated later.
Of a cookie its value is replaced; its name and attributes stay, as do the headers that
make a handshake. The header of the trace names the selectors, but not an expression
that spells out a secret, so that a replay knows them.

If messages are looked into, one that can't be keeps its frames and loses its
payload, and a note says so: one of more than 1 MiB, one that is not complete or
can't be inflated. Such a session can't be replayed. Credentials that are left, in heads,
messages or bodies, are told on stderr.

An HTTP body is looked into in the same way, whatever its type. It is unpacked for
that if it is coded with gzip or deflate; one in another coding is left out, and so
is the end of one that was cut, in which a secret may begin`,
		Example:           redactExample,
		ValidArgsFunction: completeTrace,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usagef("want a FILE, or - for stdin")
			case inPlace && args[0] == "-":
				return usagef("stdin cannot be changed in place")
			}
			if _, err := edit.NewRedactor(selectors(args)...); err != nil {
				return usageError{err}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return format(con, "redact", args[0], inPlace, func(w io.Writer, r io.Reader) error {
				left := newRemains(cmd.Context(), selectors(args))
				err := edit.Redact(io.MultiWriter(w, left), r, selectors(args)...)
				if bad := left.Close(); bad != nil && err == nil {
					err = fmt.Errorf("the result can't be read: %w", bad)
				}
				left.tell(con, args[0])
				for _, text := range selectors(args) {
					if sel, _ := pick.Parse(text); edit.KeepsHeader(sel.Header) {
						con.say("redact %q: %s stays as it is: it makes the handshake", args[0], sel.Header)
					}
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&inPlace, "in-place", "i", false, "change FILE instead of printing it")
	return cmd
}

// selectors returns those given behind the file, or the usual ones.
func selectors(args []string) []string {
	if len(args) > 1 {
		return args[1:]
	}
	return edit.Secrets
}

// remains are a writer that reads the trace that is written to it, and finds what
// check would call a credential, and what the selector credentials would take out of
// messages and bodies.
type remains struct {
	w     *io.PipeWriter
	done  chan struct{}
	err   error // of a line that is no record
	count int
	first []string

	inside *edit.Redactor // looks into messages and bodies; nil if that was done
	now    *trace.Record  // that it takes
	c      int64          // its session
}

// maxTold is how many remains are named.
const maxTold = 5

// newRemains returns remains of a trace that was redacted by selectors.
func newRemains(ctx context.Context, selectors []string) *remains {
	pr, pw := io.Pipe()
	l := &remains{w: pw, done: make(chan struct{})}
	if all, err := pick.ParseAll(selectors); err == nil && !slices.ContainsFunc(all, func(s pick.Selector) bool { return s.Credentials }) {
		if l.inside, err = edit.NewRedactor(edit.Secrets...); err == nil {
			l.inside.Met(l.met)
		}
	}
	go func() {
		defer close(l.done)
		src := trace.NewReader(bufio.NewReader(pr))
		src.Bad = func(err error) { l.err = err }
		for ctx.Err() == nil {
			rec, err := src.Next()
			if err != nil {
				break
			}
			if rec.Kind == trace.KindReq && rec.Leg != trace.LegOut {
				l.look(rec)
			}
			l.lookInto(rec)
		}
		io.Copy(io.Discard, pr)
	}()
	return l
}

// look looks for what check would call a credential in a request, and for headers
// that are one.
func (l *remains) look(rec *trace.Record) {
	raw := string(rec.AppendHead(nil))
	if rec.Head.Cut {
		raw = completed(raw)
	}
	h, _ := decode.ParseRequest(raw)
	for _, c := range decode.FindCredentials(h.Target) {
		if !c.Routine {
			l.add(rec.C, "the target has a credential, %q", c.Name)
		}
	}
	offered := h.Tokens("Sec-WebSocket-Protocol")
	for i := range offered {
		if _, ok := decode.CredentialProtocol(offered, i); ok {
			l.add(rec.C, "a subprotocol offered is a credential")
		}
	}
	for _, f := range h.Fields {
		if decode.CredentialHeader(f.Name) && f.Value != "" && !hasPlaceholders(f) {
			l.add(rec.C, "the header %s is a credential", f.Name)
		}
	}
}

// lookInto looks for credentials in messages and bodies.
func (l *remains) lookInto(rec *trace.Record) {
	if l.inside == nil {
		return
	}
	l.now, l.c = rec, rec.C
	l.inside.Take(rec)
}

// met takes the name of a credential in a message or body that ends with the record at
// hand.
func (l *remains) met(name string) {
	if !decode.CredentialMember(name) && name != "token" && name != "key" {
		return // it is worth hiding, and not worth a remark
	}
	switch l.now.Kind {
	case trace.KindBody:
		l.add(l.c, "a body has a credential, %q (line %d)", name, l.now.Line)
	case trace.KindFrame, trace.KindMore, trace.KindMessage:
		l.add(l.c, "a message has a credential, %q (line %d)", name, l.now.Line)
	}
}

// hasPlaceholders reports whether what is secret in a header that is a credential was
// replaced.
func hasPlaceholders(f decode.Field) bool {
	all := true
	if decode.CookieValues(f.Name, f.Value, func(from, to int) { all = all && decode.IsPlaceholder(f.Value[from:to]) }) {
		return all
	}
	return decode.IsPlaceholder(f.Value)
}

func (l *remains) add(conn int64, format string, args ...any) {
	if l.count++; l.count <= maxTold {
		l.first = append(l.first, fmt.Sprintf("#%d: ", conn)+fmt.Sprintf(format, args...))
	}
}

// completed returns a head that was cut off as if it had not been.
func completed(raw string) string {
	line, fields, _ := strings.Cut(raw, "\n")
	if line = strings.TrimRight(line, "\r"); !strings.Contains(line, " HTTP/") {
		line += " HTTP/1.1"
	}
	if fields = strings.TrimRight(fields, "\r\n"); fields != "" {
		fields += "\r\n"
	}
	return line + "\r\n" + fields + "\r\n"
}

func (l *remains) Write(p []byte) (int, error) { return l.w.Write(p) }

// Close waits until all was read. An error says that it can't be.
func (l *remains) Close() error {
	l.w.Close()
	<-l.done
	return l.err
}

// tell says what is left.
func (l *remains) tell(con *console, name string) {
	for _, text := range l.first {
		con.say("redact %q: left as it is: %s", name, text)
	}
	if n := l.count - len(l.first); n > 0 {
		con.say("redact %q: and %d more", name, n)
	}
	if l.count > 0 {
		con.hint("the selector credentials takes these out")
	}
}
