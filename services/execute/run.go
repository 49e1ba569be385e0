package execute

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/backoff"
	"keelson/runtime/paths"
	"keelson/services/containerd"
)

// fifoDir is the folder of the FIFOs of processes. The shim opens them under the same
// path: a container that runs this must have a bind mount of /run.
const fifoDir = paths.ContainerdState + "/fifo"

// Times of the end of a process.
const (
	startTime = time.Minute            // for the runtime to start it after the client has gone
	killTime  = 10 * time.Second       // for the shim to kill it, or to delete it
	waitAgain = 200 * time.Millisecond // pause while containerd is restarted
)

// Streams are input and output of a process.
type Streams struct {
	In       io.Reader // nil: the process has none
	Out, Err io.Writer // Err is not used with a terminal
	// Started is called when the process runs, with the means to signal it; may be nil.
	Started func(c *containerd.Client, s containerd.ExecSpec)
}

// Create makes the process p in a container, without input and output.
func Create(ctx context.Context, c *containerd.Client, s containerd.ExecSpec, p Process) error {
	if err := describe(ctx, c, &s, p); err != nil {
		return err
	}
	if err := c.Exec(ctx, s); err != nil {
		return err
	}
	_, err := c.StartExec(ctx, s)
	return err
}

// describe completes s, of which it needs container and ExecID.
func describe(ctx context.Context, c *containerd.Client, s *containerd.ExecSpec, p Process) error {
	one, err := c.Container(ctx, s.Namespace, s.ID)
	if err != nil {
		return err
	}
	s.Terminal = p.Terminal
	if s.Process, err = p.spec(one.Spec); err != nil {
		return fmt.Errorf("container %s: %w", s.ID, err)
	}
	return nil
}

// NotStartedError is returned when a process could not be started.
type NotStartedError struct{ Err error }

func (e *NotStartedError) Error() string { return e.Err.Error() }
func (e *NotStartedError) Unwrap() error { return e.Err }

// Run runs the process p in a container, and returns its exit code. When ctx ends, it is killed with its
// process group.
// A read of the input may go on when Run returns.
func Run(ctx context.Context, c *containerd.Client, s containerd.ExecSpec, p Process, streams Streams) (int, error) {
	if err := describe(ctx, c, &s, p); err != nil {
		return 1, err
	}
	dir, err := makeFIFOs(&s, streams.In != nil)
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	var output sync.WaitGroup
	output.Go(func() { copyFrom(s.Stdout, streams.Out) })
	if s.Stderr != "" {
		output.Go(func() { copyFrom(s.Stderr, streams.Err) })
	}
	after := context.WithoutCancel(ctx)
	defer func() { // The shim deletes it at the latest when the task ends.
		limited, cancel := context.WithTimeout(after, killTime)
		defer cancel()
		_ = c.DeleteExec(limited, s)
	}()
	if err := c.Exec(ctx, s); err != nil {
		return 1, &NotStartedError{err}
	}
	started := make(chan struct{})
	if streams.In != nil {
		go func() {
			copyTo(s.Stdin, streams.In)
			if pipe, ok := streams.In.(*io.PipeReader); ok { // Its writer does not wait for a process that reads no more.
				_ = pipe.Close()
			}
			<-started // The input exists once the process is started.
			_ = c.CloseStdin(after, s)
		}()
	}
	// A start that is cancelled leaves a program of which nobody knows the process ID.
	starting, done := longer(ctx, startTime)
	pid, err := c.StartExec(starting, s)
	done()
	if err != nil {
		return 1, &NotStartedError{err}
	}
	close(started)
	if streams.Started != nil {
		streams.Started(c, s)
	}
	code, err := wait(ctx, c, s)
	if ctx.Err() != nil {
		end, cancel := context.WithTimeout(after, killTime)
		defer cancel()
		_ = unix.Kill(-pid, unix.SIGKILL) // The runtime makes it the leader of a group, of which its children are.
		if err := c.Signal(end, s.Namespace, s.ID, s.ExecID, unix.SIGKILL, false); err != nil {
			return 1, fmt.Errorf("cannot kill a process whose client has gone: %w", err)
		}
		_, _ = wait(end, c, s)
		return 1, context.Cause(ctx)
	}
	if err == nil {
		output.Wait()
	}
	return code, err
}

// longer returns a context that ends some time after ctx.
func longer(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return late, cancel
}

// wait waits until the process has ended, also while containerd is restarted.
func wait(ctx context.Context, c *containerd.Client, s containerd.ExecSpec) (int, error) {
	for {
		code, err := c.WaitExec(ctx, s)
		if !containerd.Unavailable(err) || !backoff.Wait(ctx, waitAgain) {
			return code, err
		}
	}
}

// makeFIFOs makes the FIFOs of s in a new folder. With a terminal there is none for
// standard error.
func makeFIFOs(s *containerd.ExecSpec, input bool) (dir string, err error) {
	if err := os.MkdirAll(fifoDir, 0o700); err != nil {
		return "", fmt.Errorf("cannot make FIFOs: %w", err)
	}
	if dir, err = os.MkdirTemp(fifoDir, ""); err != nil {
		return "", fmt.Errorf("cannot make FIFOs: %w", err)
	}
	paths := map[string]*string{"stdin": &s.Stdin, "stdout": &s.Stdout, "stderr": &s.Stderr}
	if s.Terminal {
		delete(paths, "stderr")
	}
	if !input {
		delete(paths, "stdin")
	}
	for name, path := range paths {
		*path = filepath.Join(dir, s.ExecID+"-"+name)
		if err := unix.Mkfifo(*path, 0o600); err != nil {
			return "", errors.Join(fmt.Errorf("cannot make FIFO %s: %w", *path, err), os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// copyFrom waits until the FIFO has a writer, and copies until the last one has closed it.
// Output that cannot be written is discarded, so that the process does not block.
func copyFrom(path string, to io.Writer) {
	f, err := os.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if _, err := io.Copy(to, f); err != nil {
		_, _ = io.Copy(io.Discard, f)
	}
}

// copyTo waits until the FIFO has a reader, and copies until from ends.
func copyTo(path string, from io.Reader) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = io.Copy(f, from)
}
