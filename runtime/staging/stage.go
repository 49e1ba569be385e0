package staging

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"

	"keelson/runtime/artifact"
	"keelson/runtime/paths"
)

// Options of Stage. The zero value works.
type Options struct {
	Program      string           // runs Main: paths.Service by default
	Args         []string         // of Program: stage-artifact by default
	Architecture string           // in Go's spelling; this machine's by default
	MaxSize      int64            // of the unpacked files, in bytes; 0: what is free, less a reserve
	Images       func() bool      // reports whether the kernel can mount the root of an artifact that is an erofs image; nil: it cannot. It may take long, and is called while the child starts
	DeferRoot    bool             // the caller verifies RootDigest of the result, if there is one, and syncs the files
	InPlace      bool             // with DeferRoot: the root need not be copied from a regular file; Meta.InPlace says where it is
	Progress     func(done int64) // is called with the number of bytes read, from another goroutine; may be nil
	Logger       *slog.Logger     // slog.Default by default
}

// Limits of what the parent reads of the child.
const (
	maxResult = 256 << 10 // on standard output: Meta has up to 32 KiB of signatures
	maxStderr = 16 << 10
)

// result is what the child writes to its standard output.
type result struct {
	Meta   *artifact.Meta `json:"meta,omitempty"`
	Digest string         `json:"digest,omitempty"`
	Error  string         `json:"error,omitempty"`
}

// Stage reads an artifact from r into dir, an existing empty folder, in a confined child.
// All files are on the disk when it returns, unless o.DeferRoot is set and Meta has a
// RootDigest. On an error dir is empty again.
//
// If r is a regular file, the child gets its descriptor and reads it itself; readfile.Reopen opens the
// file of somebody else for that. Stage reads any other r to its end. When it returns early,
// a goroutine may still wait for data from r; it ends when the caller closes r.
func Stage(ctx context.Context, o Options, dir string, r io.Reader) (artifact.Meta, error) {
	meta, err := stage(ctx, o.withDefaults(), dir, r)
	if err != nil {
		return artifact.Meta{}, errors.Join(fmt.Errorf("cannot read the artifact: %w", err), empty(dir))
	}
	return meta, nil
}

