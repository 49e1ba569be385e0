package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// How an initrd is packed.
const (
	Fast = "fast" // for the one who builds
	Best = "best" // as small as can be; takes the program zstd and a minute
	None = "none" // for the one who boots, and has room
)

// compression packs an initrd.
type compression struct {
	key string // all that the result depends on but the data
	// open packs what is written to it; size is how much that will be.
	open func(w io.Writer, size int64) (io.WriteCloser, error)
}

// The kernel needs memory of the window's size while it unpacks. Programs in Go
// have much in common, but many megabytes apart: a window over all of them makes
// a third less of the guest, at levels that look that far back (measured, 63 MB:
// fast 20.6 MB in 2 s, best 13.0 MB in 60 s; the library's best level with the
// same window 15.1 MB).
const (
	fastLevel  = zstd.SpeedBetterCompression
	fastWindow = 16 << 20
	bestLevel  = "-22"
	bestWindow = "26" // power of two
)

var compressions = map[string]compression{
	Fast: {fmt.Sprint(fastLevel, " ", fastWindow), openFast},
	Best: {"zstd " + bestLevel + " " + bestWindow, openBest},
	None: {"none", func(w io.Writer, _ int64) (io.WriteCloser, error) { return nopCloser{w}, nil }},
}

// Compressions are the names of all.
func Compressions() []string { return slices.Sorted(maps.Keys(compressions)) }

func checkCompression(name string) error {
	if _, ok := compressions[name]; !ok && name != "" {
		return fmt.Errorf("there is no compression %q: choose of %s", name, strings.Join(Compressions(), ", "))
	}
	return nil
}

// openFast uses one goroutine, so that the result depends on the data alone.
func openFast(w io.Writer, _ int64) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderLevel(fastLevel), zstd.WithWindowSize(fastWindow), zstd.WithEncoderConcurrency(1))
}

// openBest runs zstd(1), of which there is no like in Go. The size keeps the
// window, and so the memory that the kernel needs, from being larger than what
// is packed.
func openBest(w io.Writer, size int64) (io.WriteCloser, error) {
	c := exec.Command("zstd", "--single-thread", "--ultra", bestLevel, "--long="+bestWindow, fmt.Sprintf("--stream-size=%d", size), "-q", "-c")
	z := &packer{cmd: c}
	c.Stdout, c.Stderr = w, &z.stderr
	var err error
	if z.WriteCloser, err = c.StdinPipe(); err != nil {
		return nil, err
	}
	return z, c.Start()
}

// packer is a program that packs what is written to it.
type packer struct {
	io.WriteCloser // its standard input
	cmd            *exec.Cmd
	stderr         bytes.Buffer
}

// Close waits until all is packed.
func (p *packer) Close() error {
	err := errors.Join(p.WriteCloser.Close(), p.cmd.Wait())
	if err != nil {
		return fmt.Errorf("zstd: %w: %s", err, strings.TrimSpace(p.stderr.String()))
	}
	return nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
