package output

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A file is a writer that can be made to block or fail, and counts flushes.
type file struct {
	mu      sync.Mutex
	b       bytes.Buffer
	err     error         // what Write returns
	gate    chan struct{} // if not nil, every Write takes a value from it first
	flushes int
}

func (f *file) Write(p []byte) (int, error) {
	if f.gate != nil {
		<-f.gate
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return 0, f.err
	}
	return f.b.Write(p)
}

func (f *file) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flushes++
	return nil
}

func (f *file) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.b.String()
}

func TestWhenLinesArrive(t *testing.T) {
	for _, opts := range []Options{{}, {Drop: true}} {
		synctest.Test(t, func(t *testing.T) {
			var f file
			w := NewWriter(&f, opts)
			defer w.Close()

			io.WriteString(w, "one\n")
			time.Sleep(2 * linger)
			synctest.Wait()
			if got := f.String(); got != "one\n" {
				t.Errorf("after %v of silence the file has %q, want %q", 2*linger, got, "one\n")
			}

			// A line each millisecond leaves no moment of silence.
			for range 150 {
				io.WriteString(w, "x\n")
				time.Sleep(time.Millisecond)
			}
			if got := strings.Count(f.String(), "x"); got < 50 {
				t.Errorf("after 150 ms without silence the file has %d lines, want those of the first 50 ms at least", got)
			}
			if f.flushes > 5 {
				t.Errorf("flushed %d times, want lines gathered", f.flushes)
			}
		})
	}
}

func TestAlways(t *testing.T) {
	var f file
	w := NewWriter(&f, Options{Always: true})
	for i := range 3 {
		fmt.Fprintf(w, "line %d\n", i)
		if got, want := strings.Count(f.String(), "\n"), i+1; got != want || f.flushes != want {
			t.Fatalf("when Write returns the file has %d lines and %d flushes, want %d", got, f.flushes, want)
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseWritesWhatWaits(t *testing.T) {
	for _, opts := range []Options{{}, {Drop: true}} {
		var f file
		w := NewWriter(&f, opts)
		var want strings.Builder
		for i := range 1000 {
			fmt.Fprintf(w, "line %d\n", i)
			fmt.Fprintf(&want, "line %d\n", i)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		io.WriteString(w, "too late\n")
		if got := f.String(); got != want.String() {
			t.Errorf("%+v: the file has %d bytes, want the %d that were written", opts, len(got), want.Len())
		}
	}
}

func TestRecorderWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := file{gate: make(chan struct{})}
		w := NewWriter(&f, Options{})
		line := append(bytes.Repeat([]byte("x"), 64<<10-1), '\n')
		const n = 64 // 4 MiB
		written := 0
		go func() {
			for range n {
				w.Write(line)
				written++
			}
		}()
		synctest.Wait() // until the file and the traffic both wait
		if got, least, most := written*len(line), recorderBuffer, 2*recorderBuffer; got < least || got > most {
			t.Errorf("%d bytes are written before Write waits, want %d to %d", got, least, most)
		}
		close(f.gate)
		synctest.Wait()
		w.Close()
		if got := len(f.String()); got != n*len(line) {
			t.Errorf("the file has %d bytes, want %d", got, n*len(line))
		}
		if w.Dropped() != 0 {
			t.Errorf("a recorder dropped %d lines", w.Dropped())
		}
	})
}

func TestWatcherDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := file{gate: make(chan struct{})}
		var drops []int64
		w := NewWriter(&f, Options{Drop: true, OnDrop: func(n int64) { drops = append(drops, n) }})
		two := append(bytes.Repeat([]byte("x"), 64<<10-2), "\n\n"...)
		const n = 200 // 12.5 MiB
		for range n {
			w.Write(two)
		}
		synctest.Wait()
		if fmt.Sprint(drops) != "[0]" {
			t.Errorf("OnDrop was called with %v while the file blocks, want [0]", drops)
		}
		const queued = watcherQueue / (64 << 10)
		if got, want := w.Dropped(), int64(2*(n-queued)); got != want {
			t.Errorf("%d lines dropped, want %d", got, want)
		}

		close(f.gate)
		synctest.Wait()
		time.Sleep(latest)
		synctest.Wait()
		if want := fmt.Sprint([]int64{0, 2 * (n - queued)}); fmt.Sprint(drops) != want {
			t.Errorf("OnDrop was called with %v when the file takes lines again, want %v", drops, want)
		}
		io.WriteString(w, "after\n")
		w.Close()
		if got, want := f.String(), strings.Repeat(string(two), queued)+"after\n"; got != want {
			t.Errorf("the file has %d bytes, want %d", len(got), len(want))
		}
		if got, want := w.Dropped(), int64(2*(n-queued)); got != want {
			t.Errorf("%d lines dropped in the end, want %d", got, want)
		}
	})
}

func TestWatcherThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := file{gate: make(chan struct{})}
		w := NewWriter(&f, Options{Drop: true})
		io.WriteString(w, "one\n")
		synctest.Wait()
		time.Sleep(latest)
		io.WriteString(w, "two\n")
		begun := time.Now()
		w.Close()
		if took := time.Since(begun); took > 2*giveUp {
			t.Errorf("Close took %v, want at most %v", took, 2*giveUp)
		}
		if got := w.Dropped(); got != 2 {
			t.Errorf("%d lines dropped, want 2", got)
		}
		close(f.gate) // lets the goroutine go
	})
}

func TestLongLine(t *testing.T) {
	for _, opts := range []Options{{}, {Drop: true}, {Always: true}} {
		var f file
		w := NewWriter(&f, opts)
		w.Write(bytes.Repeat([]byte("x"), watcherQueue+1))
		w.Close()
		if got := len(f.String()); got != watcherQueue+1 {
			t.Errorf("%+v: the file has %d bytes of a line of %d", opts, got, watcherQueue+1)
		}
	}
}

func TestError(t *testing.T) {
	for _, opts := range []Options{{}, {Drop: true}, {Always: true}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Skip(err)
		}
		defer full.Close()
		failed := make(chan error, 10)
		opts.OnError = func(err error) { failed <- err }
		w := NewWriter(full, opts)
		io.WriteString(w, "one\n")
		if err := <-failed; !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("OnError was called with %v, want %v", err, syscall.ENOSPC)
		}
		for range 100 { // more than a buffer: a failed recorder must not wait
			w.Write(bytes.Repeat([]byte("x"), 64<<10))
		}
		if err := w.Close(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Close returns %v, want %v", err, syscall.ENOSPC)
		}
		if len(failed) > 0 {
			t.Errorf("OnError was called again, with %v", <-failed)
		}
	}
}

// A Writer that failed goes on behind what was lost.
func TestRevive(t *testing.T) {
	for _, opts := range []Options{{}, {Always: true}} {
		synctest.Test(t, func(t *testing.T) {
			f := file{gate: make(chan struct{}), err: io.ErrClosedPipe}
			close(f.gate)
			failed := 0
			opts.OnError = func(error) { failed++ }
			w := NewWriter(&f, opts)
			calls := 0
			revive := func(err error) error { return w.Revive(func() error { calls++; return err }) }
			if err := revive(nil); err != nil || calls > 0 {
				t.Errorf("one that works: %v, %d calls", err, calls)
			}
			io.WriteString(w, "one\n")
			synctest.Wait()
			time.Sleep(latest)
			if err := revive(io.EOF); err != io.EOF || w.Err() != io.ErrClosedPipe {
				t.Errorf("got %v, and %v stays", err, w.Err())
			}
			io.WriteString(w, "two\n")
			time.Sleep(latest)
			f.err = nil
			if err := revive(nil); err != nil {
				t.Error(err)
			}
			io.WriteString(w, "three\n")
			if err := w.Close(); err != nil || f.String() != "three\n" || failed != 1 {
				t.Errorf("got %v, %q, %d errors", err, f.String(), failed)
			}
			if err := revive(nil); err != nil || calls != 2 {
				t.Errorf("one that is closed: %v, %d calls", err, calls)
			}
		})
	}
}

// TestErrorWhileWaiting lets the file fail when Write already waits for it.
func TestErrorWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := file{gate: make(chan struct{}), err: io.ErrClosedPipe}
		w := NewWriter(&f, Options{})
		done := false
		go func() {
			for range 64 {
				w.Write(make([]byte, 64<<10))
			}
			done = true
		}()
		synctest.Wait()
		close(f.gate)
		synctest.Wait()
		if !done {
			t.Error("Write waits for a file that failed")
		}
		w.Close()
	})
}

func TestLinesStayWhole(t *testing.T) {
	var f file
	w := NewWriter(&f, Options{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 5000 {
				fmt.Fprintf(w, "%s\n", strings.Repeat(string(rune('a'+i)), 100))
			}
		})
	}
	wg.Wait()
	w.Close()
	n := 0
	for line := range strings.Lines(f.String()) {
		if n++; strings.Trim(line, line[:1]) != "\n" || len(line) != 101 {
			t.Fatalf("line %d is %q", n, line)
		}
	}
	if n != 4*5000 {
		t.Errorf("got %d lines, want %d", n, 4*5000)
	}
}

