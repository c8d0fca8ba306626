package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gobwas/ws"
	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/filter"
	"github.com/wstrace/wstrace/render"
)

const lsExample = `  wstrace ls chat.wst
  wstrace ls -e 'websocket and path == "/chat"' --sort seconds chat.wst
  wstrace ls -o json chat.wst | jq 'select(.code != 1000).session'`

// ls is wstrace ls.
type ls struct {
	con      *console
	view     *view
	sort     choice
	sessions sessionsFlag
}

func newLs(con *console, v *view) *cobra.Command {
	l := &ls{con: con, view: v, sort: choice{"session", lsColumns}}
	cmd := &cobra.Command{
		Use:   "ls [flags] FILE...",
		Short: "List recorded sessions",
		Long: `List recorded sessions, a line each: when they began, how long they lasted, what
each side sent in messages and bytes, how they ended, how many findings check has,
and what was asked for. With -e those in which something matches, with their whole
numbers. -o json and csv have the same for programs`,
		Example:           lsExample,
		Args:              atLeastOneFile,
		ValidArgsFunction: completeRecordings,
		RunE:              func(cmd *cobra.Command, args []string) error { return l.run(cmd.Context(), args) },
	}
	ignores(cmd, "preview", "messages", "time", "number")
	v.filter.register(cmd, "list only sessions in which `EXPR` selects something, see wstrace help filter")
	cmd.Flags().Var(&l.sort, "sort", "sort by `COLUMN`: "+strings.Join(lsColumns, ", ")+"; the largest first, but for session and start")
	completeChoice(cmd, "sort", &l.sort)
	cmd.Flags().Var(&l.sessions, "session", "list only session `N`, or N,M,…")
	v.tlsKeys.register(cmd)
	return cmd
}

var lsColumns = []string{"session", "start", "seconds", "messages", "bytes", "code", "findings", "url"}

// A listed session, as ls -o json writes it.
type listed struct {
	File        string    `json:"file,omitempty"` // if there are several
	Session     int64     `json:"session"`
	Start       time.Time `json:"start"`
	Seconds     float64   `json:"seconds"`
	URL         string    `json:"url,omitempty"`
	Server      string    `json:"server,omitempty"` // of a tunnel, which has no URL
	Method      string    `json:"method,omitempty"`
	Status      int       `json:"status,omitempty"`
	WebSocket   bool      `json:"websocket"`
	Subprotocol string    `json:"subprotocol,omitempty"`
	Extensions  string    `json:"extensions,omitempty"`
	Sent        [2]int64  `json:"messages"` // by the client, by the server
	Bytes       [2]int64  `json:"bytes"`
	Code        int       `json:"code,omitempty"`
	By          string    `json:"by,omitempty"`
	Failure     string    `json:"failure,omitempty"` // why it ended, as a program says whose file has no frames
	Open        bool      `json:"open,omitempty"`    // it did not end
	Errors      int64     `json:"errors"`
	Warnings    int64     `json:"warnings"`

	matched bool
}

func (l *ls) run(ctx context.Context, names []string) error {
	if err := l.view.keeps(names); err != nil {
		return err
	}
	switch l.view.form.value {
	case "compact", "json", "csv":
	default:
		return usagef("ls -o %s: want compact, json or csv", l.view.form.value)
	}
	out, err := l.view.output()
	if err != nil {
		return err
	}
	if out != os.Stdout {
		defer out.Close()
	}
	var all []*listed
	var failure error
	last := int64(0)
	for _, name := range names {
		rows, n, err := l.file(ctx, name, last)
		last = max(last, n)
		for _, r := range rows {
			if len(names) > 1 {
				r.File = name
			}
		}
		if all = append(all, rows...); err != nil && failure == nil {
			failure = err
		}
	}
	if failure == nil {
		l.sessions.sayMissing(l.con, last)
	}
	l.order(all)
	w := bufio.NewWriterSize(out, 64<<10)
	switch l.view.form.value {
	case "json":
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		for _, r := range all {
			e.Encode(r)
		}
	case "csv":
		writeCSV(w, all)
	default:
		columns := math.MaxInt
		if l.view.onTerminal() {
			columns = terminalColumns()
		}
		writeTable(w, all, columns)
	}
	if err := w.Flush(); err != nil && !isPipe(err) {
		return failed("write", out.Name(), err)
	}
	return failure
}

