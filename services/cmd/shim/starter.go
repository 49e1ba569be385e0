package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/containerd/go-runc"
	"golang.org/x/sys/unix"
)

// starter passes commands on to the embedded monitor, except for "runc start": a created
// container waits until its FIFO is opened, and that command does nothing else
// (libcontainer's Container.Exec). Starting a process of runc for that would take about
// 10 ms.
//
// It applies only to the runc that is built with this program, and not to containers with
// poststart hooks, which runc may run at that moment. Containers of other runtimes have no
// such FIFO beside a state.json. In all these cases, and if anything fails, starter runs
// the command, which then reports the error.
type starter struct{ runc.ProcessMonitor }

// started stands for the exit of a command that was not run.
var started = make(chan runc.Exit)

// StartLocked starts a command, or does its work. The shim starts all commands with
// StartLocked, so that they end with it (PR_SET_PDEATHSIG of prctl(2)).
func (s starter) StartLocked(c *exec.Cmd) (chan runc.Exit, error) {
	if dir := stateDir(c.Args, "start"); dir != "" && os.Getenv("NOTIFY_SOCKET") == "" && isOwnRunc(c.Path) && release(dir) == nil {
		return started, nil
	}
	if dir := stateDir(c.Args, "create"); dir != "" {
		if err := addSockets(c, dir); err != nil {
			return nil, err
		}
		defer closeFiles(c.ExtraFiles)
	}
	return s.ProcessMonitor.StartLocked(c)
}

// Wait returns a command's exit code.
func (s starter) Wait(c *exec.Cmd, exit chan runc.Exit) (int, error) {
	if exit == started {
		return 0, nil
	}
	return s.ProcessMonitor.Wait(c, exit)
}

// stateDir returns the folder of the container's state if args are "runc --root ROOT …
// COMMAND … ID", else "". Its last two elements are the namespace and the ID.
func stateDir(args []string, command string) string {
	root := slices.Index(args, "--root") + 1
	end := len(args) - 1
	if root < 2 || root >= end || !slices.Contains(args[root+1:end], command) {
		return ""
	}
	if command == "start" && args[end-1] != command {
		return ""
	}
	return filepath.Join(args[root], args[end])
}

// runcSize is the size in bytes of the runc that is built with this program. The linker
// sets it. If it is empty, any runc is accepted.
var runcSize string

// isOwnRunc reports whether path is the runc that is built with this program. An image may
// have another one.
func isOwnRunc(path string) bool {
	if runcSize == "" {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && strconv.FormatInt(info.Size(), 10) == runcSize
}

// errHooks is returned for a container that only the runtime can start.
var errHooks = errors.New("the container has poststart hooks")

var errNotWaiting = errors.New("the container does not wait for its start")

// release starts the process of a created container, and returns when the process has
// noticed.
func release(dir string) error {
	state, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		return err
	}
	if bytes.Contains(state, []byte(`"poststart":[`)) {
		return errHooks
	}
	pid, err := initPID(state)
	if err != nil {
		return err
	}
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(process)
	// If the process has ended, its ID may be that of another process, which is not a
	// child of this one (ECHILD of waitid(2)).
	if err := unix.Waitid(unix.P_PIDFD, process, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		return err
	}
	path := filepath.Join(dir, "exec.fifo")
	fifo, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fifo)
	if err := awaitByte(fifo, process); err != nil {
		return err
	}
	_ = os.Remove(path) // The container runs, also if this fails.
	return nil
}

// awaitByte waits until the container's process has written to the FIFO or has ended.
func awaitByte(fifo, process int) error {
	fds := []unix.PollFd{{Fd: int32(fifo), Events: unix.POLLIN}, {Fd: int32(process), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n, err := unix.Read(fifo, make([]byte, 1)); err == nil && n > 0 {
			return nil
		}
		if fds[1].Revents != 0 || fds[0].Revents != 0 {
			return errNotWaiting
		}
	}
}

// initPID returns the process of a container from its state.json, which is not parsed
// otherwise.
func initPID(state []byte) (int, error) {
	_, rest, _ := bytes.Cut(state, []byte(`"init_process_pid":`))
	digits, _, _ := bytes.Cut(rest, []byte(","))
	return strconv.Atoi(string(digits))
}
