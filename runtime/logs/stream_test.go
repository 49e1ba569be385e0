package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/logs/index"
	"keelson/runtime/timeline"
)

const copyEnv = "KEELSON_TEST_COPY" // FIFO:LOG

// TestMain makes the test binary run as a copier, which a test can kill.
func TestMain(m *testing.M) {
	if what := os.Getenv(copyEnv); what != "" {
		fifo, log, _ := strings.Cut(what, ":")
		f, err := OpenFIFO(fifo)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		var c Copier
		c.Copy(f, Options{Path: log, Limit: 1 << 30})
		fmt.Println("copying")
		time.Sleep(time.Minute)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// streamed starts to copy a FIFO to a log and returns the stream and the FIFO's write end.
func streamed(t testing.TB, o Options) (*Stream, *os.File) {
	t.Helper()
	fifo := filepath.Join(t.TempDir(), "logs", "fifo")
	if err := MakeFIFO(fifo); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFIFO(fifo)
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	var c Copier
	t.Cleanup(c.Close)
	return c.Copy(f, o), w
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestLastOutputIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "x.log")
	for i := range 3 { // each stream appends to the log of the previous one
		var mirror bytes.Buffer
		o := Options{Path: path, Limit: 1 << 20}
		if i == 2 {
			o.Mirror = func(b []byte) { mirror.Write(b) }
		}
		s, w := streamed(t, o)
		fmt.Fprint(w, strings.Repeat("line\n", 100), "last")
		w.Close()
		begin := time.Now()
		s.Finish(5 * time.Minute)
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("finishing took %v", took)
		}
		want := strings.Repeat("line\n", 100) + "last"
		if got := read(t, path); got != strings.Repeat(want, i+1) {
			t.Fatalf("%d: %d bytes", i, len(got))
		}
		if i == 2 && mirror.String() != want {
			t.Errorf("mirror got %q", mirror.String())
		}
	}
}

func TestFinishEndsAfterGrace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	s, w := streamed(t, Options{Path: path})
	defer w.Close()
	fmt.Fprint(w, "held open")
	s.Finish(50 * time.Millisecond)
	if got := read(t, path); got != "held open" {
		t.Errorf("got %q", got)
	}
}

func TestPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.log")
	var c Copier
	s := c.Copy(r, Options{Path: path})
	fmt.Fprint(w, "by pipe")
	w.Close()
	s.Finish(time.Minute)
	if got := read(t, path); got != "by pipe" {
		t.Errorf("got %q", got)
	}
}

// The log and the rotated log contain the last output in whole lines, within the limit.
func TestFloodIsBounded(t *testing.T) {
	const limit, lines = 128 << 10, 60000
	for _, mirrored := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "x.log")
		o := Options{Path: path, Limit: limit}
		if mirrored {
			o.Mirror = func([]byte) {}
		}
		s, w := streamed(t, o)
		for i := 0; i < lines; i += 100 {
			var b strings.Builder
			for j := range 100 {
				fmt.Fprintf(&b, "%d%s\n", i+j, strings.Repeat("x", j))
			}
			if _, err := io.WriteString(w, b.String()); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		s.Finish(time.Minute)
		old, new := read(t, Old(path)), read(t, path)
		var times []byte // Logs that rotate all the time have no index.
		for _, log := range []string{path, Old(path)} {
			text, err := os.ReadFile(index.Path(log))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			times = append(times, text...)
		}
		if len(old)+len(new)+len(times) > limit || len(old) < limit/4 {
			t.Errorf("%d and %d bytes with a limit of %d", len(old), len(new), limit)
		}
		if !strings.HasSuffix(old, "\n") {
			t.Error("the old file ends within a line")
		}
		all := strings.Split(strings.TrimSuffix(old+new, "\n"), "\n")
		for k, line := range all {
			n := lines - len(all) + k
			if want := fmt.Sprintf("%d%s", n, strings.Repeat("x", n%100)); line != want {
				t.Fatalf("line %q, want %q", line, want)
			}
		}
	}
}

func TestEndlessLineIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	s, w := streamed(t, Options{Path: path, Limit: MinLimit})
	if _, err := w.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	s.Finish(time.Minute)
	for _, p := range []string{path, Old(path)} {
		if n := len(read(t, p)); n > MinLimit/2 {
			t.Errorf("%s has %d bytes", p, n)
		}
	}
}