// file returns the sessions of a file, which count on from another, and the number of
// the last one. The error was reported.
func (l *ls) file(ctx context.Context, name string, after int64) ([]*listed, int64, error) {
	g := &lister{filter: l.view.filter.Filter}
	var sink decode.Sink = g
	if l.sessions != nil {
		sink = decode.Where(l.sessions.has, sink)
	}
	last, err := l.view.count(ctx, l.con, "ls", name, after, sink)
	for _, conn := range g.open.Open() {
		r := g.open.Lookup(conn)
		r.Open = true
		g.add(r)
	}
	return g.rows, last, err
}

// A lister gathers sessions.
type lister struct {
	filter *filter.Filter
	state  filter.State
	open   decode.PerSession[listed]
	rows   []*listed
}

// Emit adds what an event tells to its session.
func (g *lister) Emit(ev *decode.Event) {
	matched := g.filter == nil || g.filter.Match(&g.state, ev)
	if ev.Info == nil || ev.Conn == 0 {
		return
	}
	r := g.open.Of(ev)
	if r.Session == 0 {
		r.Session, r.Start, r.URL = ev.Conn, ev.Info.Time, ev.Info.URL
	}
	if ev.Kind == decode.KindOpaque && ev.Handshake == nil {
		r.Server = ev.Info.Server
	}
	r.matched = r.matched || matched
	r.Seconds = ev.Time.Sub(r.Start).Seconds()
	for _, v := range ev.Violations {
		switch v.Severity {
		case decode.SeverityError:
			r.Errors++
		case decode.SeverityWarning:
			r.Warnings++
		}
	}
	if hs := ev.Handshake; hs != nil {
		r.handshake(hs)
	}
	if ev.Kind == decode.KindNotice && ev.Info.NoFrames {
		r.failed(ev.Text)
	}
	if ev.Kind == decode.KindFrame && !ev.Out && !ev.Frame.More {
		r.Bytes[ev.Dir] += ev.Frame.WireLen()
	}
	if m := ev.Message; m != nil && m.Frames == 0 {
		r.Bytes[ev.Dir] += m.Len
	}
	if ev.Message != nil && ev.Message.Op <= ws.OpBinary && !repeats(ev) {
		r.Sent[ev.Dir]++
	}
	if t := ev.Totals; t != nil {
		r.Seconds, r.Bytes, r.Code, r.By = t.Closed.Sub(t.Opened).Seconds(), t.Bytes, int(t.Code), t.Closer()
		r.Errors, r.Warnings = int64(t.Errors), int64(t.Warnings) // those too that were not told again
		if t.Status != 0 {
			r.Status = t.Status
		}
		if !r.WebSocket {
			r.By = "" // connections of HTTP go on
		}
		g.add(r)
	}
}

// failed takes a notice that may say why a session ended: of Chrome, of a HAR and of
// mitmproxy.
func (r *listed) failed(notice string) {
	for _, begin := range [...]string{"error: ", "it failed: ", "mitmproxy: "} {
		if text, ok := strings.CutPrefix(notice, begin); ok {
			r.Failure = text
		}
	}
}

func (r *listed) handshake(hs *decode.Handshake) {
	r.WebSocket = hs.WebSocket || hs.Accepted
	if h := hs.Request; h != nil {
		r.Method = h.Method
		if r.URL == "" {
			r.URL = h.Target
		}
	}
	if h := hs.Response; h != nil {
		r.Status = h.Status
	}
	if hs.Accepted {
		r.Subprotocol, r.Extensions = hs.Subprotocol, hs.Extensions
	}
}

func (g *lister) add(r *listed) {
	if r.matched {
		c := *r
		g.rows = append(g.rows, &c)
	}
}

// order sorts sessions as --sort says.
func (l *ls) order(rows []*listed) {
	by := map[string]func(a, b *listed) int{
		"session":  func(a, b *listed) int { return 0 },
		"start":    func(a, b *listed) int { return a.Start.Compare(b.Start) },
		"seconds":  func(a, b *listed) int { return cmp.Compare(b.Seconds, a.Seconds) },
		"messages": func(a, b *listed) int { return cmp.Compare(b.Sent[0]+b.Sent[1], a.Sent[0]+a.Sent[1]) },
		"bytes":    func(a, b *listed) int { return cmp.Compare(b.Bytes[0]+b.Bytes[1], a.Bytes[0]+a.Bytes[1]) },
		"code":     func(a, b *listed) int { return cmp.Compare(b.Code, a.Code) },
		"findings": func(a, b *listed) int {
			return cmp.Or(cmp.Compare(b.Errors, a.Errors), cmp.Compare(b.Warnings, a.Warnings))
		},
		"url": func(a, b *listed) int { return strings.Compare(a.URL, b.URL) },
	}[l.sort.value]
	slices.SortStableFunc(rows, func(a, b *listed) int {
		return cmp.Or(by(a, b), cmp.Compare(a.Session, b.Session))
	})
}