func (o Options) withDefaults() Options {
	if o.Program == "" {
		o.Program = paths.Service
	}
	if o.Args == nil {
		o.Args = []string{"stage-artifact"}
	}
	if o.Architecture == "" {
		o.Architecture = runtime.GOARCH
	}
	if o.Progress == nil {
		o.Progress = func(int64) {}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func stage(ctx context.Context, o Options, dir string, r io.Reader) (artifact.Meta, error) {
	if o.MaxSize == 0 {
		size, err := room(dir)
		if err != nil {
			return artifact.Meta{}, err
		}
		o.MaxSize = size
	}
	// The kernel sends the child's Pdeathsig when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	input := regular(r)
	answer, wait, err := o.askImages()
	if err != nil {
		return artifact.Meta{}, err
	}
	defer wait()
	defer answer.Close()
	todo := orders{Dir: dir, Asks: true, settings: settings{Architecture: o.Architecture, MaxSize: o.MaxSize, DeferRoot: o.DeferRoot, InPlace: o.InPlace && input != nil}}
	c, err := start(ctx, o, todo, input, answer)
	if err != nil {
		return artifact.Meta{}, o.cannotStart(err)
	}
	progress := &reporter{report: o.Progress}
	defer progress.stop()
	if input != nil {
		defer progress.follow(input)()
	} else {
		go c.feed(r, progress)
	}
	res, err := c.wait(ctx, o)
	if err != nil {
		return artifact.Meta{}, err
	}
	if res.Meta == nil {
		return artifact.Meta{}, errors.New("the child had no result")
	}
	if err := checkMeta(*res.Meta, o.Architecture); err != nil {
		return artifact.Meta{}, err
	}
	if err := checkPlace(*res.Meta, o, input); err != nil {
		return artifact.Meta{}, err
	}
	return *res.Meta, checkFiles(dir, *res.Meta)
}

// imagesAnswer is the descriptor at which the child with Asks reads whether the kernel can mount an erofs
// image: "1" or "0".
const imagesAnswer = 3

// askImages calls o.Images and returns a pipe with the answer. wait waits for the end of that. The
// caller closes the pipe before, so that nothing waits for a child that has ended.
func (o Options) askImages() (answer *os.File, wait func(), err error) {
	answer, to, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	var asking sync.WaitGroup
	asking.Go(func() {
		defer to.Close()
		text := "0"
		if o.Images != nil && o.Images() {
			text = "1"
		}
		_, _ = to.WriteString(text) // The child may have ended.
	})
	return answer, asking.Wait, nil
}

// readImages reads the answer in the child.
func readImages() (bool, error) {
	text := make([]byte, 1)
	if _, err := io.ReadFull(os.NewFile(imagesAnswer, "answer"), text); err != nil {
		return false, fmt.Errorf("cannot find out what the kernel can mount: %w", err)
	}
	return text[0] == '1', nil
}

func (o Options) cannotStart(err error) error {
	return fmt.Errorf("cannot start %s %s: %w", o.Program, strings.Join(o.Args, " "), err)
}

// child is the running child.
type child struct {
	cmd            *exec.Cmd
	input          io.WriteCloser
	stdout, stderr limited
	readErr        chan error
}

// reporter calls report until it is stopped.
type reporter struct {
	mu     sync.Mutex
	report func(int64)
}

func (p *reporter) call(done int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report(done)
}

func (p *reporter) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report = func(int64) {}
}

// Sizes in bytes, for few changes between the two processes.
const (
	feedBuffer = 256 << 10
	pipeSize   = 1 << 20 // that of fs.pipe-max-size (proc_sys_fs(5)), by default
)

// feed copies r to the child until the child ends.
func (c *child) feed(r io.Reader, progress *reporter) {
	buf := make([]byte, feedBuffer)
	var done int64
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := c.input.Write(buf[:n]); err != nil {
				return // The child has ended.
			}
			done += int64(n)
			progress.call(done)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.readErr <- err
				_ = c.cmd.Process.Kill()
			}
			c.input.Close()
			return
		}
	}
}

// wait waits for the child and returns its result.
func (c *child) wait(ctx context.Context, o Options) (result, error) {
	err := c.cmd.Wait()
	if text := strings.TrimSpace(c.stderr.buf.String()); text != "" {
		o.Logger.Warn("output of the child that reads an artifact", "output", text)
	}
	select {
	case err := <-c.readErr:
		return result{}, err
	default:
	}
	if ctx.Err() != nil {
		return result{}, context.Cause(ctx)
	}
	var res result
	parseErr := json.Unmarshal(c.stdout.buf.Bytes(), &res)
	switch {
	case parseErr == nil && res.Error != "":
		return result{}, errors.New(res.Error)
	case err != nil:
		return result{}, fmt.Errorf("the child ended early: %w; %s", err, lastLine(c.stderr.buf.String()))
	case parseErr != nil:
		return result{}, fmt.Errorf("cannot read the result of the child: %w", parseErr)
	}
	return res, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// limited is a buffer that drops what exceeds its limit.
type limited struct {
	buf   bytes.Buffer
	limit int
}

func (l *limited) Write(p []byte) (int, error) {
	l.buf.Write(p[:min(len(p), l.limit-l.buf.Len())])
	return len(p), nil
}

// empty removes all that is in dir.
func empty(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("cannot empty the staging folder: %w", err)
	}
	defer root.Close()
	f, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("cannot empty the staging folder: %w", err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	errs := []error{err}
	for _, name := range names {
		errs = append(errs, root.RemoveAll(name))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot empty the staging folder %s: %w", dir, err)
	}
	return nil
}