func TestWriteDoesNotAllocate(t *testing.T) {
	for _, opts := range []Options{{}, {Drop: true}, {Always: true}} {
		w := NewWriter(io.Discard, opts)
		line := bytes.Repeat([]byte("x"), 1000)
		for range 5000 { // until both buffers have grown
			w.Write(line)
		}
		if n := testing.AllocsPerRun(2000, func() { w.Write(line) }); n != 0 {
			t.Errorf("%+v: Write allocates %v times", opts, n)
		}
		w.Close()
	}
}

func BenchmarkWrite(b *testing.B) {
	w := NewWriter(io.Discard, Options{})
	defer w.Close()
	line := bytes.Repeat([]byte("x"), 100)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		w.Write(line)
	}
}

// TestLatestIsKeptByTheClock has a line wait while another is written slowly, and
// lines come without a moment of silence: the wait counts from when it came.
func TestLatestIsKeptByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := file{gate: make(chan struct{})}
		w := NewWriter(&f, Options{})
		io.WriteString(w, "slow\n")
		time.Sleep(2 * linger) // it is being written
		io.WriteString(w, "late\n")
		for range 9 {
			time.Sleep(10 * time.Millisecond)
			io.WriteString(w, "x\n")
		}
		f.gate <- struct{}{}
		for range 10 { // 20 ms, and no silence in them
			time.Sleep(2 * time.Millisecond)
			io.WriteString(w, "x\n")
		}
		select {
		case f.gate <- struct{}{}:
		default:
			t.Errorf("after %v the line that waits is not being written", latest+10*time.Millisecond)
		}
		close(f.gate)
		w.Close()
	})
}

// A watched file can be told to be gone.
type watched struct {
	file
	gone   error
	checks int
}

func (f *watched) Check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.checks++
	return f.gone
}

// checked returns how often it was checked, and from then on lets gone be the
// result.
func (f *watched) checked(gone error) int {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = gone
	return f.checks
}

func TestCheck(t *testing.T) {
	for _, always := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var f watched
			var said []error
			w := NewWriter(&f, Options{Always: always, OnError: func(err error) { said = append(said, err) }})
			time.Sleep(time.Hour)
			if n := f.checked(nil); n != 0 {
				t.Errorf("%d checks of a file that was not written to, want none", n)
			}
			for range 500 { // 5 seconds
				io.WriteString(w, "x\n")
				time.Sleep(10 * time.Millisecond)
			}
			if n := f.checked(nil); n < 4 || n > 5 {
				t.Errorf("%d checks in 5 seconds, want one a second", n)
			}
			time.Sleep(2 * checkAfter)
			gone := io.ErrUnexpectedEOF
			f.checked(gone)
			time.Sleep(time.Hour)
			synctest.Wait()
			if len(said) != 0 {
				t.Errorf("without a write there was a check: %v", said)
			}
			io.WriteString(w, "x\n")
			time.Sleep(checkAfter + linger)
			io.WriteString(w, "y\n")
			time.Sleep(checkAfter + linger)
			synctest.Wait()
			if len(said) != 1 || said[0] != gone || w.Err() != gone {
				t.Errorf("OnError was called with %v, Err returns %v, want %v once", said, w.Err(), gone)
			}
			if w.Close() != gone || strings.Contains(f.String(), "y") {
				t.Error("it is written to after it is gone")
			}
		})
	}
}

func TestCut(t *testing.T) {
	for _, always := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var f file
			w := NewWriter(&f, Options{Always: always})
			cut := func() { f.Write([]byte("|")) }
			w.Cut(cut)
			for i := range 3 {
				fmt.Fprintf(w, "%d", i)
				w.Cut(cut)
			}
			synctest.Wait()
			w.Write(bytes.Repeat([]byte("x"), 2*writeSize))
			w.Cut(cut)
			w.Close()
			w.Cut(cut)
			if got, want := f.String(), "|0|1|2|"+strings.Repeat("x", 2*writeSize)+"|"; got != want {
				t.Errorf("always %v: got %.20q and so on, %d bytes, want %d", always, got, len(got), len(want))
			}
		})
	}
	failing := file{err: io.ErrClosedPipe}
	w := NewWriter(&failing, Options{})
	io.WriteString(w, "x\n")
	w.Cut(func() { t.Error("a cut is made in a file that can't be written") })
	w.Close()
}
