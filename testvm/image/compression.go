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

// Compressions of an initrd.
const (
	Fast = "fast" // fast to build
	Best = "best" // smallest; needs the program zstd and takes a minute
	None = "none" // fastest to boot
)

// compression packs an initrd.
type compression struct {
	key string // everything besides the data that determines the result
	// open returns a writer that compresses; size is the number of bytes to come.
	open func(w io.Writer, size int64) (io.WriteCloser, error)
}

// The kernel needs as much memory as the window while it unpacks. Go programs share
// much code, but many megabytes apart: a window over all of them saves a third of the
// guest's size, at levels that search that far back (measured, 63 MB: fast 20.6 MB in
// 2 s, best 13.0 MB in 60 s; the library's best level with the same window 15.1 MB).
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

// Compressions returns all names.
func Compressions() []string { return slices.Sorted(maps.Keys(compressions)) }

func checkCompression(name string) error {
	if _, ok := compressions[name]; !ok && name != "" {
		return fmt.Errorf("unknown compression %q: use one of %s", name, strings.Join(Compressions(), ", "))
	}
	return nil
}

// openFast uses one goroutine, so that the result depends only on the data.
func openFast(w io.Writer, _ int64) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderLevel(fastLevel), zstd.WithWindowSize(fastWindow), zstd.WithEncoderConcurrency(1))
}

// openBest runs zstd(1); no Go library compresses as well. Given the size, zstd limits
// the window, and so the memory that the kernel needs, to the size of the data.
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

// packer is a running program that compresses its standard input.
type packer struct {
	io.WriteCloser // its standard input
	cmd            *exec.Cmd
	stderr         bytes.Buffer
}

// Close ends the input and waits for the program.
func (p *packer) Close() error {
	err := errors.Join(p.WriteCloser.Close(), p.cmd.Wait())
	if err != nil {
		return fmt.Errorf("zstd: %w: %s", err, strings.TrimSpace(p.stderr.String()))
	}
	return nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
