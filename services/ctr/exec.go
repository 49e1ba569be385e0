package ctr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"keelson/runtime/paths"
	"keelson/services/containerd"
)

// fifoDir is the folder of the FIFOs of processes. The shim opens them under the same
// path: a container that runs ctr must have a bind mount of /run.
const fifoDir = paths.ContainerdState + "/fifo"

// execute runs a program in a task, and returns its exit code.
func execute(ctx context.Context, c *containerd.Client, inv invocation) (int, error) {
	one, err := c.Container(ctx, inv.namespace, inv.id)
	if err != nil {
		return 1, err
	}
	s := containerd.ExecSpec{Namespace: inv.namespace, ID: inv.id, ExecID: inv.execID, Terminal: inv.tty}
	if s.Process, err = process(one.Spec, inv); err != nil {
		return 1, err
	}
	if inv.detach {
		if err := c.Exec(ctx, s); err != nil {
			return 1, err
		}
		return 0, c.StartExec(ctx, s)
	}
	if inv.tty {
		old, err := term.MakeRaw(0)
		if err != nil {
			return 1, fmt.Errorf("tasks exec: -t needs a terminal as standard input: %w", err)
		}
		defer func() { _ = term.Restore(0, old) }()
	}
	dir, err := makeFIFOs(&s)
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	return runAttached(ctx, c, s)
}

// runAttached runs the process of s with the input and output of this process.
func runAttached(ctx context.Context, c *containerd.Client, s containerd.ExecSpec) (int, error) {
	var output sync.WaitGroup
	output.Go(func() { copyFrom(s.Stdout, os.Stdout) })
	if s.Stderr != "" {
		output.Go(func() { copyFrom(s.Stderr, os.Stderr) })
	}
	if err := c.Exec(ctx, s); err != nil {
		return 1, err
	}
	defer func() { _ = c.DeleteExec(context.WithoutCancel(ctx), s) }() // The shim deletes it at the latest when the task ends.
	started := make(chan struct{})
	go func() {
		copyTo(s.Stdin, os.Stdin)
		<-started // The input exists once the process is started.
		_ = c.CloseStdin(ctx, s)
	}()
	if err := c.StartExec(ctx, s); err != nil {
		return 1, err
	}
	close(started)
	stop := passSignals(ctx, c, s)
	defer stop()
	code, err := c.WaitExec(ctx, s)
	if err != nil {
		return 1, err
	}
	output.Wait()
	return code, nil
}

// process returns the process of a container's specification with another command. Fields
// that this program does not know are kept.
func process(spec json.RawMessage, inv invocation) (json.RawMessage, error) {
	var found struct {
		Process map[string]json.RawMessage `json:"process"`
	}
	if err := json.Unmarshal(spec, &found); err != nil {
		return nil, fmt.Errorf("cannot read the specification of container %s: %w", inv.id, err)
	}
	if found.Process == nil {
		return nil, fmt.Errorf("the specification of container %s has no process", inv.id)
	}
	set := map[string]any{"args": inv.args, "terminal": inv.tty}
	if inv.cwd != "" {
		set["cwd"] = inv.cwd
	}
	if inv.user != "" {
		user, err := parseUser(inv.user)
		if err != nil {
			return nil, err
		}
		set["user"] = user
	}
	for key, value := range set {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("cannot write %s of the process: %w", key, err)
		}
		found.Process[key] = text
	}
	return json.Marshal(found.Process)
}

// parseUser parses UID or UID:GID. Names are not supported: they are defined in files of
// the container, which this program does not read.
func parseUser(s string) (map[string]uint32, error) {
	uid, gid, both := strings.Cut(s, ":")
	if !both {
		gid = "0"
	}
	u, uidErr := strconv.ParseUint(uid, 10, 32)
	g, gidErr := strconv.ParseUint(gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return nil, fmt.Errorf("--user %q: want numbers, UID or UID:GID: %w", s, errUnsupported)
	}
	return map[string]uint32{"uid": uint32(u), "gid": uint32(g)}, nil
}

// makeFIFOs makes the FIFOs of s in a new folder. With a terminal there is none for
// standard error.
func makeFIFOs(s *containerd.ExecSpec) (dir string, err error) {
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

// passSignals passes signals and the size of the terminal to the process until stop is
// called.
func passSignals(ctx context.Context, c *containerd.Client, s containerd.ExecSpec) (stop func()) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH)
	if s.Terminal {
		signals <- unix.SIGWINCH
	}
	go func() {
		for sig := range signals {
			if sig != unix.SIGWINCH {
				_ = c.Signal(ctx, s.Namespace, s.ID, s.ExecID, sig.(syscall.Signal), false) // The process may have ended.
			} else if width, height, err := term.GetSize(0); s.Terminal && err == nil {
				_ = c.Resize(ctx, s, width, height)
			}
		}
	}()
	return func() { signal.Stop(signals); close(signals) }
}
