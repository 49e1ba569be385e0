package task

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/paths"
)

const (
	// runtimeState is where the shim has the runtime keep the states of containers.
	runtimeState = paths.ContainerdState + "/runc"
	// execGrace is how long a command may take to end after its time is over.
	execGrace = time.Second
	// execOutput is how much of the output of a command is kept, in bytes.
	execOutput = 4 << 10
)

// NewExec returns an Exec that runs commands with an OCI runtime, without containerd. dir
// is for files that exist as long as a command.
func NewExec(runtime, dir string) Exec {
	return func(ctx context.Context, namespace, name string, args []string) (code int, output string, err error) {
		return execIn(ctx, runtime, dir, namespace, name, args)
	}
}

func execIn(ctx context.Context, runtime, parent, namespace, name string, args []string) (code int, output string, err error) {
	dir, err := os.MkdirTemp(parent, "exec-")
	if err != nil {
		return 0, "", err
	}
	defer os.RemoveAll(dir)
	pidFile := filepath.Join(dir, "pid")
	cmd := exec.CommandContext(ctx, runtime, append([]string{"--root", filepath.Join(runtimeState, namespace),
		"exec", "--pid-file", pidFile, name}, args...)...)
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel = func() error { // The runtime forwards SIGTERM; it cannot forward SIGKILL.
		if text, err := os.ReadFile(pidFile); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && pid > 1 {
				return unix.Kill(pid, unix.SIGKILL)
			}
		}
		return cmd.Process.Signal(unix.SIGTERM)
	}
	cmd.WaitDelay = execGrace
	err = cmd.Run()
	if exited, ok := errors.AsType[*exec.ExitError](err); ok {
		return exited.ExitCode(), out.String(), nil
	}
	return 0, out.String(), err
}

// tail keeps the last execOutput bytes that are written to it.
type tail []byte

func (e *tail) Write(p []byte) (int, error) {
	*e = append(*e, p...)
	*e = (*e)[max(0, len(*e)-execOutput):]
	return len(p), nil
}

func (e *tail) String() string { return string(*e) }
