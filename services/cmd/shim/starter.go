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
// Containers of other runtimes have no such FIFO beside a state.json, and what
// is not as it should be is left to runc, which says what is wrong.
type starter struct{ runc.ProcessMonitor }

// started is what stands for the end of a command that never ran.
var started = make(chan runc.Exit)

// Start starts a command, or does its work.
func (s starter) Start(c *exec.Cmd) (chan runc.Exit, error) {
	if dir := toStart(c.Args); dir != "" && release(dir) == nil {
		return started, nil
	}
	return s.ProcessMonitor.Start(c)
}

// StartLocked is Start for commands that end with the thread that has started
// them, as those of the shim do.
func (s starter) StartLocked(c *exec.Cmd) (chan runc.Exit, error) {
	if dir := toStart(c.Args); dir != "" && release(dir) == nil {
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

var errNotWaiting = errors.New("the container does not wait for its start")

// release lets the process of a created container go, and returns when it has
// noticed.
func release(dir string) error {
	state, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		return err
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
	if parent(pid) != os.Getpid() { // It is gone, and its number another's.
		return errNotWaiting
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

// parent is the parent of a process, the second field behind the name in
// /proc/PID/stat (proc_pid_stat(5)); 0 when there is no such process.
func parent(pid int) int {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(string(fields[1]))
	return ppid
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
