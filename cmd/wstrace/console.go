package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wstrace/wstrace/decode"
	flows "github.com/wstrace/wstrace/decode/flow"
	"github.com/wstrace/wstrace/proxy"
)

// A console writes what is not an event: lines that begin with "wstrace: ". It
// is also the handler of the proxy's log, and shows the message of a record and,
// if it has a reason, the remedy, each once.
type console struct {
	w       io.Writer
	quiet   bool                // no notices
	verbose bool                // debug messages too
	hide    func(string) string // takes out secrets; nil if it need not be

	// untrusted returns the hint for a process that does not trust our authority; nil
	// without a command.
	untrusted func(process string) string

	told sync.Map // the remedies, as keys

	messages []string // files that have messages, not frames, of which was not told yet
}

// addMessages notes that a file has messages, not frames.
func (c *console) addMessages(name string) {
	if !slices.Contains(c.messages, name) {
		c.messages = append(c.messages, name)
	}
}

// tellMessages says which files have messages, not frames, once for all of them.
func (c *console) tellMessages() {
	const rest = "messages, not frames: flags and masks are unknown, and only messages are judged"
	switch n := len(c.messages); n {
	case 0:
	case 1:
		c.note("%q has %s", c.messages[0], rest)
	case 2:
		c.note("%q and %q have %s", c.messages[0], c.messages[1], rest)
	default:
		c.note("%q and %d more files have %s", c.messages[0], n-1, rest)
	}
	c.messages = nil
}

// note writes a notice.
func (c *console) note(format string, args ...any) {
	if !c.quiet {
		c.say(format, args...)
	}
}

// hint writes how something can be mended.
func (c *console) hint(format string, args ...any) {
	if !c.quiet {
		c.say("hint: "+format, args...)
	}
}

// fail writes an error, and its hint.
func (c *console) fail(err error) {
	if err == nil || errors.Is(err, errReported) || errors.Is(err, errFound) {
		return
	}
	c.say("%v", err)
	var h hinted
	if !errors.As(err, &h) {
		return
	}
	if _, told := c.told.LoadOrStore(h.hint, true); !told {
		c.hint("%s", h.hint)
	}
}

// failIn writes what was wrong with the file called name, and returns an error
// that was reported. That the file is cut off is no error.
func (c *console) failIn(op, name string, err error) error {
	if err == nil {
		return nil
	}
	err = failed(op, name, err)
	if v, ok := errors.AsType[*flows.VersionError](err); ok {
		err = hinted{err, flowRemedy(v)}
	}
	c.fail(err)
	if errors.Is(err, decode.ErrCut) {
		return nil
	}
	return reported(err)
}

// flowRemedy returns what can be done about a version of flow files.
func flowRemedy(v *flows.VersionError) string {
	if v.Old() {
		return "mitmproxy 8 or newer writes the file anew: mitmdump -n -r OLD.flow -w NEW.flow"
	}
	return "the file is of a newer mitmproxy than this wstrace knows; mitmdump can write it as HAR: --set hardump=NEW.har"
}

// during calls f, and says what it is about if that takes longer than a moment.
func (c *console) during(what string, f func() error) error {
	done, said := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(said)
		select {
		case <-done:
		case <-time.After(moment):
			c.say("%s", what)
		}
	}()
	err := f()
	close(done)
	<-said
	return err
}

// say writes a message, one call of Write for all its lines.
func (c *console) say(format string, args ...any) {
	var b []byte
	text := fmt.Sprintf(format, args...)
	if c.hide != nil {
		text = c.hide(text)
	}
	for line := range strings.Lines(text) {
		b = append(b, "wstrace: "...)
		b = decode.AppendEscaped(b, []byte(strings.TrimSuffix(line, "\n")), false)
		b = append(b, '\n')
	}
	c.w.Write(b)
}

// Enabled, Handle, WithAttrs and WithGroup make c a [slog.Handler].

func (c *console) Enabled(_ context.Context, l slog.Level) bool {
	switch {
	case l >= slog.LevelWarn:
		return true
	case l >= slog.LevelInfo:
		return !c.quiet
	}
	return c.verbose
}

func (c *console) Handle(_ context.Context, r slog.Record) error {
	c.say("%s", r.Message)
	var hint string
	r.Attrs(func(a slog.Attr) bool {
		switch v := a.Value.Any().(type) {
		case proxy.Reason:
			hint = remedies[v]
		case string:
			if a.Key == proxy.ProcessKey && c.untrusted != nil {
				hint = c.untrusted(v)
			}
		}
		return true
	})
	if _, told := c.told.LoadOrStore(hint, true); hint != "" && !told {
		c.hint("%s", hint)
	}
	return nil
}

func (c *console) WithAttrs([]slog.Attr) slog.Handler { return c }

func (c *console) WithGroup(string) slog.Handler { return c }
