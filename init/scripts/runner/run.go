package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/signals"
)

// SlowAfter is how long a script may run before it is reported as slow.
const SlowAfter = 60 * time.Second

// stopGrace is how long a script may take to end after SIGTERM.
const stopGrace = time.Second

// ErrInterrupted is returned for a script that was killed because its context ended.
var ErrInterrupted = errors.New("interrupted by the shutdown")

// Run runs the program at path to its end and returns how it ended: "exited 0",
// "killed by SIGSEGV". The program has the caller's environment and output, and empty
// input; processes that it leaves in the background continue to run. Run calls slow
// once if the program runs for longer than slowAfter. When ctx ends, Run kills the
// program and its process group.
func Run(ctx context.Context, path string, slowAfter time.Duration, slow func()) (string, error) {
	if ctx.Err() != nil {
		return "", fmt.Errorf("not run: %w", context.Cause(ctx))
	}
	cmd, err := start(path)
	if err != nil {
		return "", fmt.Errorf("cannot start it: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // ProcessState has the result.
		close(ended)
	}()
	timer := time.AfterFunc(slowAfter, slow)
	defer timer.Stop()
	select {
	case <-ended:
		return status(cmd.ProcessState), nil
	case <-ctx.Done():
	}
	end(cmd.Process.Pid, ended)
	return "", ErrInterrupted
}

// end stops a process group.
func end(group int, ended <-chan struct{}) {
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		_ = unix.Kill(-group, signal) // On failure, it has ended.
		timer := time.NewTimer(stopGrace)
		select {
		case <-ended:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// start starts the program at path. If it is a script of plain commands whose shell is
// not in the image, Interpret runs it.
func start(path string) (*exec.Cmd, error) {
	cmd := newCommand(path)
	err := cmd.Start()
	_, missing := os.Stat(path)
	switch {
	case errors.Is(err, unix.ENOEXEC):
		return nil, fmt.Errorf("neither a program nor a script that begins with #!: %w", err)
	case !errors.Is(err, fs.ErrNotExist) || missing != nil:
		return cmd, err
	}
	switch _, interpreter, perr := readPlain(path); {
	case interpreter == "":
		return nil, fmt.Errorf("its interpreter is not in the image: %w", err)
	case perr != nil:
		return nil, fmt.Errorf("its interpreter %s is not in the image, and it cannot be run without: %w; "+
			"add an image with a static one to the init section", interpreter, perr)
	}
	cmd = newCommand("/proc/self/exe", "script", path)
	return cmd, cmd.Start()
}

func newCommand(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr // As files: Wait does not wait for other processes that hold them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func status(s *os.ProcessState) string {
	ws, ok := s.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		return s.String()
	case ws.Signaled():
		return "killed by " + signals.Name(ws.Signal())
	}
	return fmt.Sprintf("exited %d", ws.ExitStatus())
}

// exitCode returns the exit status as a shell does: 128+N when signal N ended the program.
func exitCode(s *os.ProcessState) int {
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return s.ExitCode()
}
