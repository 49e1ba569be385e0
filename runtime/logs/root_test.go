package logs

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/testvm/nstest"
)

// A full or read-only file system does not block the writer, and the number of lost bytes
// is written to the log when there is room again.
func TestFullFileSystem(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		const dir, path, filler = "/run/small", "/run/small/x.log", "/run/small/filler"
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
			t.Fatal(err)
		}
		var logged bytes.Buffer
		s, w := streamed(t, Options{Path: path, Limit: 1 << 20, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		write := func(text string) {
			t.Helper()
			if _, err := io.WriteString(w, text); err != nil {
				t.Fatal(err)
			}
		}
		settle := func(good func(string) bool) {
			t.Helper()
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				text, _ := os.ReadFile(path)
				if good(string(text)) {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("log holds %d bytes: %.100q", len(text), text)
				}
			}
		}
		write("first\n")
		settle(func(text string) bool { return text == "first\n" })
		// Another file fills the file system.
		_ = os.WriteFile(filler, make([]byte, 1<<20), 0o600)
		for range 200 {
			write(strings.Repeat("flood\n", 5000)) // does not block
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		// The stream may drop a new line together with the rest of the flood, so the line
		// is repeated until it arrives.
		settle(func(text string) bool {
			write("again\n")
			return strings.Contains(text, "bytes of output are missing here: no space left on device\n") && strings.HasSuffix(text, "again\n")
		})
		w.Close()
		s.Finish(time.Minute)
		if n := strings.Count(logged.String(), "\n"); n != 1 {
			t.Errorf("the loss was logged %d times:\n%s", n, logged.String())
		}

		// The same on a read-only file system.
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		before := read(t, path)
		s, w = streamed(t, Options{Path: path, Limit: 1 << 20})
		write(strings.Repeat("lost\n", 50000))
		w.Close()
		s.Finish(time.Minute)
		if read(t, path) != before {
			t.Error("a read-only file was written")
		}
	})
}

// Many streams with much output together do not use more than a tenth of a small file
// system.
func TestStreamsShareFileSystem(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		const dir, streams = "/run/small", 5
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
			t.Fatal(err)
		}
		limit := Share(dir, streams)
		done := make(chan bool)
		for i := range streams {
			s, w := streamed(t, Options{Path: fmt.Sprintf("%s/%d.log", dir, i), Limit: limit})
			go func() {
				for range 1000 {
					fmt.Fprint(w, strings.Repeat("flood\n", 500))
				}
				w.Close()
				s.Finish(time.Minute)
				done <- true
			}()
		}
		for range streams {
			<-done
		}
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		used := (st.Blocks - st.Bfree) * uint64(st.Bsize)
		if most := uint64(8<<20)/10 + streams*4*4096; used > most || used < uint64(limit) {
			t.Errorf("%d bytes used, %d at most", used, most)
		}
	})
}

// The next process reports missing bytes if the process that dropped them ends before
// there is room.
func TestLossReportedByNextProcess(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		const dir, path, ledger, filler = "/run/small", "/run/small/x.log", "/run/x.lost", "/run/small/filler"
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
			t.Fatal(err)
		}
		_ = os.WriteFile(filler, make([]byte, 1<<20), 0o600)
		options := Options{Path: path, Limit: 1 << 20, Ledger: ledger, Count: &Count{}}
		s, w := streamed(t, options)
		for range 2 {
			if _, err := io.WriteString(w, "lost\n"); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		s.Finish(time.Minute)
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		s, w = streamed(t, options)
		if _, err := io.WriteString(w, "again\n"); err != nil {
			t.Fatal(err)
		}
		w.Close()
		s.Finish(time.Minute)
		if got := read(t, path); got != "keelson: 10 bytes of output are missing here: no space left on device\nagain\n" {
			t.Errorf("the log is %q", got)
		}
		if written, lost := options.Count.Written.Load(), options.Count.Lost.Load(); lost != 10 || written < int64(len("again\n")) {
			t.Errorf("%d bytes are counted as written, %d as lost", written, lost)
		}
		if _, err := os.Stat(ledger); !os.IsNotExist(err) {
			t.Errorf("the ledger still exists: %v", err)
		}
	})
}
