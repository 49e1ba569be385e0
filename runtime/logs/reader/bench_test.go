package reader

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/logs"
)

// BenchmarkFollow follows the log of a service that writes 100 MB/s, in parts each 10 ms, with the
// usual limit of a log: it is rotated 25 times per second. Processor time is that of writer, copier
// and readers; a reader that is too slow misses lines.
func BenchmarkFollow(b *testing.B) {
	const part, every = 1 << 20, 10 * time.Millisecond
	line := "a line of a log, as long as most of them are\n"
	lines := []byte(strings.Repeat(line, part/len(line)))
	for _, readers := range []int{0, 1, 2} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			dir := b.TempDir()
			r, w, err := os.Pipe()
			if err != nil {
				b.Fatal(err)
			}
			var c logs.Copier
			defer c.Close()
			stream := c.Copy(r, logs.Options{Path: filepath.Join(dir, "web.log"), Limit: 8 << 20})
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			var reading sync.WaitGroup
			read := make([]int, readers)
			for i := range readers {
				ready := make(chan struct{})
				began := sync.OnceFunc(func() { close(ready) })
				reading.Go(func() {
					var text []byte
					format := (&short{}).format
					for e, err := range (Set{Folders: []string{dir}}).Read(ctx, Options{Follow: true, Waiting: began}) {
						if err != nil {
							b.Error(err)
							break
						}
						text = format(text[:0], e)
						read[i]++
					}
					began()
				})
				<-ready
			}
			ticks := time.NewTicker(every)
			defer ticks.Stop()
			before := processorTime(b)
			for b.Loop() {
				<-ticks.C
				if _, err := w.Write(lines); err != nil {
					b.Fatal(err)
				}
			}
			w.Close()
			stream.Finish(time.Minute)
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N*len(lines))*1e3, "cpu-µs/MB")
			cancel()
			reading.Wait()
			for i, n := range read {
				b.ReportMetric(float64(n)*float64(len(line))/float64(b.N*len(lines))*100, fmt.Sprintf("%%read-%d", i))
			}
		})
	}
}

// processorTime returns what this process has used, in nanoseconds.
func processorTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
