package memconn

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe()
		a.Write(make([]byte, 1<<20)) // it waits for no reader
		a.CloseWrite()
		if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v after CloseWrite", err)
		}
		p, err := io.ReadAll(b)
		if len(p) != 1<<20 || err != nil {
			t.Errorf("got %d bytes, %v", len(p), err)
		}
		b.Write([]byte("still open"))
		p = make([]byte, 100)
		if n, err := a.Read(p); string(p[:n]) != "still open" || err != nil {
			t.Errorf("got %q, %v", p[:n], err)
		}
		began := time.Now()
		a.SetReadDeadline(began.Add(time.Minute))
		if _, err := a.Read(p); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		a.SetReadDeadline(time.Time{})
		go b.Close()
		if _, err := a.Read(p); err != io.EOF {
			t.Errorf("got %v, want EOF", err)
		}
		if _, err := b.Read(p); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v from a closed end", err)
		}
	})
}

// An unbuffered write lasts until it is read, and what is not read when it
// fails is gone.
func TestSyncPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := SyncPipe()
		began := time.Now()
		go func() {
			time.Sleep(time.Minute)
			io.ReadFull(b, make([]byte, 3))
		}()
		if n, err := a.Write([]byte("abc")); n != 3 || err != nil || time.Since(began) != time.Minute {
			t.Errorf("got %d, %v after %v", n, err, time.Since(began))
		}
		a.SetWriteDeadline(time.Now().Add(time.Minute))
		go b.Read(make([]byte, 1))
		if n, err := a.Write([]byte("abc")); n != 1 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 2*time.Minute {
			t.Errorf("got %d, %v after %v", n, err, time.Since(began))
		}
		a.SetWriteDeadline(time.Time{})
		go func() {
			time.Sleep(time.Minute)
			b.CloseRead()
		}()
		if n, err := a.Write([]byte("abc")); n != 0 || !errors.Is(err, syscall.EPIPE) {
			t.Errorf("got %d, %v", n, err)
		}
		a.Close()
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

func TestReset(t *testing.T) {
	a, b := Pipe()
	a.Write([]byte("x"))
	a.Reset()
	if p, err := io.ReadAll(b); string(p) != "x" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %q, %v", p, err)
	}
	if _, err := b.Write([]byte("y")); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
}