// If the copying process is killed again and again during writes, no byte is lost or
// repeated.
func TestKilledCopier(t *testing.T) {
	dir := t.TempDir()
	fifo, log := filepath.Join(dir, "fifo"), filepath.Join(dir, "x.log")
	if err := MakeFIFO(fifo); err != nil {
		t.Fatal(err)
	}
	held, err := OpenFIFO(fifo) // as the shim holds both ends
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	stop, written := make(chan struct{}), make(chan int)
	go func() {
		w, _ := os.OpenFile(fifo, os.O_WRONLY, 0)
		defer w.Close()
		for i := 0; ; i++ {
			select {
			case <-stop:
				written <- i
				return
			default:
				fmt.Fprintf(w, "%d\n", i)
			}
		}
	}()
	for i := range 20 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), copyEnv+"="+fifo+":"+log)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * time.Millisecond)
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	}
	r, err := OpenFIFO(fifo)
	if err != nil {
		t.Fatal(err)
	}
	var c Copier
	s := c.Copy(r, Options{Path: log, Limit: 1 << 30})
	close(stop)
	n := <-written
	held.Close()
	s.Finish(time.Minute)
	i := 0
	for line := range strings.Lines(read(t, log)) {
		if line != fmt.Sprintf("%d\n", i) {
			t.Fatalf("line %q, want %d", line, i)
		}
		i++
	}
	if i != n || n < 1000 {
		t.Errorf("%d lines of %d", i, n)
	}
}

// The index has the offset and the time of each write, also after a rotation and in a
// process that continues.
func TestTimesOfLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	line := strings.Repeat("x", 4000) + "\n"
	before := timeline.Now()
	for process := range 2 {
		s, w := streamed(t, Options{Path: path, Limit: MinLimit})
		for i := range 6 {
			fmt.Fprint(w, line)
			untilSizes(t, int64((6*process+i+1)*len(line)), path, Old(path))
			time.Sleep(2 * index.Interval)
		}
		w.Close()
		s.Finish(time.Minute)
	}
	for _, p := range []string{Old(path), path} {
		lines := len(read(t, p)) / len(line)
		f, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		x, err := index.Open(index.Path(p), f)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		if x.Len() != lines || lines < 3 {
			t.Errorf("%s: %d records, want %d", p, x.Len(), lines)
		}
		for i := range x.Len() {
			r, err := x.Record(i)
			if err != nil || r.Offset != int64(i*len(line)) || r.At < before || r.At > timeline.Now() {
				t.Errorf("%s: record %d: %+v, %v", p, i, r, err)
			}
		}
	}
}

// Without an index, output is copied as before.
func TestIndexCannotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	if err := os.MkdirAll(filepath.Join(index.Path(path), "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, w := streamed(t, Options{Path: path, Limit: MinLimit})
	for i := range 20 {
		fmt.Fprintf(w, "%d%s\n", i, strings.Repeat("x", 4000))
	}
	w.Close()
	s.Finish(time.Minute)
	if all := read(t, Old(path)) + read(t, path); strings.Count(all, "\n") < 8 || !strings.Contains(all, "\n19x") {
		t.Errorf("the logs hold %d bytes", len(all))
	}
}

// untilSizes waits until files have a size together.
func untilSizes(t *testing.T, want int64, paths ...string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		var all int64
		for _, path := range paths {
			if info, err := os.Stat(path); err == nil {
				all += info.Size()
			}
		}
		if all == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v have %d bytes, want %d", paths, all, want)
		}
	}
}

// BenchmarkCopy copies chunks of lines from a FIFO to a file.
func BenchmarkCopy(b *testing.B) {
	for _, limit := range []int64{MinLimit, 8 << 20} {
		b.Run(fmt.Sprintf("limit=%dK", limit>>10), func(b *testing.B) {
			s, w := streamed(b, Options{Path: filepath.Join(b.TempDir(), "x.log"), Limit: limit})
			lines := []byte(strings.Repeat("a line of a log, as long as most of them are\n", 90))
			b.SetBytes(int64(len(lines)))
			before := processorTime()
			for b.Loop() {
				if _, err := w.Write(lines); err != nil {
					b.Fatal(err)
				}
			}
			w.Close()
			s.Finish(time.Minute)
			b.ReportMetric(float64(processorTime()-before)/float64(b.N*len(lines))*1e3, "cpu-µs/MB")
		})
	}
}

// BenchmarkCopyPaced copies 10 ms of a service that writes 100 MB/s, and of one that writes
// a line: each line has a time of its own.
func BenchmarkCopyPaced(b *testing.B) {
	for name, size := range map[string]int{"100MB/s": 1 << 20, "line": 45} {
		b.Run(name, func(b *testing.B) {
			s, w := streamed(b, Options{Path: filepath.Join(b.TempDir(), "x.log"), Limit: 8 << 20})
			lines := []byte(strings.Repeat("a line of a log, as long as most of them are\n", max(1, size/45)))
			ticks := time.NewTicker(index.Interval)
			defer ticks.Stop()
			before := processorTime()
			for b.Loop() {
				<-ticks.C
				if _, err := w.Write(lines); err != nil {
					b.Fatal(err)
				}
			}
			w.Close()
			s.Finish(time.Minute)
			b.ReportMetric(float64(processorTime()-before)/float64(b.N)/1e3, "cpu-µs/op")
		})
	}
}

// processorTime returns what this process has used, in nanoseconds: writer and copier.
func processorTime() int64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}