// byText says who closed a session: "client", "server", "wstrace", "change", or ""
// if that is not known.
func byText(who string) string {
	switch who {
	case "":
		return ""
	case "change":
		return " by a change"
	}
	return " by " + who
}

// end says how a session ended.
func (r *listed) end() string {
	by := byText(r.By)
	switch {
	case r.Open:
		return "open"
	case r.Code != 0:
		return strconv.Itoa(r.Code) + by
	case r.Failure != "":
		text := decode.WholeChars([]byte(r.Failure[:min(len(r.Failure), maxFailure)]))
		if len(text) < len(r.Failure) {
			text = append(text, "…"...)
		}
		return "error: " + string(decode.AppendEscaped(nil, text, false))
	case r.WebSocket && r.Status == 101:
		return "closed" + by
	case r.Status != 0:
		return strconv.Itoa(r.Status)
	}
	return "-"
}

// maxFailure is how many bytes of a failure the table shows.
const maxFailure = 40

func (r *listed) findings() string {
	var parts []string
	if r.Errors > 0 {
		parts = append(parts, plural(r.Errors, "error"))
	}
	if r.Warnings > 0 {
		parts = append(parts, plural(r.Warnings, "warning"))
	}
	return cmp.Or(strings.Join(parts, ", "), "-")
}

// what is what was asked for, and what was agreed on.
func (r *listed) what() string {
	s := cmp.Or(r.URL, r.Server)
	if r.Server != "" {
		s = "tunnel " + s
	}
	if !r.WebSocket && r.Method != "" {
		s = r.Method + " " + s
	}
	for _, more := range []string{r.Subprotocol, r.Extensions} {
		if more != "" {
			s += "  " + more
		}
	}
	return string(decode.AppendEscaped(nil, []byte(cmp.Or(s, "-")), false))
}

// writeTable writes sessions as a table. If that is wider than so many columns, what was
// asked for stands in a line below.
func writeTable(w io.Writer, rows []*listed, columns int) {
	table := [][]string{{"#", "START", "LENGTH", "CLIENT", "SERVER", "END", "FINDINGS", "URL, SUBPROTOCOL, COMPRESSION"}}
	for _, r := range rows {
		side := func(d decode.Dir) string {
			return strconv.FormatInt(r.Sent[d], 10) + " msg " + string(render.AppendSize(nil, r.Bytes[d]))
		}
		table = append(table, []string{strconv.FormatInt(r.Session, 10), r.Start.Local().Format("15:04:05.000"),
			lasted(r.Seconds), side(decode.FromClient), side(decode.FromServer), r.end(), r.findings(), r.what()})
	}
	widths := make([]int, len(table[0]))
	for _, row := range table {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	total := 2 * len(widths)
	for _, n := range widths {
		total += n
	}
	for _, row := range table {
		var line strings.Builder
		for i, cell := range row {
			if i == len(row)-1 && total-2 > columns {
				fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
				line.Reset()
				line.WriteString(strings.Repeat(" ", widths[0]+2))
			}
			pad := strings.Repeat(" ", widths[i]-len(cell))
			switch i {
			case 0, 2, 3, 4: // numbers
				line.WriteString(pad + cell + "  ")
			default:
				line.WriteString(cell + pad + "  ")
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// lasted returns a time in seconds as it is shown.
func lasted(seconds float64) string {
	return string(render.AppendDuration(nil, time.Duration(seconds*float64(time.Second))))
}

func writeCSV(w io.Writer, rows []*listed) {
	c := csv.NewWriter(w)
	c.Write([]string{"session", "start", "seconds", "url", "server", "method", "status", "subprotocol", "extensions",
		"messages_client", "messages_server", "bytes_client", "bytes_server", "code", "by", "errors", "warnings", "failure"})
	n := func(n int64) string { return strconv.FormatInt(n, 10) }
	known := func(code int) string {
		if code == 0 {
			return ""
		}
		return strconv.Itoa(code)
	}
	for _, r := range rows {
		c.Write(visible([]string{n(r.Session), r.Start.Format(time.RFC3339Nano), strconv.FormatFloat(math.Round(r.Seconds*1e9)/1e9, 'f', -1, 64), r.URL, r.Server, r.Method,
			known(r.Status), r.Subprotocol, r.Extensions, n(r.Sent[0]), n(r.Sent[1]), n(r.Bytes[0]), n(r.Bytes[1]),
			known(r.Code), r.By, n(r.Errors), n(r.Warnings), r.Failure}))
	}
	c.Flush()
}
