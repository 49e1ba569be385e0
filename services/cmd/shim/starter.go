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

// starter runs commands as the monitor below it does, all but "runc start": a
// container that runc has created waits for somebody to open a FIFO, which is
// all that command does (libcontainer's Container.Exec). A process of runc for
// that would cost about 10 ms.
//
// That holds for the runc that is built with this program, and not for containers
// with poststart hooks, which runc may run then. Containers of other runtimes have
// no such FIFO beside a state.json. All of these, and what is not as it should be,
// are left to the runtime, which says what is wrong.
type starter struct{ runc.ProcessMonitor }

// started is what stands for the end of a command that never ran.
var started = make(chan runc.Exit)

// StartLocked starts a command, or does its work. The shim starts all of them so,
// since they are to end with it (PR_SET_PDEATHSIG of prctl(2)).
func (s starter) StartLocked(c *exec.Cmd) (chan runc.Exit, error) {
	if dir := toStart(c.Args); dir != "" && known(c.Path) && release(dir) == nil {
		return started, nil
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

// toStart is the folder of the container's state when a command is "runc
// --root ROOT … start ID", and empty otherwise.
func toStart(args []string) string {
	root := slices.Index(args, "--root") + 1
	end := len(args) - 2
	if root < 2 || root >= end || args[end] != "start" || os.Getenv("NOTIFY_SOCKET") != "" {
		return ""
	}
	return filepath.Join(args[root], args[end+1])
}

// runcSize is the size in bytes of the runc that is built with this program. The
// linker sets it; empty, any runc is taken for that one.
var runcSize string

// known reports whether path is the runc that is built with this program: an image
// may bring another.
func known(path string) bool {
	if runcSize == "" {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && strconv.FormatInt(info.Size(), 10) == runcSize
}

// errHooks is returned for a container that is more to start than to let go.
var errHooks = errors.New("the container has poststart hooks")

var errNotWaiting = errors.New("the container does not wait for its start")

// release lets the process of a created container go, and returns when it has
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
	// When it is gone, its number may be that of somebody who is no child of this
	// process (ECHILD of waitid(2)).
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
	_ = os.Remove(path) // The container runs, whatever becomes of this.
	return nil
}

// awaitByte waits until the container's process has written to the FIFO, or is
// gone.
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

// initPID finds the process in what runc writes of a container. All of it need
// not be understood.
func initPID(state []byte) (int, error) {
	_, rest, _ := bytes.Cut(state, []byte(`"init_process_pid":`))
	digits, _, _ := bytes.Cut(rest, []byte(","))
	return strconv.Atoi(string(digits))
}
