package scripts

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

// Patience is how long a script may run before it is logged.
const Patience = 60 * time.Second

// stopGrace is how long a script may take to end after SIGTERM.
const stopGrace = time.Second

// ErrInterrupted is returned for a script that was ended by its context.
var ErrInterrupted = errors.New("told to end")

// Run runs the program at path to its end and says how that was: "exited 0",
// "killed by SIGSEGV". It has the caller's environment and output, and nothing
// to read; its own processes may outlive it. slow is called, once, when it
// takes longer than patience. When ctx ends, it and what it started in the
// foreground are ended.
func Run(ctx context.Context, path string, patience time.Duration, slow func()) (string, error) {
	if ctx.Err() != nil {
		return "", fmt.Errorf("not run: %w", context.Cause(ctx))
	}
	cmd, err := start(path)
	if err != nil {
		return "", fmt.Errorf("cannot start it: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // The state tells.
		close(ended)
	}()
	long := time.AfterFunc(patience, slow)
	defer long.Stop()
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
		_ = unix.Kill(-group, signal) // It may have ended.
		timer := time.NewTimer(stopGrace)
		select {
		case <-ended:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// start starts the program at path. This program runs a script of plain commands whose
// shell is not in the image.
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
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr // Files, so nobody waits for who else holds them.
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
